"""What decides the output of a sample: a run with the same request would give the same labels."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import fields
from hashlib import sha256
from pathlib import Path

from ps3d_rt.batch.scans_in import PAIRED
from ps3d_rt.errors import InputError
from ps3d_rt.io.names import file_and_inside
from ps3d_rt.model import ModelBundle
from ps3d_rt.predict_options import PredictOptions
from ps3d_rt.run_folder import MARK
from ps3d_rt.run_record import RunRecord, read_record

_DECIDE_NO_LABEL = frozenset(
    {"threads", "workers", "cluster", "store", "memory_gib", "gpu_memory_gib", "chunk", "model", "phases"}
)
"""Options that change how a run works and not what comes out; the model counts by its hash, and minerals that are
missing are added to what is there."""


def fingerprint(scan: Path, marker: str = "") -> str:
    """Name the present content of a scan by the names, sizes and times of its files, none of which is read.

    Args:
        scan: its path.
        marker: name of a file in its folder that is none of the scan's.

    Raises:
        InputError: if it is not there or cannot be looked at.
    """
    path = file_and_inside(scan)[0]
    try:
        facts = sorted(fact for fact in _facts(path) if not marker or fact[0] != marker)
    except OSError as error:
        raise InputError(f"{path} cannot be looked at; check that it is there – {error.strerror or error}") from error
    return sha256(json.dumps(facts).encode()).hexdigest()


def _facts(path: Path) -> Iterator[tuple[str, int, int]]:
    if not path.is_dir():
        # Beside a raw file lies its description: both decide what is read.
        siblings = {path.with_suffix(ending) for ending in PAIRED}
        for file in {path, *(sibling for sibling in siblings if sibling.is_file())}:
            about = file.stat()
            yield file.name, about.st_size, about.st_mtime_ns
        return
    for root, _, names in os.walk(path):
        for name in names:
            about = Path(root, name).stat()
            yield Path(root, name).relative_to(path).as_posix(), about.st_size, about.st_mtime_ns


def request_of(scan: Path, content: str, bundle: ModelBundle, options: PredictOptions) -> str:
    """Hash all that decides the labels of a scan but the versions of the software.

    Args:
        scan: its path; a copy in another place is another scan.
        content: its :func:`fingerprint`.
        bundle: the model.
        options: all others.
    """
    chosen = {f.name: getattr(options, f.name) for f in fields(options) if f.name not in _DECIDE_NO_LABEL}
    facts = [str(scan.absolute()), content, bundle.hash, bundle.to_json(), chosen]
    return sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def done_for(folder: Path, request: str) -> RunRecord | None:
    """Give what ``run.json`` says if the output is there and was made for the same request."""
    record = record_of(folder)
    return record if record is not None and record.request == request else None


def record_of(folder: Path) -> RunRecord | None:
    """Give what ``run.json`` of an output says; None if there is none that can be read."""
    try:
        return read_record(folder / MARK)
    except (OSError, InputError):
        return None

"""What an output, the state of a watched folder, a log or a config tell of how things went; no voxel and no table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

from ps3d_rt.batch.run import NOTES
from ps3d_rt.errors import InputError
from ps3d_rt.io.json_text import parse_json
from ps3d_rt.io.names import resolved
from ps3d_rt.journal import IDENTITY
from ps3d_rt.run_folder import MARK, work_of
from ps3d_rt.watch.lock import read_heartbeat
from ps3d_rt.watch.queue import FILE, Entry, Queue
from ps3d_rt.watch.service import QUARANTINE, STATE
from ps3d_rt.watch.states import State

MOST_OUTPUTS = 50
"""Of a batch or a watched folder: the newest."""
MOST_BYTES = 2 * 2**20
"""Of a file: its end."""
MOST_SCANS = 1000
TEXTS = frozenset({".log", ".txt", ".toml", ".json", ".jsonl"})
_RESULTS = "size_distribution"
"""The part of ``run.json`` that is the owner's business alone."""

Content: TypeAlias = Any
"""Text, or a value of JSON."""


def collect(path: Path) -> Iterator[tuple[str, Content]]:
    """Give what can be told of a path: name in the bundle → text or JSON.

    Args:
        path: an output of ``predict``, a batch or ``watch``, a folder with the state of ``watch``, a log or a config.

    Raises:
        InputError: if it is none of these.
    """
    if not path.exists() and not work_of(path).is_dir():
        raise InputError(f"{path} is not there; give an output, a log or a watch.toml.")
    if path.is_file():
        if not TEXTS & set(path.suffixes):
            endings = ", ".join(sorted(TEXTS))
            raise InputError(f"{path} is neither a log nor a config; give a folder, or a file that ends in {endings}.")
        yield path.name, tail(path)
        return
    found = [*_output(path), *_state(path), *_notes(path), *_below(path)]
    if not found:
        raise InputError(f"{path} holds nothing that ps3d-rt wrote; give the folder OUT of predict or watch.")
    for name, content in found:
        yield f"{resolved(path).name}/{name}", content


def tail(path: Path) -> str:
    """Read the end of a text file; what is no text shows as question marks.

    Raises:
        InputError: if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - MOST_BYTES))
            return file.read(MOST_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise InputError(f"{path} cannot be read; look after it – {error.strerror or error}") from error


def _json(path: Path) -> Content:
    """Read a small file of JSON; as text if it is none."""
    text = tail(path)
    try:
        return parse_json(text)
    except ValueError:
        return text


def _output(folder: Path) -> Iterator[tuple[str, Content]]:
    """Tell of one output, and of the work of a run that is not at its end."""
    if (folder / MARK).is_file():
        record = _json(folder / MARK)
        yield MARK, {k: v for k, v in record.items() if k != _RESULTS} if isinstance(record, dict) else record
    work = work_of(resolved(folder))
    if (work / IDENTITY).is_file():
        records = sorted(work.glob("journal/**/*.pickle"), key=_changed)
        tasks = {path.relative_to(work / "journal").with_suffix("").as_posix(): _time(path) for path in records}
        yield "journal.json", {"identity": _json(work / IDENTITY), "tasks": tasks}


def _state(folder: Path) -> Iterator[tuple[str, Content]]:
    """Tell of the queue of a watched folder, and its log."""
    state = next((place for place in (folder / STATE, folder) if (place / FILE).is_file()), None)
    if state is None:
        return
    with Queue(state) as queue:
        settings = {key: queue.setting(key) for key in ("now", "totals", "paused", "waiting")}
        yield (
            "queue.json",
            {
                "settings": {key: json.loads(value) for key, value in settings.items() if value},
                "heartbeat": read_heartbeat(state),
                "scans": [_scan(entry) for each in State for entry in queue.entries(each, MOST_SCANS)],
                "steps": queue.last_steps(MOST_SCANS),
            },
        )
    for log in sorted(state.glob("*.log*")):
        yield log.name, tail(log)


def _scan(entry: Entry) -> dict[str, Any]:
    """Give the fields of a scan in the queue that tell how it went."""
    progress = entry.progress
    return {
        **{name: getattr(entry, name) for name in ("id", "path", "name", "bytes", "priority", "changed")},
        **{name: getattr(progress, name) for name in ("state", "failures", "crashes", "not_before", "reason")},
    }


def _notes(folder: Path) -> Iterator[tuple[str, Content]]:
    """Tell why samples failed."""
    for notes, pattern in ((folder / NOTES, "*.json"), (folder / QUARANTINE, "*.txt")):
        for path in sorted(notes.glob(pattern), key=_changed)[-MOST_SCANS:]:
            yield f"{notes.name}/{path.name}", tail(path)


def _below(folder: Path) -> Iterator[tuple[str, Content]]:
    """Tell of the newest outputs of a batch or a watched folder."""
    whole = {mark.parent for mark in folder.glob(f"*/{MARK}")}
    begun = {folder / work.parent.name[1:].removesuffix(".run") for work in folder.glob(f".*.run/{IDENTITY}")}
    newest = sorted(whole | begun, key=lambda path: max(_changed(path), _changed(work_of(path))))[-MOST_OUTPUTS:]
    for output in newest:
        for name, content in _output(output):
            yield f"{output.name}/{name}", content


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _time(path: Path) -> str:
    return datetime.fromtimestamp(_changed(path), UTC).isoformat(timespec="seconds")

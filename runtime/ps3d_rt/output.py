"""The output folder: labels, table, report and run.json, whole or not there at all."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ps3d_rt.errors import InputError, InterruptedRun
from ps3d_rt.io.labels_writer import write_labels
from ps3d_rt.io.table import write_table
from ps3d_rt.io.volume import Volume
from ps3d_rt.pipeline import Result
from ps3d_rt.report import take_slices, write_report

MARK = "run.json"
"""A folder with this file is an output of ours and may be replaced with --overwrite."""


def check_output(folder: Path, *, overwrite: bool) -> None:
    """Refuse, before any work, a folder that must not be written.

    Raises:
        InputError: if it exists and ``overwrite`` is not given, or it exists and is not an output of ours.
    """
    if not folder.exists():
        return
    if not overwrite:
        raise InputError(f"{folder} exists; choose another folder, or pass --overwrite to replace it.")
    if not (folder / MARK).is_file():
        raise InputError(f"{folder} exists and is not an output of ps3d-rt; choose another folder.")


@contextmanager
def staged(folder: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a folder to write into that takes the name ``folder`` only when the block ends without an error."""
    check_output(folder, overwrite=overwrite)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror}); choose a folder you may write to.") from error
    try:
        whole = scratch / folder.name
        whole.mkdir()
        yield whole
        if folder.exists():
            folder.rename(scratch / "old")
        whole.rename(folder)
    except KeyboardInterrupt as stop:
        raise InterruptedRun(f"interrupted; nothing was written to {folder}. Start the same command again.") from stop
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_result(folder: Path, volume: Volume, result: Result) -> None:
    """Write everything a run leaves behind into ``folder``, which exists and is empty.

    Raises:
        InputError: if the disk is full or the folder cannot be written.
    """
    try:
        write_labels(folder, volume.name, result.labels, result.run["scan"]["spacing_mm"])
        write_table(result.particles, folder)
        write_report(folder / "report.html", result.run, result.particles, take_slices(volume.read, result.labels))
        (folder / MARK).write_text(json.dumps(result.run, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{folder.parent} cannot be written ({error.strerror}); make room or choose another."
        ) from error

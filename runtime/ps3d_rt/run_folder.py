"""The folder of a run in progress, and how it becomes the output.

    OUT                 the output; whole, or not there
    .OUT.run/           beside it, while a run lasts or waits to go on
        output/         becomes OUT
        replaced/       was OUT, between the two renames that put another in its place

However a run ends, even by a kill between the two renames, one of the two outputs is there or :func:`recover` brings it
back.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ps3d_rt.errors import InputError, InterruptedRun, cannot_write
from ps3d_rt.journal import LOCK, Journal, read_identity
from ps3d_rt.model import ModelBundle
from ps3d_rt.run_record import read_record
from ps3d_rt.stages.prediction import KnownSize

MARK = "run.json"
"""A folder with this file is an output of ours and may be replaced with --overwrite; it is written last."""
OUTPUT, _REPLACED = "output", "replaced"
_PUBLISHED = "published"
"""Key of the record that the output is complete: the hash of its ``run.json``."""
_SIZE = "size-estimate"
"""Key of the record of an estimated particle size."""


def work_of(folder: Path) -> Path:
    """Give the folder of the work for an output."""
    return folder.parent / f".{folder.name}.run"


@contextmanager
def run_folder(folder: Path, identity: dict[str, Any]) -> Iterator[Journal]:
    """Work in a folder beside the output, which goes when the run is complete, or ended before it got anywhere.

    Raises:
        InputError: if the folder cannot be used.
        InterruptedRun: if what is done could not be written; it is kept, as after Ctrl-C.
    """
    work = work_of(folder)
    keep = True
    try:
        with Journal.open(work, identity) as journal:
            try:
                yield journal
                keep = False
            except KeyboardInterrupt as stop:
                keep = bool(journal.keys())
                if keep:
                    stop.add_note(f"start the same command again to go on; what is done lies in {work}.")
                else:
                    stop.add_note("no part was done yet: the same command starts afresh.")
                raise
            except OSError as error:
                kept = f"What is done lies in {work}" if journal.keys() else "No part was done yet"
                raise InterruptedRun(f"{_said(error, folder)}. {kept}.") from error
            except InputError:
                keep = bool(journal.keys("network"))
                raise
    finally:
        if not keep:
            shutil.rmtree(work, ignore_errors=True)


def known_size(work: Path) -> KnownSize | None:
    """Read what a run that was stopped has estimated; None if it has not, or its record is damaged."""
    journal = Journal(work)
    if _SIZE not in journal:
        return None
    try:
        return KnownSize(*journal.load(_SIZE))
    except InputError:
        return None  # it is estimated once more


def known_precision(work: Path, model: ModelBundle) -> str | None:
    """Read the precision that a run of a model chose before it was stopped; None if there is no such run."""
    try:
        identity = read_identity(work)
        choice, of_model = str(identity["engine"]["choice"]), identity["model"]["sha256"]
    except (OSError, ValueError, LookupError, TypeError):
        return None  # no run, or one of another version, which does not go on
    return choice if choice and of_model == model.hash_in(choice) else None


def keep_size(journal: Journal, known: KnownSize) -> None:
    """Note an estimate for a run that goes on with this one's work."""
    journal.record(_SIZE, (known.key, known.estimate))


def _said(error: OSError, folder: Path) -> str:
    """Put into words what the system says of a file of ours, or of another one, which a run only reads."""
    work = work_of(folder)
    path = Path(error.filename2 or error.filename or work)
    if {work.absolute(), folder.absolute()} & {path.absolute(), *path.absolute().parents}:
        return str(cannot_write(path, error))
    return f"{path} cannot be used; check it, then start the same command again – {error.strerror or error}"


def publish(journal: Journal, folder: Path) -> None:
    """Give the complete output its name; one that had it goes with the run's folder.

    Raises:
        OSError: if another program holds one of the two; what was there is there again.
    """
    output, replaced = journal.folder / OUTPUT, journal.folder / _REPLACED
    journal.record(_PUBLISHED, _hash(output))
    try:
        if folder.exists():
            folder.rename(replaced)
        output.rename(folder)
    except BaseException:
        if replaced.exists() and not folder.exists():
            replaced.rename(folder)
        raise


def published(journal: Journal, folder: Path) -> dict[str, Any] | None:
    """Give the content of ``run.json`` if the run was complete and is there; None if there is work left."""
    if (
        _PUBLISHED not in journal
        or (journal.folder / OUTPUT).exists()
        or not (folder / MARK).is_file()
        or _hash(folder) != journal.load(_PUBLISHED)
    ):
        return None
    return read_record(folder / MARK).to_json()


def discard_leftover(folder: Path) -> None:
    """Remove the work of a run whose output is complete, unless another run is at it."""
    work = work_of(folder)
    if not work.exists():
        return
    try:
        with FileLock(work / LOCK, blocking=False):
            pass
    except (Timeout, OSError):
        return
    shutil.rmtree(work, ignore_errors=True)


def recover(folder: Path) -> None:
    """Bring back the output of a run that was killed between the two renames: the new one, which was complete."""
    work = work_of(folder)
    if folder.exists() or not (work / _REPLACED).exists():
        return
    try:
        with FileLock(work / LOCK, blocking=False):
            if folder.exists():  # the other run has gone on meanwhile
                return
            complete = (work / OUTPUT / MARK).is_file()
            (work / (OUTPUT if complete else _REPLACED)).rename(folder)
            if complete:
                shutil.rmtree(work / _REPLACED)
    except Timeout:
        return  # that run is not dead: it is between its two renames at this moment


def _hash(output: Path) -> str:
    return sha256((output / MARK).read_bytes()).hexdigest()

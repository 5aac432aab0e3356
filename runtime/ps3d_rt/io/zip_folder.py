"""A folder of files that came as a zip from anywhere: unpacked to one folder, or refused before anything is written."""

from __future__ import annotations

import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from ps3d_rt.errors import InputError, InterruptedRun, cannot_write
from ps3d_rt.io.names import is_plain_name
from ps3d_rt.io.read_errors import words_of

MOST_FILES = 1000
MOST_RATIO = 100
"""Unpacked to packed: networks and records come to 20 at most, what is made to fill a disk to 1000."""
_SMALL_BYTES = 16 * 2**20
_PACKED_AS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def unzip_folder(archive: Path, folder: Path, what: str, most_bytes: int) -> None:
    """Unpack the files of a zip that holds one folder of files, or files alone, into ``folder``.

    Folders' names in the zip are not used, so they cannot lead anywhere; links come out as the text that they hold.

    Args:
        archive: the zip.
        folder: is there, and empty.
        what: the zip should hold, for messages.
        most_bytes: that it may unpack to.

    Raises:
        InputError: if it cannot be read, is no whole zip, or holds what no such folder does.
        InterruptedRun: if the disk is full.
    """
    try:
        with archive.open("rb") as file, zipfile.ZipFile(file) as source:
            entries = _checked(archive, source, most_bytes)
            for name, entry in entries.items():
                with source.open(entry) as packed, (folder / name).open("xb") as plain:
                    shutil.copyfileobj(packed, plain)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, UnicodeError, OSError) as error:
        # RuntimeError: encrypted. UnicodeError: a name. OSError without a number, or EINVAL: its table leads elsewhere.
        if isinstance(error, OSError) and isinstance(full := cannot_write(folder, error), InterruptedRun):
            raise full from error
        if isinstance(error, PermissionError):
            raise InputError(f"{archive} cannot be read: this user may not; allow it – {error.strerror}") from error
        raise InputError(
            f"{archive} is neither {what} nor a whole zip of one; copy it again{words_of(error)}."
        ) from error


def _checked(archive: Path, source: zipfile.ZipFile, most_bytes: int) -> dict[str, zipfile.ZipInfo]:
    """Give the files by their names, if all of them may be unpacked."""
    entries = [entry for entry in source.infolist() if not entry.filename.endswith("/")]
    if len(entries) > MOST_FILES or len({PurePosixPath(entry.filename).parent for entry in entries}) != 1:
        raise InputError(f"{archive} must hold one folder of at most {MOST_FILES} files; zip that folder alone.")
    unpacked, packed = sum(entry.file_size for entry in entries), archive.stat().st_size
    if unpacked > min(most_bytes, _SMALL_BYTES + MOST_RATIO * packed):
        raise InputError(
            f"{archive} unpacks to {unpacked / 2**30:.1f} GiB, {unpacked / max(packed, 1):.0f} times its size; at most "
            f"{most_bytes / 2**30:.0f} GiB and {MOST_RATIO} times are taken. Get it from where it was made."
        )
    named = {PurePosixPath(entry.filename).name: entry for entry in entries}
    if len({name.casefold() for name in named}) != len(entries):
        raise InputError(f"{archive} holds two files of one name; zip the folder again.")
    for name, entry in named.items():
        if not is_plain_name(name):
            raise InputError(f"{archive} holds a file with an unsafe name: {entry.filename[:200]!r}; rename it.")
        if entry.compress_type not in _PACKED_AS:
            raise InputError(f"{archive}: {name} is packed in a way that is not read; zip it with deflate.")
    return named

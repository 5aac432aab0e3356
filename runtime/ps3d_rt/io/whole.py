"""Outputs that exist are whole: written under a temporary name, and renamed when complete."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ps3d_rt.errors import InputError


@contextmanager
def written_whole(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a name beside ``path`` to write to; it becomes ``path`` if the block ends well and is removed otherwise.

    What a killed run left under the temporary name is removed first. With ``overwrite`` what is there stays until the
    block has ended well.

    Raises:
        InputError: if ``path`` exists and ``overwrite`` is not given.
    """
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists and is not overwritten; remove it or choose another name.")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    _remove(partial)
    try:
        yield partial
        if path.is_dir():  # a folder cannot be replaced in one step
            _remove(path)
        partial.replace(path)
    finally:
        _remove(partial)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

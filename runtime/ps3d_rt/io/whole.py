"""Outputs that exist are whole: written under a temporary name, renamed when complete, never overwritten."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ps3d_rt.errors import InputError


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a name beside ``path`` to write to; it becomes ``path`` if the block ends well and is removed otherwise.

    What a killed run left under the temporary name is removed first.

    Raises:
        InputError: if ``path`` exists.
    """
    if path.exists():
        raise InputError(f"{path} exists and is not overwritten; remove it or choose another name.")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    _remove(partial)
    try:
        yield partial
        partial.rename(path)
    finally:
        _remove(partial)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

"""Outputs that exist are complete: written under a temporary name beside the place, and renamed at the end."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from ps3d_rt.errors import InputError


@contextmanager
def atomic_write(path: Path, *, overwrite: bool = False, shared: bool = False) -> Iterator[Path]:
    """Yield a name beside ``path`` to write a file or folder to; it becomes ``path`` if the block ends well.

    Otherwise it is removed. With ``overwrite`` what is there stays until the block has ended well. What a killed run
    left under the temporary name is removed first.

    Args:
        path: missing folders above it are made.
        overwrite: replace what is there.
        shared: several processes or threads may write ``path`` at once. Each has a temporary name of its own, and the
            last one wins.

    Raises:
        InputError: if ``path`` exists and ``overwrite`` is not given.
    """
    if not overwrite and path.exists():
        raise InputError(f"{path} exists and is not overwritten; remove it or choose another name.")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid4().hex}.partial" if shared else partial_name(path.name))
    _remove(partial)
    try:
        yield partial
        if path.is_dir():
            _replace_folder(path, partial)
        else:
            partial.replace(path)
    finally:
        _remove(partial)


def partial_name(name: str) -> str:
    """Give the temporary name of a file that one process at a time writes."""
    return f".{name}.partial"


def _replace_folder(path: Path, partial: Path) -> None:
    """Folders cannot be replaced in one step: the old one steps aside, and comes back if the new one cannot come."""
    old = path.with_name(f".{path.name}.replaced")
    _remove(old)
    path.rename(old)
    try:
        partial.rename(path)
    except OSError:
        old.rename(path)
        raise
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

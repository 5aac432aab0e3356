"""The first run of an installation waits for its kernels: numba compiles them once and keeps them. It says so."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from ps3d_rt import core
from ps3d_rt.engines.cache import replace_file, user_folder
from ps3d_rt.errors import InputError

logger = logging.getLogger(__name__)


@contextmanager
def announced() -> Iterator[None]:
    """Say what the first run waits for; what is done inside is a run."""
    mark = user_folder() / "compiled" / f"{_installation()}.txt"
    first = not mark.exists()
    if first:
        logger.info("the first run of this installation compiles its kernels, once: ten seconds or more")
    yield
    if first:
        try:
            replace_file(mark, b"")
        except InputError as error:
            logger.debug("the next run is announced as the first one again: %s", error)


def _installation() -> str:
    """Name what compiled kernels depend on: numba drops those of a file that has changed since."""
    folder = Path(next(iter(core.__path__)))
    changed = max(path.stat().st_mtime_ns for path in folder.glob("*.py"))
    facts = (str(folder), changed, version("numba"), platform.python_version(), platform.processor())
    return sha256(repr(facts).encode()).hexdigest()

"""Records of finished tasks: a run that was killed goes on from them and ends with the same bytes.

    FOLDER/identity.json            what is run; with any other identity the work starts afresh
    FOLDER/run.lock                 held while a run writes there
    FOLDER/journal/STAGE/000128.pickle      what one finished task returned

A task writes its data first, then its record, under another name that is changed at the end: a record that exists is
whole, and so are the data that it stands for. This holds for kills; after a power cut, remove the folder.

Records are pickles, because they hold dataclasses of arrays, but nothing in them is trusted: reading makes nothing but
plain values, arrays of numbers and the dataclasses of ``ps3d_rt.core``.
"""

from __future__ import annotations

import io
import json
import pickle
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from ps3d_rt.errors import InputError, cannot_write
from ps3d_rt.io.atomic_write import atomic_write, partial_name
from ps3d_rt.io.json_text import read_json
from ps3d_rt.workers import TaskMap

Item = TypeVar("Item")
Found = TypeVar("Found")

IDENTITY = "identity.json"
"""A folder whose file of this name we wrote is ours, and may be emptied."""
LOCK = "run.lock"
"""Held while a run writes to its folder."""
_BEFORE_IDENTITY = partial_name(IDENTITY)
_KIND = "ps3d-rt run"
_IDENTITY_START = f'{{"{_KIND}": '
_KEY = re.compile(r"[A-Za-z0-9-]+(/[A-Za-z0-9-]+)*")


@dataclass(frozen=True)
class Journal:
    """The finished tasks of one run; workers share it by pickling it."""

    folder: Path
    """Of the run. The records lie in ``journal`` below it; the rest belongs to the tasks."""
    resumed: bool = False
    """The folder was there before, with the same identity."""

    @classmethod
    @contextmanager
    def open(cls, folder: Path, identity: Mapping[str, Any]) -> Iterator[Journal]:
        """Own a folder for one run, for the length of a ``with`` block.

        A new or empty folder gets ``identity``; one with the same is continued; one with another is emptied.

        Args:
            folder: made if it is missing.
            identity: all that the results depend on, as JSON can hold it.

        Raises:
            InputError: if the folder is not ours, cannot be written, or another run is writing there.
            InterruptedRun: if the disk is full.
        """
        text = f"{_IDENTITY_START}{json.dumps(identity, sort_keys=True, allow_nan=False)}}}\n"
        try:
            _check_ours(folder)
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / LOCK, blocking=False)
            lock.acquire()
        except Timeout as error:
            raise InputError(
                f"another run is writing to {folder}; wait until it is done, or choose another output."
            ) from error
        except OSError as error:
            raise cannot_write(folder, error) from error
        try:
            yield cls(folder, resumed=_begin(folder, text))
        finally:
            lock.release()

    def record(self, key: str, value: object) -> None:
        """Note a finished task and what it returned; its data must be written by now.

        Args:
            key: such as ``network/000128``: letters, digits and ``-``, parts divided by ``/``.
            value: plain values, tuples, lists, dicts, arrays of numbers, dataclasses of ``ps3d_rt.core``.

        Raises:
            ValueError: if the key is not such a name.
            TypeError: if the value could not be read back.
            InterruptedRun: if the disk is full.
            InputError: if the file cannot be written for another reason.
        """
        path = self._path(key)
        buffer = io.BytesIO()
        _Pickler(buffer, protocol=5).dump(value)
        try:
            _Unpickler(io.BytesIO(buffer.getbuffer())).load()
        except pickle.UnpicklingError as error:
            raise TypeError(f"the record of {key} could not be read back: {error}") from error
        try:
            with atomic_write(path, overwrite=True, shared=True) as unfinished:
                unfinished.write_bytes(buffer.getbuffer())
        except OSError as error:
            raise cannot_write(self.folder, error) from error

    def load(self, key: str) -> Any:
        """Return what was recorded.

        Raises:
            InputError: if there is no such record, it is cut off, or it holds what no record of this version holds.
        """
        path = self._path(key)
        try:
            with path.open("rb") as file:
                return _Unpickler(file).load()
        except Exception as error:  # a damaged pickle may raise anything
            raise InputError(
                f"{path} is not a whole record of this version of ps3d-rt; remove {self.folder} and start the same "
                f"command again – {error or type(error).__name__}"
            ) from error

    def __contains__(self, key: str) -> bool:
        return self._path(key).is_file()

    def keys(self, prefix: str = "") -> list[str]:
        """List the keys of all records that start with ``prefix``, sorted."""
        root = self.folder / "journal"
        keys = (path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.pickle"))
        return sorted(key for key in keys if key.startswith(prefix))

    def forget(self) -> None:
        """Remove all records: what they stand for is gone."""
        if (self.folder / "journal").exists():
            shutil.rmtree(self.folder / "journal")

    def map(self, mapper: TaskMap, name: str, task: Callable[[Item], Found], items: Sequence[Item]) -> Iterator[Found]:
        """Apply ``task`` to the items that have no record; load what the others returned.

        Each worker records its task itself, right after it, so a kill costs the tasks in work and no more.

        Args:
            mapper: such as :func:`map` or ``workers.map``.
            name: of the stage; item ``k`` has the key ``name/k``, with six digits.
            task: must be possible to pickle if the mapper uses processes.
            items: the same ones, in the same order, whenever the run is started again.

        Returns:
            The results in the order of the items.
        """
        keys = _keys(name, len(items))
        todo = {key: item for key, item in zip(keys, items, strict=True) if key not in self}
        fresh = iter(mapper(_Recorded(self, task), list(todo.items())))
        for key in keys:
            yield next(fresh) if key in todo else self.load(key)

    def finished(self, name: str, items: int) -> int:
        """Count the items of a stage that :meth:`map` would load."""
        return sum(key in self for key in _keys(name, items))

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is not a key; letters, digits and '-' are allowed, parts divided by '/'.")
        return self.folder / "journal" / f"{key}.pickle"


def _keys(name: str, items: int) -> list[str]:
    return [f"{name}/{k:06d}" for k in range(items)]


def read_identity(folder: Path) -> dict[str, Any]:
    """Give the identity of the run that a folder belongs to.

    Raises:
        OSError: if there is none.
        ValueError: if it is damaged.
        LookupError: likewise.
    """
    identity: dict[str, Any] = read_json(folder / IDENTITY)[_KIND]
    return identity


@dataclass(frozen=True)
class _Recorded:
    """A task that records what it returned."""

    journal: Journal
    task: Callable[[Any], Any]

    def __call__(self, work: tuple[str, Any]) -> Any:
        key, item = work
        if key in self.journal:  # a worker that was lost since had come so far
            return self.journal.load(key)
        value = self.task(item)
        self.journal.record(key, value)
        return value


def _check_ours(folder: Path) -> None:
    """Refuse a folder that holds anything and was not begun by :func:`_begin`."""
    if not folder.exists():
        return
    if folder.is_dir():
        path = folder / IDENTITY
        if path.is_file() and path.read_bytes().startswith(_IDENTITY_START.encode()):
            return
        if {path.name for path in folder.iterdir()} <= {LOCK, _BEFORE_IDENTITY}:
            return
    raise InputError(f"{folder} exists and is not the work of a run of ps3d-rt; choose another output.")


def _begin(folder: Path, identity: str) -> bool:
    """Make ``identity`` the identity of the folder, which is locked; whether it was before."""
    path = folder / IDENTITY
    try:
        if path.is_file():
            if path.read_text(encoding="utf-8") == identity:
                return True
            # From here on the folder has no identity that a run could continue, even if this is interrupted.
            _replace(path, f"{_IDENTITY_START}null}}\n")
            for old in folder.iterdir():
                if old.is_dir() and not old.is_symlink():
                    shutil.rmtree(old)
                elif old.name not in {IDENTITY, LOCK}:
                    old.unlink()
        _replace(path, identity)
    except OSError as error:
        raise cannot_write(folder, error) from error
    return False


def _replace(path: Path, text: str) -> None:
    with atomic_write(path, overwrite=True) as unfinished:
        unfinished.write_text(text, encoding="utf-8", newline="\n")


class _Pickler(pickle.Pickler):
    """Pickles arrays as dtype, shape and bytes: numpy's own form takes a dtype apart, and trusts what it is told."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, np.generic):
            return _scalar, (value.dtype.str, value.tobytes())
        if type(value) is np.ndarray:  # a subclass carries more than these three
            return _array, (value.dtype.str, value.shape, value.tobytes())
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    """Makes plain values, arrays of numbers and dataclasses of ``ps3d_rt.core``, and runs nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if module == __name__ and name in {"_array", "_scalar"}:
            return globals()[name]
        if module.startswith("ps3d_rt.core."):
            # Not by getattr: a name with dots would lead out of the module.
            found = vars(import_module(module)).get(name)
            if isinstance(found, type) and is_dataclass(found) and found.__module__ == module:
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")


def _array(dtype: str, shape: tuple[int, ...], data: bytes) -> NDArray[Any]:
    """Make an array of whole numbers, floats or truth values; those of objects cannot be."""
    kind = np.dtype(dtype)
    if kind.kind not in "biuf":
        raise pickle.UnpicklingError(f"arrays of {dtype} are not allowed")
    return np.frombuffer(data, kind).reshape(shape).copy()


def _scalar(dtype: str, data: bytes) -> Any:
    return _array(dtype, (), data)[()]

"""Working arrays of a run as zarr, on disk or in an object store: border-core map, fragments, labels on the way."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import DTypeLike, NDArray

from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.errors import InputError
from ps3d_rt.io.remote import remote_errors, remote_reads
from ps3d_rt.io.zarr_writer import create_array, read_box, shape_of, write_shards

_UNFINISHED = re.compile(r".+\.[0-9a-f]{32}\.partial")
"""What zarr calls a file until it is complete."""


@dataclass(frozen=True)
class ZarrStore:
    """Named arrays of one shape, one zarr folder each; a :class:`ps3d_rt.core.chunks.Store`.

    Threads share it, processes pickle it: what travels is the place, and each process opens the arrays on use.
    """

    folder: Path | str
    """Made if it is missing; or an address that fsspec opens, such as ``s3://bucket/run``."""
    shape: Zyx
    """Of every array, voxels."""
    shard: Zyx
    """Unit of writing, voxels."""
    _arrays: dict[str, zarr.Array[Any]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return ZarrStore, (self.folder, self.shape, self.shard)

    def create(self, name: str, dtype: DTypeLike) -> None:
        """Make sure that ``name`` is there: zeros where nothing was written; what was written stays.

        Raises:
            InputError: if it is there with another shape or dtype.
            CapabilityError: if the package for the address is not installed.
        """
        with self._answers(opening=True):
            try:
                array = self._open(name)
            except FileNotFoundError:
                create_array(self._at(name), None, self.shape, dtype, self.shard)
                array = self._open(name)
        if (shape_of(array), array.dtype) != (self.shape, np.dtype(dtype)):
            raise InputError(
                f"{self._at(name)}: the array is {array.shape} {array.dtype}, this run needs {self.shape} "
                f"{np.dtype(dtype)}: it belongs to another run; remove {self.folder} and start again."
            )

    def read(self, name: str, box: Box) -> NDArray[Any]:
        """Return the values of ``name`` in ``box``.

        Raises:
            InputError: if ``box`` is not inside the volume, or a file is damaged.
            InterruptedRun: if the store does not answer any more.
        """
        with self._answers():
            return read_box(self._open(name), box)

    def write(self, name: str, box: Box, values: NDArray[Any]) -> None:
        """Set the values of ``name`` in ``box``: whole shards, those at the far ends cut off by the volume.

        Raises:
            InputError: if ``box`` cuts a shard, or the values do not fit it or the array's dtype.
            OSError: if the disk is full or the file cannot be written.
        """
        with self._answers():
            write_shards(self._open(name), box, values)

    def _at(self, name: str) -> Path | str:
        return f"{self.folder}/{name}" if isinstance(self.folder, str) else self.folder / name

    def _answers(self, *, opening: bool = False) -> AbstractContextManager[None]:
        """Explain what happens at an address; a folder explains itself."""
        if isinstance(self.folder, Path):
            return nullcontext()
        return remote_errors(self.folder) if opening else remote_reads(self.folder)

    def _open(self, name: str) -> zarr.Array[Any]:
        array = self._arrays.get(name)
        if array is None:
            array = self._arrays[name] = zarr.open_array(self._at(name), mode="r+")
        return array


def remove_unfinished(folder: Path) -> None:
    """Remove the files that a killed process was writing to zarr arrays anywhere in ``folder``.

    They are never read, and only take room. Nobody may be writing there.
    """
    for path in folder.rglob("*.partial"):
        if _UNFINISHED.fullmatch(path.name) and path.is_file():
            path.unlink()

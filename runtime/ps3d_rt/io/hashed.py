"""What tells one scan, and its mask, from another: where it lies, how large and how old it is, some of its voxels."""

from __future__ import annotations

from hashlib import blake2b
from threading import Lock
from typing import Any, final

import numpy as np

from ps3d_rt.core.grid import Box
from ps3d_rt.io.base import Volume
from ps3d_rt.io.names import file_and_inside
from ps3d_rt.io.remote import address_of
from ps3d_rt.io.selected import Selected

_EVERY = 4
"""One voxel in so many along y and x is hashed: all are read anyway, and the hash is not to take longer than that."""


@final
class HashedReads(Volume):
    """Another volume, which stays open and belongs to the caller, with a hash of what is read through this one."""

    def __init__(self, inner: Volume) -> None:
        super().__init__(
            source=inner.source,
            name=inner.name,
            shape=inner.shape,
            dtype=inner.dtype,
            spacing_mm=inner.spacing_mm,
            chunk=inner.chunk,
        )
        self.planes_per_read = inner.planes_per_read
        self._inner = inner
        self._adding = Lock()
        self._sum = 0

    def inside(self, box: Box) -> np.ndarray[Any, Any] | None:
        """Ask the other volume."""
        return self._inner.inside(box)

    def _read_into(self, out: np.ndarray[Any, Any], box: Box) -> None:
        out[...] = self._inner.read(box)  # with one gray value where a mask is 0: the hash is of both
        digest = blake2b(repr((box.start, box.stop)).encode(), digest_size=16)
        digest.update(np.ascontiguousarray(out[:, ::_EVERY, ::_EVERY]).data)
        with self._adding:  # a sum, so that the order of the reads does not matter
            self._sum = (self._sum + int.from_bytes(digest.digest(), "big")) % 2**128

    @property
    def hash(self) -> str:
        """Of the voxels read so far, and where they lie; if there are none, of the middle ones."""
        if not self._sum:
            z = self.shape[0] // 2
            self.read(Box((z, 0, 0), (z + 1, *self.shape[1:])))
        return f"{self._sum:032x}"


def place_of(volume: Volume) -> dict[str, Any]:
    """Say where a volume lies: the absolute path, bytes in all, and the time of the last change, ns.

    Those of a folder are of all files in it. An array has no place, and of an
    address nothing else is known. If there is a mask, so much of it under ``mask``.
    """
    if isinstance(volume, Selected) and volume.mask is not None:
        return place_of(volume.whole) | {"mask": place_of(volume.mask)}
    if volume.path is None:
        return {"path": address_of(volume.source)}
    file, _ = file_and_inside(volume.path)
    files = [path for path in file.rglob("*") if path.is_file()] if file.is_dir() else [file]
    facts = [path.stat() for path in files]
    return {
        "path": str(volume.path),
        "bytes": sum(fact.st_size for fact in facts),
        "modified_ns": max((fact.st_mtime_ns for fact in facts), default=0),
    }

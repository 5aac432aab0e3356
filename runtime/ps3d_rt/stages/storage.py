"""Where a run keeps its arrays, by name: border-core map, scores and labels on the normalized grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ps3d_rt.core.arrays import asnumpy
from ps3d_rt.core.chunks import Part
from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.core.stitch import relabel

BORDER_CORE, PIECES, INSTANCES = "border-core", "pieces", "instances"
"""Arrays of the store: what the network gives, the pieces of every chunk, and labels with final ids if asked for."""
FOREGROUND, CORE_SCORE = "foreground", "core-score"
"""Arrays of the store: score of foreground, and of core alone, percent, uint8, 0 in the background; there may be
none."""
GROWN = ("grown-0", "grown-1")
"""Arrays of the store that hold the labels after a round of growth; every chunk alternates between them."""


class Store(Protocol):
    """Named arrays that all have the shape of one volume; on disk as a rule. Workers share it by pickling it.

    A store that reads into arrays on a card gets such arrays to write.

    Tasks that run at the same time write disjoint boxes, and never read an array where another one writes it.
    """

    def create(self, name: str, dtype: DTypeLike) -> None:
        """Make sure that ``name`` is there. What was written stays; where nothing was, it is not read."""

    def read(self, name: str, box: Box) -> Any:
        """Return the values of ``name`` in ``box``, a numpy or a CuPy array."""

    def write(self, name: str, box: Box, values: Any) -> None:
        """Set the values of ``name`` in ``box``, always the whole box of a chunk."""


class MemoryStore:
    """Arrays in memory; threads can share it, processes cannot."""

    def __init__(self, shape: Zyx) -> None:
        self.shape = shape
        self.arrays: dict[str, NDArray[Any]] = {}

    def create(self, name: str, dtype: DTypeLike) -> None:
        """Make ``name`` an array of zeros, unless it is there."""
        if name not in self.arrays:
            self.arrays[name] = np.zeros(self.shape, dtype)

    def read(self, name: str, box: Box) -> NDArray[Any]:
        """Return the values of ``name`` in ``box``, as a view, which is not to be changed."""
        return self.arrays[name][box.slices]

    def write(self, name: str, box: Box, values: NDArray[Any]) -> None:
        """Set the values of ``name`` in ``box``."""
        self.arrays[name][box.slices] = values


def read_ids(store: Store, parts: Sequence[Part], box: Box, dtype: DTypeLike = np.int64) -> NDArray[Any]:
    """Read ids of the volume, of ``dtype``, in ``box``; 0 where no part lies."""
    out = np.zeros(box.shape, dtype)
    for part in parts:
        here = part.box.intersect(box)
        if here.size:
            relabel(asnumpy(store.read(part.source, here)), part.ids, out[here.relative_to(box).slices])
    return out

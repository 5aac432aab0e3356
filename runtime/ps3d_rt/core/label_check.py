"""Checks that a label volume has one id a particle. Counts show masks, gray values, and ids that fall apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.label_components import MOST, Components, ComponentsBySlab
from ps3d_rt.core.runs import z_slabs

LEAST_SHARE, LEAST_VOXELS = 0.1, 8
"""A piece counts from this share of the largest piece of its id, and so many voxels: smaller ones are crumbs."""
MANY, MANY_VOXELS = 8, 27
"""So many pieces of so many voxels are no crumbs, however large the largest is: a phase, or a mask of a packing."""
GRAY_PIECES_PER_ID, GRAY_VOXELS_PER_PIECE = 10, 30
"""Gray values are in many small pieces: more of them an id, and fewer voxels each, than any labels have."""
SLAB_VOXELS = 2**24
"""Looked at a time: the components of a slab take 4 bytes a voxel."""
FULL = 255
"""What stands for yes in a mask of 8 bits."""
MOST_OF_VOLUME = 0.5
"""An id that holds more than this, beside others, is background as a rule."""

GIVE_LABELS = "Give the label volume of this scan."
SPLIT = "With --split every piece becomes a particle."
"""The cure where the command has that option."""
LABEL_FIRST = "Label the connected components first: connected_components of the Python package cc3d does."
"""The cure where it has not."""


class LabelCheck:
    """Looks at the slabs of a label volume, in order, while they are read for something else.

    Args:
        name: of the volume, for the sentences.
        dtype: that the labels are stored as.
        cure: what to do about ids in several pieces.
    """

    def __init__(self, name: str, dtype: np.dtype[Any], cure: str = LABEL_FIRST) -> None:
        self._name, self._dtype, self._cure = name, dtype, cure
        self._components = ComponentsBySlab()

    def add(self, labels: NDArray[Any]) -> None:
        """Look at the next slab, (z, y, x) ids."""
        for box in z_slabs((labels.shape[0], labels.shape[1], labels.shape[2]), SLAB_VOXELS):
            if self._components.too_many:
                return
            self._components.add(labels[box.slices])

    def checked(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Look at the next slab, and give it back."""
        self.add(labels)
        return labels

    def warnings(self) -> list[str]:
        """Say what makes the labels doubtful, after the last slab."""
        if self._components.too_many:
            warnings = [f"these look like gray values, no labels: more than {MOST} pieces. {GIVE_LABELS}"]
        else:
            warnings = label_warnings(self._components.finish(), self._components.background, self._dtype, self._cure)
        return [f"{self._name}: {warning}" for warning in warnings]


def label_warnings(found: Components, background: int, dtype: np.dtype[Any], cure: str) -> list[str]:
    """Say, with numbers and the cure, what makes labels doubtful; nothing if they are one id a particle.

    Args:
        found: components of the labels.
        background: voxels of id 0.
        dtype: that the labels are stored as.
        cure: what to do about ids in several pieces.
    """
    if not found.ids.size:
        return []
    ids, of = np.unique(found.ids, return_inverse=True)
    largest, voxels, pieces = _by_id(found, of, ids.size)
    apart = _pieces_that_count(found, of, largest)
    total = int(voxels.sum())
    if found.ids.size > GRAY_PIECES_PER_ID * ids.size and total < GRAY_VOXELS_PER_PIECE * found.ids.size:
        shape = f"{found.ids.size} pieces of {total / found.ids.size:.1f} voxels on average for {ids.size} values"
        return [f"these look like gray values, no labels: {shape}. {GIVE_LABELS}"]
    return [
        *(f"{text} {cure}" for text in _about_pieces(ids, apart, pieces, dtype)),
        *_about_background(ids, voxels, total + background),
        *_about_floats(ids, dtype),
    ]


def _by_id(
    found: Components, of: NDArray[np.intp], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    largest, voxels = np.zeros(count, np.int64), np.zeros(count, np.int64)
    np.maximum.at(largest, of, found.voxels)
    np.add.at(voxels, of, found.voxels)
    return largest, voxels, np.bincount(of, minlength=count)


def _pieces_that_count(found: Components, of: NDArray[np.intp], largest: NDArray[np.int64]) -> NDArray[np.int64]:
    relative = found.voxels >= np.maximum(LEAST_VOXELS, LEAST_SHARE * largest[of])
    apart = np.bincount(of[relative], minlength=largest.size)
    many = np.bincount(of[found.voxels >= MANY_VOXELS], minlength=largest.size)
    return np.where(many > MANY, np.maximum(many, apart), apart)


def _about_pieces(
    ids: NDArray[np.uint64], apart: NDArray[np.int64], pieces: NDArray[np.int64], dtype: np.dtype[Any]
) -> Iterator[str]:
    several = np.flatnonzero(apart > 1)
    if ids.size == 1 and (several.size or dtype.kind == "b" or ids[0] == FULL):
        many = "one piece" if pieces[0] == 1 else f"{pieces[0]} pieces that do not touch"
        yield (
            f"the labels hold one id only, {ids[0]}, in {many}: a mask, which does not tell particles apart. Those "
            "that touch stay together whatever is done with it: `ps3d-rt predict` on the scan parts them."
        )
    elif several.size:
        worst = several[np.argmax(apart[several])]
        yield (
            f"{several.size} of {ids.size} ids lie in several pieces that do not touch, id {ids[worst]} in "
            f"{apart[worst]}: their sizes and shapes are of several particles together."
        )


def _about_background(ids: NDArray[np.uint64], voxels: NDArray[np.int64], volume: int) -> Iterator[str]:
    most = int(np.argmax(voxels))
    if ids.size > 2 and voxels[most] > MOST_OF_VOLUME * volume:
        yield (
            f"id {ids[most]} holds {voxels[most] / volume:.0%} of the volume. If it is the background, give it the "
            "value 0: here it counts as a particle."
        )


def _about_floats(ids: NDArray[np.uint64], dtype: np.dtype[Any]) -> Iterator[str]:
    if dtype.kind != "f":
        return
    exact = 2 ** (np.finfo(dtype).nmant + 1)
    if int(ids[-1]) > exact:
        yield (
            f"the labels are {dtype.name}, in which ids above {exact} are rounded, and go up to {ids[-1]}: particles "
            "may share an id. Save them as uint32."
        )

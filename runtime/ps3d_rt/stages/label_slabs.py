"""Label volumes of other programs, slab by slab: checked, split into connected components, and measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np

from ps3d_rt.core.arrays import Array
from ps3d_rt.core.gray import GrayBins
from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.core.label_check import LabelCheck
from ps3d_rt.core.label_components import MOST, ComponentsBySlab, number_components
from ps3d_rt.core.measure import ParticleTable, Spacing, look_in, merge_sums, partial_sums, to_table, with_scores
from ps3d_rt.core.neck import LabelPart
from ps3d_rt.core.runs import READ_VOXELS, z_slabs
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import Volume
from ps3d_rt.stages.gray_scale import volume_bins

SLAB_VOXELS = 2**24


def checked_slabs(labels: Volume, check: LabelCheck) -> Iterator[tuple[Box, Array]]:
    """Give the labels in slabs, each with the voxels around it; ``check`` looks at them on the way."""
    whole = Box.of_shape(labels.shape)
    for box in z_slabs(labels.shape, READ_VOXELS):
        around = box.grow(1, whole)
        ids = labels.read(around)
        check.add(ids[box.relative_to(around).slices])
        yield box, ids
        del ids  # freed before the next ones are read


def measure_slabs(
    slabs: Iterable[tuple[Box, Array]],
    labels: Volume,
    spacing_mm: Spacing,
    gray: Volume | None = None,
    bins: GrayBins | None = None,
    again: Callable[[], Iterable[tuple[Box, Array]]] | None = None,
) -> ParticleTable:
    """Measure the particles of a label volume, slab by slab, and score them.

    Args:
        slabs: as :func:`checked_slabs` or :func:`split_slabs` give them.
        labels: the volume that they are of.
        spacing_mm: side of a voxel, z, y, x.
        gray: scan of the same voxels, or None.
        bins: of the gray histograms; None chooses them from the scan.
        again: gives the slabs once more, to look at some particles; None if their ids are those of ``labels``.

    Raises:
        InputError: if the scan has another shape, or the labels are not ids.
    """
    if gray is not None and gray.shape != labels.shape:
        raise InputError(
            f"{gray.source} has shape {gray.shape} and {labels.source} has {labels.shape}; both must cover the same "
            "voxels."
        )
    if gray is not None and bins is None:
        bins = volume_bins(gray)
    sums = merge_sums(
        partial_sums(ids, None if gray is None else gray.read(box), box=box, shape=labels.shape, bins=bins)
        for box, ids in slabs
    )
    return with_scores(to_table(sums, labels.shape, spacing_mm), look_in(_parts(labels, again)))


def _parts(labels: Volume, again: Callable[[], Iterable[tuple[Box, Array]]] | None) -> Iterator[LabelPart]:
    """Give the labels once more, when they are asked for."""
    if again is None:
        yield from ((box, partial(labels.read, box)) for box in z_slabs(labels.shape, READ_VOXELS))
    else:
        yield from (_without_around(box, ids, labels.shape) for box, ids in again())


def _without_around(box: Box, ids: Array, shape: Zyx) -> LabelPart:
    around = box.grow(1, Box.of_shape(shape))
    return box, lambda: ids[box.relative_to(around).slices]


def split_slabs(labels: Volume, slab_voxels: int = SLAB_VOXELS) -> Iterator[tuple[Box, Array]]:
    """Give the labels in slabs, each with the voxels around it, and every component an id of its own.

    Components are 26-connected, of one id; their new ids are 1..N in raster order of their first voxels.

    Args:
        labels: ids, a mask is one; 0 is background.
        slab_voxels: voxels of a slab, about; changes memory, never an id.

    Raises:
        InputError: if the labels are not ids, or there are too many components.
    """
    boxes = list(z_slabs(labels.shape, slab_voxels))
    components = ComponentsBySlab()
    for box in boxes:
        components.add(labels.read(box))
        if components.too_many:
            raise InputError(
                f"{labels.source}: more than {MOST} connected components; these look like gray values. Give a label "
                "volume or a mask."
            )
    slabs = _numbered(labels, boxes, components.finish().numbers)
    before, slab = None, next(slabs)
    for box in boxes:
        after = next(slabs, None)
        around = [before, slab, None if after is None else after[:1]]
        yield box, np.concatenate([planes for planes in around if planes is not None])
        if after is not None:
            before, slab = slab[-1:], after


def _numbered(labels: Volume, boxes: list[Box], numbers: Array) -> Iterator[Array]:
    first = 1
    for box in boxes:
        found = number_components(labels.read(box))
        count = int(found.max(initial=0))
        yield np.concatenate([numbers[:1], numbers[first : first + count]])[found]
        first += count

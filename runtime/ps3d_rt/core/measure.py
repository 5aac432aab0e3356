"""The particle table: one row a particle, measured box by box, exact for any cutting of the volume into boxes.

1. :func:`partial_sums` reduces one part of the volume to sums and extremes per id. The part's labels come with the
   voxels around it, because surfaces and contacts lie between voxels.
2. :func:`merge_sums` puts parts together. All of it is whole numbers (the gray values too, for images of up to 16-bit
   integers), so the result is the same bytes for any cutting of the volume into boxes and any order of them. Other
   images are summed in float64, slab by slab and then in the order of the parts: the same parts in the same order
   give the same bytes, another cutting may differ in the last digits of ``gray_mean`` and ``gray_std``.
3. :func:`to_table` turns the sums into columns.

A run of millions of particles does 2 and 3 a few layers at a time: :mod:`ps3d_rt.core.open_sums`.

What every column means, and where its formula comes from, is in docs/particle-table.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from math import isfinite, pi, prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.confidence import ParticleConfidence
from ps3d_rt.core.contacts import Contacts, find_contacts, merge_contacts
from ps3d_rt.core.edge_weights import box_weights
from ps3d_rt.core.feret import LONGEST_AXIS, feret_mm
from ps3d_rt.core.gray import GrayBins, quantiles, statistics
from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.core.merge_scores import SUSPECT, TypicalSolidity, merged_scores, split_scores, spreads_below
from ps3d_rt.core.neck import LabelPart, find_necks
from ps3d_rt.core.run_sums import Columns, sum_gray, sum_places
from ps3d_rt.core.runs import as_ids, check_volume, z_slabs
from ps3d_rt.core.shape import covariances, principal_axes, sphericity
from ps3d_rt.core.solidity import solidity
from ps3d_rt.core.surface import surface_mm2
from ps3d_rt.errors import InputError

Spacing = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticleTable:
    """One row a particle, in ascending order of the label. Every column is (n,); the units are in the names.

    A column is None if it needs an image, gray bins, or the scores of a network, and there were none, or the table is
    of an older version. In a column, NaN stands for what a particle has not: ``core_confidence`` without a core,
    ``contact_margin`` without a contact.
    """

    label: NDArray[np.uint64]
    volume_voxels: NDArray[np.int64]
    volume_mm3: NDArray[np.float64]
    equivalent_diameter_mm: NDArray[np.float64]
    surface_mm2: NDArray[np.float64]
    sphericity: NDArray[np.float64]
    feret_max_mm: NDArray[np.float64]
    feret_min_mm: NDArray[np.float64]
    axis_major_mm: NDArray[np.float64]
    axis_middle_mm: NDArray[np.float64]
    axis_minor_mm: NDArray[np.float64]
    elongation: NDArray[np.float64]
    flatness: NDArray[np.float64]
    solidity: NDArray[np.float64] | None = None
    axis_major_z: NDArray[np.float64]
    axis_major_y: NDArray[np.float64]
    axis_major_x: NDArray[np.float64]
    axis_minor_z: NDArray[np.float64]
    axis_minor_y: NDArray[np.float64]
    axis_minor_x: NDArray[np.float64]
    centroid_z_mm: NDArray[np.float64]
    centroid_y_mm: NDArray[np.float64]
    centroid_x_mm: NDArray[np.float64]
    box_z_start_voxels: NDArray[np.int64]
    box_z_stop_voxels: NDArray[np.int64]
    box_y_start_voxels: NDArray[np.int64]
    box_y_stop_voxels: NDArray[np.int64]
    box_x_start_voxels: NDArray[np.int64]
    box_x_stop_voxels: NDArray[np.int64]
    touches_edge: NDArray[np.bool_]
    edge_weight: NDArray[np.float64] | None = None
    contacts: NDArray[np.int64]
    contact_faces: NDArray[np.int64]
    gray_mean: NDArray[np.float64] | None = None
    gray_std: NDArray[np.float64] | None = None
    gray_min: NDArray[np.float64] | None = None
    gray_p05: NDArray[np.float64] | None = None
    gray_p25: NDArray[np.float64] | None = None
    gray_p50: NDArray[np.float64] | None = None
    gray_p75: NDArray[np.float64] | None = None
    gray_p95: NDArray[np.float64] | None = None
    gray_max: NDArray[np.float64] | None = None
    confidence: NDArray[np.float64] | None = None
    core_confidence: NDArray[np.float64] | None = None
    contact_margin: NDArray[np.float64] | None = None
    merged_score: NDArray[np.float64] | None = None
    split_score: NDArray[np.float64] | None = None

    contact_pairs: Contacts
    """Which particles touch; no column. Of some rows of a table, also pairs with particles of other rows."""
    gray_histogram: NDArray[np.unsignedinteger] | None = None
    """(n, 64) voxels in each bin; no column."""
    gray_bins: GrayBins | None = None
    """Of the histograms; no column."""

    def __len__(self) -> int:
        return len(self.label)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the columns by name, in the order of the fields; without those that are None."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in NO_COLUMNS}
        return {name: column for name, column in values.items() if column is not None}

    def take(self, rows: NDArray[Any]) -> ParticleTable:
        """Return a table of some rows, (n,) numbers from 0; contacts stay those of all."""
        columns = {name: column[rows] for name, column in self.columns().items()}
        histogram = None if self.gray_histogram is None else self.gray_histogram[rows]
        return replace(self, **columns, gray_histogram=histogram)


NO_COLUMNS = frozenset({"contact_pairs", "gray_histogram", "gray_bins"})
"""Fields of :class:`ParticleTable` that hold more than one number a particle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialSums:
    """What one part of a volume knows about its particles, one row an id; indices are those of the whole volume."""

    label: NDArray[np.uint64]
    """(n,) ids, ascending, each once."""
    voxels: NDArray[np.int64]
    """(n,) number of voxels."""
    index_sum: NDArray[np.int64]
    """(n, 3) sum of the voxel indices z, y, x."""
    product_sum: NDArray[np.int64]
    """(n, 6) sums of products of indices, modulo 2^64; see :mod:`ps3d_rt.core.shape`."""
    first: NDArray[np.int64]
    """(n,) raster index, in the whole volume, of the first voxel."""
    start: NDArray[np.int64]
    """(n, 3) least index z, y, x."""
    stop: NDArray[np.int64]
    """(n, 3) largest index z, y, x, plus one."""
    crossings: NDArray[np.int64]
    """(n, 13) steps to a neighbour that lead out of the particle; see :mod:`ps3d_rt.core.surface`."""
    low: NDArray[np.int32]
    """(n, 81) least projection of an index on a direction; see :mod:`ps3d_rt.core.feret`."""
    high: NDArray[np.int32]
    """(n, 81) largest."""
    contacts: Contacts
    """Pairs that touch over faces of which the part owns the voxel with the smaller index."""
    gray_sum: NDArray[Any] | None = None
    """(n,) sum of the gray values; None without an image.

    int64 and exact for integers of up to 32 bits, as long as no particle has more than 2^31 voxels (32-bit images) or
    2^47 (16-bit images); else float64.
    """
    gray_square_sum: NDArray[Any] | None = None
    """(n,) sum of their squares: int64, modulo 2^64, for integers of up to 16 bits; else float64."""
    gray_min: NDArray[np.float64] | None = None
    gray_max: NDArray[np.float64] | None = None
    gray_histogram: NDArray[np.unsignedinteger] | None = None
    """(n, 64) voxels in each bin, uint32; uint64 once a particle has 2^32 voxels. None without bins."""
    gray_bins: GrayBins | None = None


MERGED_BY = {
    "voxels": np.add,
    "index_sum": np.add,
    "product_sum": np.add,
    "first": np.minimum,
    "start": np.minimum,
    "stop": np.maximum,
    "crossings": np.add,
    "low": np.minimum,
    "high": np.maximum,
    "gray_sum": np.add,
    "gray_square_sum": np.add,
    "gray_min": np.minimum,
    "gray_max": np.maximum,
    "gray_histogram": np.add,
}
"""How the rows of one id become one: what :func:`merge_sums` does with each column of :class:`PartialSums`."""


def measure(
    labels: NDArray[Any], spacing_mm: Spacing, image: NDArray[Any] | None = None, bins: GrayBins | None = None
) -> ParticleTable:
    """Measure every particle of a label volume.

    Args:
        labels: (z, y, x) ids, 0 is background; gaps are allowed.
        spacing_mm: voxel size along z, y, x.
        image: (z, y, x) gray values of the source image, not resampled and not normalized; or None.
        bins: of the gray histograms, from which the quantiles come; None for neither.

    Raises:
        InputError: if the shapes differ, the labels are not ids, or a spacing is not a positive number.

    >>> table = measure(np.array([[[0, 3, 3]]]), (1.0, 1.0, 2.0))
    >>> table.label, table.volume_mm3, table.centroid_x_mm
    (array([3], dtype=uint64), array([4.]), array([4.]))
    """
    shape = check_volume(labels, image)
    table = to_table(partial_sums(labels, image, bins=bins), shape, spacing_mm)
    return with_scores(table, look_in([(Box.of_shape(shape), lambda: labels)]))


Look: TypeAlias = "Callable[[ParticleTable], NDArray[np.float64]]"
"""Measures the necks of some particles of a sample, (n,), by their labels."""


def partial_sums(
    labels: NDArray[Any],
    image: NDArray[Any] | None = None,
    *,
    box: Box | None = None,
    shape: Zyx | None = None,
    bins: GrayBins | None = None,
) -> PartialSums:
    """Reduce one part of a volume to sums per id.

    It takes memory for a few planes of voxels, and 2 kB an id.

    Args:
        labels: (z, y, x) ids of ``box.grow(1, whole volume)``: the part and the voxels around it.
        image: (z, y, x) gray values of ``box``, or None.
        box: the part; parts that tile a volume measure it. None if it is all of the volume.
        shape: of the whole volume, voxels; None with ``box``.
        bins: of the gray histograms, the same for all parts; None for none.

    Raises:
        InputError: if the shapes do not fit, the part does not lie in the volume, or the labels are not ids.

    >>> labels = np.array([[[7, 7, 7]]])
    >>> partial_sums(labels, box=Box((4, 0, 8), (5, 1, 9)), shape=(5, 1, 10)).voxels
    Traceback (most recent call last):
    ps3d_rt.errors.InputError: ... the voxels around it are needed too: (2, 1, 3).
    >>> partial_sums(np.zeros((2, 1, 3), int) + labels, box=Box((4, 0, 8), (5, 1, 9)), shape=(5, 1, 10)).voxels
    array([1])
    """
    given = check_volume(labels)
    if box is None or shape is None:
        box, shape = Box.of_shape(given), given
    _check_part(given, image, box, shape)
    return merge_sums(_slab_sums(labels, image, box, shape, bins))


def _check_part(given: Zyx, image: NDArray[Any] | None, box: Box, shape: Zyx) -> None:
    whole = Box.of_shape(shape)
    if box.size == 0 or box.intersect(whole) != box:
        raise InputError(f"the part {box} does not lie in a volume of {shape}; pass the shape of the whole volume.")
    if given != box.grow(1, whole).shape:
        raise InputError(
            f"labels have shape {given} for a part of {box.shape} in a volume of {shape}; the voxels around it are "
            f"needed too: {box.grow(1, whole).shape}."
        )
    if image is not None and image.shape != box.shape:
        raise InputError(
            f"the image has shape {image.shape} and the part {box.shape}; both must cover the same voxels."
        )
    if max(shape) > LONGEST_AXIS:
        raise InputError(f"the volume has shape {shape}; an axis may be {LONGEST_AXIS} voxels long. Cut the volume.")


def _slab_sums(
    labels: NDArray[Any], image: NDArray[Any] | None, box: Box, shape: Zyx, bins: GrayBins | None
) -> Iterator[PartialSums]:
    """Sum up slab by slab, so that no copy of the whole part is made."""
    whole = Box.of_shape(shape)
    for piece in z_slabs(box.shape):
        (z, y, x), (stop, _, _) = box.start, piece.stop
        slab = Box((z + piece.start[0], y, x), (z + stop, *box.stop[1:]))
        there = slab.grow(1, whole)
        found = as_ids(labels[there.relative_to(box.grow(1, whole)).slices])
        # A shell of one voxel all around; two dtypes, so that few kernels are compiled.
        shell = Box((slab.start[0] - 1, y - 1, x - 1), slab.stop)
        ids: NDArray[Any] = np.zeros([n + 2 for n in slab.shape], np.uint64 if found.dtype.itemsize == 8 else np.uint32)
        ids[there.relative_to(shell).slices] = found
        columns, runs, row = sum_places(ids, slab.start, shape)
        if image is not None:
            columns |= sum_gray(image[piece.slices], runs, row, len(columns["label"]), bins)
        yield PartialSums(contacts=find_contacts(ids), gray_bins=None if image is None else bins, **columns)


def merge_sums(parts: Iterable[PartialSums]) -> PartialSums:
    """Put together parts that share no voxel, one after the other: only their sum is kept in memory.

    Raises:
        InputError: if there are no parts, only some of them were given an image, or their gray bins differ.
    """
    parts = iter(parts)
    first = next(parts, None)
    if first is None:
        raise InputError("no part was added; a volume has at least one part.")
    total = _Total(first)
    contacts = [first.contacts]
    for part in parts:
        if (part.gray_sum is None) != (first.gray_sum is None) or part.gray_bins != first.gray_bins:
            raise InputError(
                "some parts have gray values or gray bins and others have not; give them for all parts or for none."
            )
        total.add(part)
        contacts.append(part.contacts)
    label, columns = total.take()
    return PartialSums(label=label, contacts=merge_contacts(contacts), gray_bins=first.gray_bins, **columns)


class _Total:
    """Columns that grow by the rows of parts."""

    def __init__(self, first: PartialSums) -> None:
        self._row_of: dict[int, int] = {}
        there = {name: getattr(first, name) for name in MERGED_BY}
        self._columns: Columns = {name: column[:0] for name, column in there.items() if column is not None}
        self.add(first)

    def add(self, part: PartialSums) -> None:
        known = len(self._row_of)
        rows = np.array([self._row_of.setdefault(k, len(self._row_of)) for k in part.label.tolist()], np.int64)
        old = rows < known
        for name in self._columns:
            column, more = self._columns[name], getattr(part, name)
            if len(column) < len(self._row_of):
                room = len(self._row_of) * 3 // 2 - len(column)
                column = np.concatenate([column, np.empty((room, *column.shape[1:]), column.dtype)])
            if name == "gray_histogram" and self._columns["voxels"][rows].max(initial=0) >= 2**32:
                column = column.astype(np.uint64, copy=False)
            column[rows[old]] = MERGED_BY[name](column[rows[old]], more[old])
            column[rows[~old]] = more[~old]
            self._columns[name] = column

    def take(self) -> tuple[NDArray[np.uint64], Columns]:
        """Hand over the labels, in order, and their columns; nothing is kept."""
        label = np.fromiter(self._row_of, np.uint64, len(self._row_of))
        order = np.argsort(label)
        return label[order], {name: self._columns.pop(name)[order] for name in list(self._columns)}


def to_table(
    sums: PartialSums, shape: Zyx, spacing_mm: Spacing, confidence: ParticleConfidence | None = None
) -> ParticleTable:
    """Turn sums into the particle table.

    Args:
        sums: of some particles or all, each complete: from :func:`merge_sums`, or from :func:`partial_sums` of the
            whole volume.
        shape: of the volume, voxels z, y, x.
        spacing_mm: voxel size along z, y, x.
        confidence: of the same particles; None if no network found them.

    Raises:
        InputError: if a spacing is not a positive number.
    """
    if len(spacing_mm) != 3 or not all(isfinite(s) and s > 0 for s in spacing_mm):
        raise InputError(f"spacing is {spacing_mm}; it must be three positive numbers, mm along z, y, x.")
    volume_mm3 = sums.voxels * np.float64(prod(spacing_mm))
    surface = surface_mm2(sums.crossings, spacing_mm)
    feret = feret_mm(sums.low, sums.high, spacing_mm)
    axes = principal_axes(covariances(sums.voxels, sums.index_sum, sums.product_sum), spacing_mm)
    centroid = (sums.index_sum / sums.voxels[:, None] + 0.5) * np.array(spacing_mm)
    return ParticleTable(
        label=sums.label,
        volume_voxels=sums.voxels,
        volume_mm3=volume_mm3,
        equivalent_diameter_mm=np.cbrt(6 * volume_mm3 / pi),
        surface_mm2=surface,
        sphericity=sphericity(volume_mm3, surface),
        feret_max_mm=feret.max_mm,
        feret_min_mm=feret.min_mm,
        axis_major_mm=axes.major_mm,
        axis_middle_mm=axes.middle_mm,
        axis_minor_mm=axes.minor_mm,
        elongation=axes.middle_mm / axes.major_mm,
        flatness=axes.minor_mm / axes.middle_mm,
        solidity=solidity(sums.voxels, sums.index_sum, sums.low, sums.high),
        **_by_axis("axis_major_{}", axes.major),
        **_by_axis("axis_minor_{}", axes.minor),
        **_by_axis("centroid_{}_mm", centroid),
        **_by_axis("box_{}_start_voxels", sums.start),
        **_by_axis("box_{}_stop_voxels", sums.stop),
        touches_edge=np.any((sums.start == 0) | (sums.stop == np.array(shape)), axis=1),
        edge_weight=box_weights(sums.start, sums.stop, shape),
        **_contact_columns(sums),
        **_gray_columns(sums),
        **({} if confidence is None else confidence.columns()),
        contact_pairs=sums.contacts,
        gray_histogram=sums.gray_histogram,
        gray_bins=sums.gray_bins,
    )


def look_in(parts: Iterable[LabelPart]) -> Look:
    """Look at particles in labels, which come in parts that tile their volume."""

    def look(some: ParticleTable) -> NDArray[np.float64]:
        of = some.columns()
        starts, stops = (np.stack([of[f"box_{a}_{end}_voxels"] for a in "zyx"], axis=1) for end in ("start", "stop"))
        return find_necks(some.label, some.volume_voxels, starts, stops, parts)

    return look


def with_scores(
    table: ParticleTable, look: Look | None = None, typical: TypicalSolidity | None = None
) -> ParticleTable:
    """Add how much each particle looks merged or split, once the whole sample is known.

    Args:
        table: all particles of a sample, or some.
        look: measures the necks of those that need it; None if the labels are not at hand: then none has a neck.
        typical: of the whole sample; None if the table is all of it.
    """
    if table.solidity is None:
        return table
    below = spreads_below(table.solidity, typical or TypicalSolidity.of([table.solidity]))
    necks, suspects = np.ones(len(table)), np.flatnonzero(below >= SUSPECT)
    if look is not None and suspects.size:
        necks[suspects] = look(table.take(suspects))
    scores: dict[str, Any] = {"merged_score": merged_scores(below, necks, table.sphericity, table.volume_voxels)}
    if table.contact_margin is not None:
        label, _, faces = table.contact_pairs.sides(table.label)
        widest = np.zeros(len(table), np.int64)
        np.maximum.at(widest, np.searchsorted(table.label, label), faces)
        scores["split_score"] = split_scores(table.contact_margin, widest, table.volume_voxels)
    return replace(table, **scores)


def _by_axis(name: str, values: NDArray[Any]) -> dict[str, Any]:
    return {name.format(axis): values[:, i] for i, axis in enumerate("zyx")}


def _contact_columns(sums: PartialSums) -> dict[str, Any]:
    label, _, faces = sums.contacts.sides(sums.label)
    row = np.searchsorted(sums.label, label)
    total = np.zeros(len(sums.label), np.int64)
    np.add.at(total, row, faces)
    return {"contacts": np.bincount(row, minlength=len(total)), "contact_faces": total}


def _gray_columns(sums: PartialSums) -> dict[str, Any]:
    if sums.gray_sum is None or sums.gray_square_sum is None or sums.gray_min is None or sums.gray_max is None:
        return {}
    gray = statistics(sums.voxels, sums.gray_sum, sums.gray_square_sum)
    columns = {"gray_mean": gray.mean, "gray_std": gray.std, "gray_min": sums.gray_min, "gray_max": sums.gray_max}
    if sums.gray_histogram is None or sums.gray_bins is None:
        return columns
    return columns | quantiles(sums.gray_histogram, sums.gray_bins, sums.gray_min, sums.gray_max)

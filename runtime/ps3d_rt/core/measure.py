"""The particle table and the size distribution.

For a particle of V voxels with indices (z, y, x), spacing s in mm per axis, in a volume whose corner is the origin:

``volume_mm3``               V · s_z · s_y · s_x
``equivalent_diameter_mm``   (6 volume / π)^(1/3), the diameter of the sphere of the same volume
``centroid_z_mm`` …          (mean of the indices + 0.5) · s: voxel i covers i·s .. (i + 1)·s, its centre counts
``box_z_start_voxels`` …     least index; ``…_stop_voxels`` is the largest plus one (half open)
``gray_mean``                mean of the source image over the particle's voxels, in the image's gray values
``touches_edge``             the box reaches a face of the volume, so the particle may be cut

1. :func:`partial_sums` reduces one part of the volume to sums and extremes per id.
2. :func:`merge_sums` puts parts together. All of it is whole numbers (the gray sums too, for images of up to 32-bit
   integers), so the result is the same bytes for any cutting of the volume into boxes and any order of them. Float
   images are summed in float64, in raster order inside a part and then in the order of the parts: the same parts in
   the same order give the same bytes, another cutting may differ in the last digits.
3. :func:`renumber` turns the ids into 1..N, if they are not to stay as they are.
4. :func:`to_table` turns the sums into the columns above.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from math import isfinite, nan, pi, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.grid import Zyx
from ps3d_rt.core.particles import label_dtype
from ps3d_rt.core.run_sums import sum_runs
from ps3d_rt.core.runs import check_volume
from ps3d_rt.errors import InputError

Spacing = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticleTable:
    """One row a particle, in ascending order of the label. Every column is (n,); the units are in the names."""

    label: NDArray[np.uint64]
    volume_voxels: NDArray[np.int64]
    volume_mm3: NDArray[np.float64]
    equivalent_diameter_mm: NDArray[np.float64]
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
    gray_mean: NDArray[np.float64] | None = None
    """None if no image was given."""

    def __len__(self) -> int:
        return len(self.label)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the columns by name, in the order of the fields; without ``gray_mean`` if there was no image."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: column for name, column in values.items() if column is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialSums:
    """What one part of a volume knows about its particles, one row an id; indices are those of the whole volume."""

    label: NDArray[np.uint64]
    """(n,) ids, ascending, each once."""
    voxels: NDArray[np.int64]
    """(n,) number of voxels."""
    index_sum2: NDArray[np.int64]
    """(n, 3) twice the sum of the voxel indices z, y, x; twice, so that the middle of a run is a whole number.

    At most 2 · voxels · longest side: 2e15 for one particle of 1e10 voxels in a volume 1e5 long; int64 ends at 9.2e18.
    """
    first: NDArray[np.int64]
    """(n,) raster index, in the whole volume, of the first voxel."""
    start: NDArray[np.int64]
    """(n, 3) least index z, y, x."""
    stop: NDArray[np.int64]
    """(n, 3) largest index z, y, x, plus one."""
    gray_sum: NDArray[Any] | None
    """(n,) sum of the gray values; None without an image.

    int64 and exact for integers of up to 32 bits, as long as no particle has more than 2^31 voxels (32-bit images) or
    2^47 (16-bit images); else float64.
    """


MERGED_BY = {
    "voxels": np.add,
    "index_sum2": np.add,
    "first": np.minimum,
    "start": np.minimum,
    "stop": np.maximum,
    "gray_sum": np.add,
}
"""How the rows of one id become one: what :func:`merge_sums` does with each field of :class:`PartialSums`."""


def measure(labels: NDArray[Any], spacing_mm: Spacing, image: NDArray[Any] | None = None) -> ParticleTable:
    """Measure every particle of a label volume.

    Args:
        labels: (z, y, x) ids, 0 is background; gaps are allowed.
        spacing_mm: voxel size along z, y, x.
        image: (z, y, x) gray values of the source image, not resampled and not normalized; or None.

    Raises:
        InputError: if the shapes differ, the labels are not ids, or a spacing is not a positive number.

    >>> table = measure(np.array([[[0, 3, 3]]]), (1.0, 1.0, 2.0))
    >>> table.label, table.volume_mm3, table.centroid_x_mm
    (array([3], dtype=uint64), array([4.]), array([4.]))
    """
    shape = check_volume(labels, image)
    return to_table(partial_sums(labels, image), shape, spacing_mm)


def partial_sums(
    labels: NDArray[Any], image: NDArray[Any] | None = None, *, at: Zyx = (0, 0, 0), shape: Zyx | None = None
) -> PartialSums:
    """Reduce one part of a volume to sums per id.

    Args:
        labels: (z, y, x) ids.
        image: (z, y, x) gray values of the same voxels, or None.
        at: index of the part's first voxel in the whole volume.
        shape: of the whole volume, voxels; None if the part is all of it.

    Raises:
        InputError: if the shapes differ, the part does not lie in the volume, or the labels are not ids.

    >>> partial_sums(np.array([[[7, 7]]]), at=(4000, 0, 5), shape=(5000, 3000, 2000)).first
    array([24000000005])
    """
    part = check_volume(labels, image)
    shape = part if shape is None else shape
    if any(i < 0 or i + n > whole for i, n, whole in zip(at, part, shape, strict=True)):
        raise InputError(
            f"a part of {part} voxels at {at} does not lie in a volume of {shape}; pass the shape of the whole volume."
        )
    rows = sum_runs(labels, image, at, shape)
    order = np.argsort(rows.label)
    sums = PartialSums(**{name: column[order] for name, column in rows._asdict().items()})
    return sums if image is not None else replace(sums, gray_sum=None)


def merge_sums(parts: Iterable[PartialSums]) -> PartialSums:
    """Put together parts that share no voxel.

    Raises:
        InputError: if there are no parts, or only some of them were given an image.
    """
    parts = list(parts)
    if not parts:
        raise InputError("there is nothing to add up; a volume has at least one part.")
    with_gray = sum(part.gray_sum is not None for part in parts)
    if 0 < with_gray < len(parts):
        raise InputError(
            f"{with_gray} of {len(parts)} parts have gray values; give the image for all parts or for none."
        )
    label = np.concatenate([part.label for part in parts])
    order = np.argsort(label, kind="stable")  # keeps the order of the parts, in which floats are added
    label, begins = np.unique(label[order], return_index=True)
    columns: dict[str, Any] = {"label": label, "gray_sum": None}
    for name, reduce in MERGED_BY.items():
        if name != "gray_sum" or with_gray:
            columns[name] = reduce.reduceat(np.concatenate([getattr(part, name) for part in parts])[order], begins)
    return PartialSums(**columns)


def renumber(sums: PartialSums, largest: int = 0) -> tuple[PartialSums, NDArray[Any]]:
    """Turn the ids of a whole volume into 1..N, in raster order of their first voxels.

    Args:
        sums: of the whole volume.
        largest: an id that the table must reach, even if no voxel has it.

    Returns:
        The sums by new id; and the table from old ids to new ones, uint32 (uint64 past 2^32). Entry 0, and that of an
        id without voxels, is 0. It has an entry for every id up to the largest one, so large gaps cost memory.

    >>> renumber(partial_sums(np.array([[[5, 0, 2, 2]]])))[1]
    array([0, 0, 2, 0, 0, 1], dtype=uint32)
    """
    order = np.argsort(sums.first)
    count = len(order)
    table = np.zeros(max(largest, int(sums.label.max(initial=0))) + 1, label_dtype(count))
    table[sums.label[order]] = np.arange(1, count + 1)
    columns = {name: getattr(sums, name) for name in MERGED_BY}
    columns = {name: None if column is None else column[order] for name, column in columns.items()}
    return PartialSums(label=np.arange(1, count + 1, dtype=np.uint64), **columns), table


def to_table(sums: PartialSums, shape: Zyx, spacing_mm: Spacing) -> ParticleTable:
    """Turn the sums of a whole volume into the particle table.

    Args:
        sums: from :func:`merge_sums`, or from :func:`partial_sums` of the whole volume.
        shape: of the volume, voxels z, y, x.
        spacing_mm: voxel size along z, y, x.

    Raises:
        InputError: if a spacing is not a positive number.
    """
    if len(spacing_mm) != 3 or not all(isfinite(s) and s > 0 for s in spacing_mm):
        raise InputError(f"spacing is {spacing_mm}; it must be three positive numbers, mm along z, y, x.")
    volume_mm3 = sums.voxels * np.float64(prod(spacing_mm))
    centroid = (sums.index_sum2 / (2 * sums.voxels[:, None]) + 0.5) * np.array(spacing_mm)
    return ParticleTable(
        label=sums.label,
        volume_voxels=sums.voxels,
        volume_mm3=volume_mm3,
        equivalent_diameter_mm=np.cbrt(6 * volume_mm3 / pi),
        centroid_z_mm=centroid[:, 0],
        centroid_y_mm=centroid[:, 1],
        centroid_x_mm=centroid[:, 2],
        box_z_start_voxels=sums.start[:, 0],
        box_z_stop_voxels=sums.stop[:, 0],
        box_y_start_voxels=sums.start[:, 1],
        box_y_stop_voxels=sums.stop[:, 1],
        box_x_start_voxels=sums.start[:, 2],
        box_x_stop_voxels=sums.stop[:, 2],
        touches_edge=np.any((sums.start == 0) | (sums.stop == np.array(shape)), axis=1),
        gray_mean=None if sums.gray_sum is None else sums.gray_sum / sums.voxels,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeDistribution:
    """Percentiles of the equivalent diameter, mm; NaN without particles."""

    particles: int
    """Number of particles that went in."""
    d10_by_number_mm: float
    d50_by_number_mm: float
    d90_by_number_mm: float
    d10_by_volume_mm: float
    d50_by_volume_mm: float
    d90_by_volume_mm: float


def size_distribution(table: ParticleTable, *, exclude_edge: bool = False) -> SizeDistribution:
    """Compute D10, D50 and D90 by number and by volume.

    D(p) is the smallest diameter d in the table such that the particles of diameter ≤ d make up at least the share p,
    of all particles (by number) or of their total volume (by volume): a point of the cumulative curve itself, never
    a value between two particles.

    Args:
        table: the particles; all of them count.
        exclude_edge: leave out the particles that touch a face of the volume. They may be cut and so look smaller;
            but large particles are cut more often, so leaving them out favours the small ones. Neither is a correction.

    >>> size_distribution(measure(np.array([[[1, 0, 2, 2]]]), (1, 1, 1))).d50_by_number_mm  # (6/π)^(1/3)
    1.2407009817988
    """
    keep = ~table.touches_edge if exclude_edge else np.ones(len(table), dtype=np.bool_)
    diameter, volume = table.equivalent_diameter_mm[keep], table.volume_voxels[keep]
    shares = (0.1, 0.5, 0.9)
    if not len(diameter):
        by_number = by_volume = [nan] * 3
    else:
        by_number = np.quantile(diameter, shares, method="inverted_cdf").tolist()
        by_volume = np.quantile(diameter, shares, method="inverted_cdf", weights=volume).tolist()
    return SizeDistribution(
        particles=len(diameter),
        d10_by_number_mm=by_number[0],
        d50_by_number_mm=by_number[1],
        d90_by_number_mm=by_number[2],
        d10_by_volume_mm=by_volume[0],
        d50_by_volume_mm=by_volume[1],
        d90_by_volume_mm=by_volume[2],
    )

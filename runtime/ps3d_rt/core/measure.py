"""The particle table and the size distribution.

For a particle of V voxels with indices (z, y, x), spacing s in mm per axis, in a volume whose corner is the origin:

``volume_mm3``               V · s_z · s_y · s_x
``equivalent_diameter_mm``   (6 volume / π)^(1/3), the diameter of the sphere of the same volume
``centroid_z_mm`` …          (mean of the indices + 0.5) · s: voxel i covers i·s .. (i + 1)·s, its centre counts
``box_z_start_voxels`` …     least index; ``…_stop_voxels`` is the largest plus one (half open)
``gray_mean``                mean of the source image over the particle's voxels, in the image's gray values
``touches_edge``             the box reaches a face of the volume, so the particle may be cut

1. :func:`partial_sums` reduces one part of the volume to voxel counts, index sums, boxes and gray sums per id.
2. :func:`merge_sums` adds parts up. Counts and sums are whole numbers (for images of up to 32-bit integers), so the
   result is the same bytes for any cutting of the volume; sums of a float image may differ in the last digits.
3. :func:`to_table` turns the sums into the columns above.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from math import isfinite, nan, pi, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.grid import Zyx
from ps3d_rt.core.runs import as_ids, check_volume, run_starts, z_slabs
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
    """What one part of a volume knows about its particles; indices are those of the whole volume."""

    label: NDArray[np.uint64]
    """(n,) ids; ascending and unique once reduced."""
    voxels: NDArray[np.int64]
    """(n,) number of voxels."""
    index_sum2: NDArray[np.int64]
    """(n, 3) twice the sum of the voxel indices z, y, x; twice, so that the middle of a run is a whole number."""
    start: NDArray[np.int64]
    """(n, 3) least index z, y, x."""
    stop: NDArray[np.int64]
    """(n, 3) largest index z, y, x, plus one."""
    gray_sum: NDArray[Any] | None
    """(n,) sum of the gray values, int64 or float64; None without an image."""


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


def measure_slabs(slabs: Iterable[tuple[NDArray[Any], NDArray[Any] | None]], spacing_mm: Spacing) -> ParticleTable:
    """Measure a label volume that arrives as slabs of whole planes, such as slabs read from disk.

    Args:
        slabs: (labels, image or None), each (planes, y, x), one after the other from z = 0.
        spacing_mm: voxel size along z, y, x.

    Raises:
        InputError: as :func:`measure`.
    """
    parts, depth, plane = [], 0, (0, 0)
    for labels, image in slabs:
        parts.append(partial_sums(labels, image, at=(depth, 0, 0)))
        depth, plane = depth + labels.shape[0], (labels.shape[1], labels.shape[2])
    return to_table(merge_sums(parts), (depth, *plane), spacing_mm)


def partial_sums(labels: NDArray[Any], image: NDArray[Any] | None = None, *, at: Zyx = (0, 0, 0)) -> PartialSums:
    """Reduce one part of a volume to sums per id.

    Args:
        labels: (z, y, x) ids.
        image: (z, y, x) gray values of the same voxels, or None.
        at: index of the part's first voxel in the whole volume.

    Raises:
        InputError: if the shapes differ or the labels are not ids.
    """
    shape = check_volume(labels, image)
    parts = []
    for slab in z_slabs(shape):  # bounds the memory
        part = labels[slab.slices], None if image is None else image[slab.slices]
        parts.append(_slab_sums(*part, at=(at[0] + slab.start[0], at[1], at[2])))
    return merge_sums(parts)


def _slab_sums(labels: NDArray[Any], image: NDArray[Any] | None, at: Zyx) -> PartialSums:
    ids = as_ids(labels)
    starts = run_starts(ids)
    label = ids.reshape(-1)[starts]
    particle = label > 0
    length = np.diff(starts, append=ids.size)[particle]
    first = np.stack(np.unravel_index(starts[particle], ids.shape), axis=-1) + np.array(at, dtype=np.int64)
    last = first.copy()
    last[:, 2] += length - 1
    gray = None if image is None else _gray_sums(image, starts)[particle]
    runs = PartialSums(
        label=label[particle].astype(np.uint64),
        voxels=length,
        index_sum2=(first + last) * length[:, None],
        start=first,
        stop=last + 1,
        gray_sum=gray,
    )
    return _sum_by_label(runs)


def _gray_sums(image: NDArray[Any], starts: NDArray[np.int64]) -> NDArray[Any]:
    exact = image.dtype.kind in "bui" and image.dtype.itemsize <= 4
    sums: NDArray[Any] = np.add.reduceat(image.reshape(-1), starts, dtype=np.int64 if exact else np.float64)
    return sums


def merge_sums(parts: Iterable[PartialSums]) -> PartialSums:
    """Add up parts that share no voxel.

    Raises:
        InputError: if there are no parts, or only some of them were given an image.
    """
    parts = list(parts)
    if not parts:
        raise InputError("there is nothing to add up; a volume has at least one part.")
    gray = [part.gray_sum for part in parts if part.gray_sum is not None]
    if gray and len(gray) != len(parts):
        raise InputError(
            f"{len(gray)} of {len(parts)} parts have gray values; give the image for all parts or for none."
        )
    rows = PartialSums(
        label=np.concatenate([part.label for part in parts]),
        voxels=np.concatenate([part.voxels for part in parts]),
        index_sum2=np.concatenate([part.index_sum2 for part in parts]),
        start=np.concatenate([part.start for part in parts]),
        stop=np.concatenate([part.stop for part in parts]),
        gray_sum=np.concatenate(gray) if gray else None,
    )
    return _sum_by_label(rows)


def _sum_by_label(rows: PartialSums) -> PartialSums:
    if not len(rows.label):
        return rows
    # Stable: float gray values are then always added in the order of the parts.
    order = np.argsort(rows.label, kind="stable")
    label = rows.label[order]
    first = np.flatnonzero(np.concatenate([[True], label[1:] != label[:-1]]))
    return PartialSums(
        label=label[first],
        voxels=np.add.reduceat(rows.voxels[order], first),
        index_sum2=np.add.reduceat(rows.index_sum2[order], first),
        start=np.minimum.reduceat(rows.start[order], first),
        stop=np.maximum.reduceat(rows.stop[order], first),
        gray_sum=None if rows.gray_sum is None else np.add.reduceat(rows.gray_sum[order], first),
    )


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

"""Scans simulated over real grains: crops of a segmentation, whatever made it, with gray values of a spec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from ps3d_rt.core.arrays import Array
from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.errors import InputError
from ps3d_rt.io.open import open_volume
from ps3d_training.synth.noise import effect_rng
from ps3d_training.synth.sample import SimulatedSample, image_of
from ps3d_training.synth.spec import SampleSpec
from ps3d_training.synth.truth import connected, facts_of, mean_diameter, voxels_by_label
from ps3d_training.synth.variety import random_spec

LEAST_VOXELS = 50
"""Components of a binary volume below this are dirt: a ball of 50 voxels is 4.6 across."""
_TRIES = 50
_LEAST_FILL = 0.02
"""Share of a crop that grains must take: a crop beside the sample shows nothing to learn."""


@dataclass(frozen=True)
class LabelSource:
    """A segmentation to cut samples from."""

    name: str
    """Of the file; samples are called ``NAME_SEED``."""
    labels: Array
    """(z, y, x) uint32, 0 between the grains."""
    spacing_mm: float
    mean_diameter_voxels: float
    """Of the grains that the volume's faces do not cut."""

    def sample_name(self, seed: int, maker: str = "") -> str:
        """Name of the sample of ``seed``; ``maker`` tells apart what two sources make of the same labels."""
        return f"{self.name}_{maker}{seed:05d}"

    def spec(self, seed: int, *, vary: bool = False, **fixed: Any) -> SampleSpec:
        """Describe a sample that can be cut: the labels' own scale, or a coarser one for smaller particles.

        Args:
            seed: decides place, orientation and all that is drawn.
            vary: draw what is not fixed, as :func:`random_spec` does; particles become no larger than they are.
            fixed: gray fields of :class:`SampleSpec` to keep, and the shape. Another ``particle_size_voxels``
                resamples the labels.

        Raises:
            InputError: if the shape does not fit into the labels at that scale.
        """
        make = random_spec if vary else SampleSpec
        own_size = self.mean_diameter_voxels
        drawn_size = min(own_size, random_spec(seed).particle_size_voxels) if vary else own_size
        size = float(fixed.pop("particle_size_voxels", drawn_size))
        zoom = size / own_size
        sides = [int(n * zoom + 0.01) for n in self.labels.shape]
        shape = fixed.pop("shape", None)
        if shape is None:
            shape = (min(*make(seed=seed, particle_size_voxels=size).shape, *sides),) * 3
        self.check_fits(shape, sides, size)
        fixed |= {"spacing_mm": self.spacing_mm / zoom, "container": False}
        return make(seed=seed, particle_size_voxels=size, shape=shape, **fixed)

    def check_fits(self, shape: Zyx, sides: Sequence[int], size_voxels: float) -> None:
        """Raise an InputError if no orientation of ``shape`` fits into ``sides``, these labels at ``size_voxels``."""
        if any(n > side for n, side in zip(sorted(shape), sorted(sides), strict=True)):
            raise InputError(
                f"a sample of {shape} voxels does not fit into {self.name}, which has {tuple(sides)} at a mean "
                f"particle diameter of {size_voxels:.1f} voxels; choose a smaller shape or larger particles."
            )

    def sample(self, spec: SampleSpec) -> SimulatedSample:
        """Cut the labels of one sample and simulate its scan. Equal specs give equal bytes.

        Raises:
            InputError: if no crop with enough grains is found.
        """
        labels, facts, origin = self.cut(spec)
        return SimulatedSample(image_of(labels, spec), labels, spec, facts, origin)

    def cut(self, spec: SampleSpec) -> tuple[Array, dict[str, Any], dict[str, Any]]:
        """Cut the labels of one sample, and say what came out and where it lay.

        Raises:
            InputError: if no crop with enough grains is found.
        """
        crop, origin = self._crop(spec)
        labels = connected(crop)
        # A crop cuts most of its large grains: the mean of all the source's grains is the better size.
        facts = facts_of(labels, inside_voxels=labels.size, otherwise_voxels=0)
        facts["mean_diameter_voxels"] = spec.particle_size_voxels
        return labels, facts, origin

    def _crop(self, spec: SampleSpec) -> tuple[Array, dict[str, Any]]:
        """Labels at a random place in one of the 48 orientations of a cube, and where they lay."""
        rng = effect_rng(spec, "crop")
        zoom = spec.particle_size_voxels / self.mean_diameter_voxels
        # Nearest neighbours: the middle of a voxel of the sample lies in that voxel of the source.
        steps = [np.floor((np.arange(n) + 0.5) / zoom + 1e-9).astype(np.int64) for n in spec.shape]
        need = np.array([int(step[-1]) + 1 for step in steps])
        sides = np.array(self.labels.shape)
        orders = [order for order in permutations(range(3)) if (need <= sides[list(order)]).all()]
        for _ in range(_TRIES if orders else 0):
            order = list(orders[rng.integers(len(orders))])
            start = rng.integers(0, sides[order] - need + 1)
            flips = tuple(bool(flip) for flip in rng.random(3) < 0.5)
            picked = [a + (step[::-1] if flip else step) for a, step, flip in zip(start, steps, flips, strict=True)]
            crop = np.ascontiguousarray(self.labels.transpose(order)[np.ix_(*picked)])
            if (crop > 0).mean() >= _LEAST_FILL:
                place = {"start": start[np.argsort(order)].tolist(), "axes": order, "flipped": list(flips)}
                return crop, {"file": self.name, "zoom": round(zoom, 6), **place}
        raise InputError(
            f"{self.name}: no crop of {spec.shape} voxels with grains in at least {_LEAST_FILL:.0%} of it was found "
            f"at a mean particle diameter of {spec.particle_size_voxels:.1f} voxels; choose another shape."
        )


def open_labels(
    path: Path, *, spacing_mm: float | Sequence[float] | None = None, least_voxels: int = LEAST_VOXELS
) -> LabelSource:
    """Read labels, or a binary volume whose 6-connected components of ``least_voxels`` or more are the grains.

    Args:
        path: any format that :func:`open_volume` reads.
        spacing_mm: side of a voxel, one number or z, y, x; wins over what the file says. Without both, the spec's
            default. Labels whose voxels are no cubes are brought to cubes of the shortest side.
        least_voxels: for a binary volume only.

    Raises:
        InputError: if the file holds no labels.
    """
    with open_volume(path, spacing_mm=spacing_mm) as volume:
        spacing = volume.spacing_mm or 3 * (SampleSpec.spacing_mm,)
        found = volume.read(Box.of_shape(volume.shape))
        name, source = volume.name, volume.source
    labels = _to_cubes(_as_labels(found, source, least_voxels), spacing)
    diameter = mean_diameter(labels)
    if not diameter:
        raise InputError(f"{source}: there is no grain that the volume's faces do not cut; nothing can be measured.")
    return LabelSource(name, labels, float(min(spacing)), diameter)


def _to_cubes(labels: Array, spacing_mm: tuple[float, ...]) -> Array:
    """Take the nearest label for every voxel of a grid of cubes, as long as the shortest side; within 1 % they are."""
    least = min(spacing_mm)
    if max(spacing_mm) <= 1.01 * least:
        return labels
    rows = []
    for n, side in zip(labels.shape, spacing_mm, strict=True):
        centres = (np.arange(max(1, round(n * side / least))) + 0.5) * least / side
        rows.append(np.minimum(centres.astype(int), n - 1))
    return np.ascontiguousarray(labels[np.ix_(*rows)])


def _as_labels(found: Array, source: str, least_voxels: int) -> Array:
    if found.dtype.kind == "f" and not np.array_equal(found, np.rint(found)):
        raise InputError(f"{source}: the voxels are {found.dtype} with values between the labels; labels are whole.")
    low, high = found.min(), found.max()
    if low < 0 or high == 0:
        raise InputError(f"{source}: the values go from {low} to {high}; labels are above 0, what is between them 0.")
    if low == 0 and not ((found != 0) & (found != high)).any():
        return _components(found != 0, least_voxels)
    if high > np.iinfo(np.int32).max:
        values, found = np.unique(found, return_inverse=True)
        found = found + (values[0] != 0)
    return found.astype(np.uint32)


def _components(grains: Array, least_voxels: int) -> Array:
    labels, _ = ndimage.label(grains)
    keep = voxels_by_label(labels) >= least_voxels
    keep[0] = False
    kept: Array = (np.cumsum(keep) * keep).astype(np.uint32)[labels]
    return kept

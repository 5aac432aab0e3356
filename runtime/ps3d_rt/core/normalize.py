"""What makes volumes comparable: gray values (a scale) and particle size (zoom). The only place for either."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, floor, isfinite
from typing import Any

from ps3d_rt.core.arrays import array_namespace
from ps3d_rt.core.grid import Zyx
from ps3d_rt.errors import InputError

CLIP = (0.005, 0.995)
"""Shares of the sample between which gray values count: metal specks and dead pixels must not set the scale."""


@dataclass(frozen=True, slots=True)
class GrayScale:
    """Mean and standard deviation, in gray values, that the z-score uses."""

    mean: float
    std: float
    floor: float | None = None
    """Z-score that darker voxels are raised to: particles are brighter than what surrounds them, so how dark air and
    bubbles are says nothing."""
    ceiling: float | None = None
    """Gray value that brighter voxels are lowered to: how bright the densest mineral is must not decide how far the
    others stand out."""
    dark: bool = False
    """The particles are the darker part: everything here is meant of minus the gray value."""

    def __post_init__(self) -> None:
        if not (isfinite(self.mean) and isfinite(self.std) and self.std > 0):
            raise InputError(f"gray scale has mean {self.mean} and std {self.std}; both finite and std > 0 are needed.")


EMBEDDING_AT = -0.5
SLOPE = 1.6
"""Chosen so that weights which were trained on z-scores see what they know: in most of those the embedding was at −0.5,
and typical particles at 1.3; now darker ones are at 0.9."""


@dataclass(frozen=True, slots=True)
class EmbeddingScale:
    """Gray values counted from the embedding, and compressed: −0.5 + 1.6 · asinh((value − embedding) / contrast).

    How full the sample is does not enter. Near the embedding the scale is straight; far above it, it grows as the
    logarithm, so that contrasts of 1 and 80 both fit.
    """

    embedding: float
    """Gray value of what the particles lie in."""
    contrast: float
    """How far the darker particles stand out, gray values, > 0."""
    floor: float | None = None
    """As for :class:`GrayScale`."""
    dark: bool = False
    """The particles are darker than the embedding: the scale is mirrored."""

    def __post_init__(self) -> None:
        if not (isfinite(self.embedding) and isfinite(self.contrast) and self.contrast > 0):
            raise InputError(
                f"gray scale has embedding {self.embedding} and contrast {self.contrast}; "
                "both finite and contrast > 0 are needed."
            )


def network_input(image: Any, scale: GrayScale | EmbeddingScale) -> Any:
    """Bring gray values to what the network is shown: float32 of the same shape.

    Args:
        image: any shape, any real dtype; never rescaled by its dtype's range.
        scale: of the volume, or a model's constants.
    """
    if isinstance(scale, GrayScale):
        return zscore(image, scale)
    xp = array_namespace(image)
    values = xp.astype(image, xp.float32, copy=False) - scale.embedding
    values /= -scale.contrast if scale.dark else scale.contrast
    values = (xp.asinh if hasattr(xp, "asinh") else xp.arcsinh)(values)  # cupy learned the standard's name late
    values *= SLOPE
    values += EMBEDDING_AT
    return values if scale.floor is None else xp.clip(values, scale.floor, None)


def gray_scale(sample: Any, ceiling: float | None = None) -> GrayScale:
    """Measure the gray scale of a volume, robust against outliers: the second of :func:`gray_scales`."""
    return gray_scales(sample, ceiling)[1]


def gray_scales(sample: Any, ceiling: float | None) -> tuple[GrayScale, GrayScale]:
    """Measure the gray scale of a volume as it is, and the one under a ceiling.

    The sample is clipped to its 0.5 and 99.5 percentiles (linear between ranks, as ``numpy.percentile``);
    then mean and standard deviation of all of it. The order of the voxels does not matter, to the last bit.

    Args:
        sample: any shape, any real dtype: the volume, or voxels spread over it.
        ceiling: standard deviations above the mean that count at most; brighter voxels are lowered to there, and all is
            measured again. None: every voxel counts as it is, and both are the same.

    Raises:
        InputError: if the sample is empty, has NaN or Inf, or is constant between its percentiles.
    """
    xp = array_namespace(sample)
    values = xp.sort(xp.reshape(sample, (-1,)))  # in its own dtype: integers sort faster
    values = xp.astype(values, xp.float64)
    count = values.shape[0]
    if count == 0:
        raise InputError("the sample of gray values is empty; pass at least two voxels of the volume.")
    if not bool(xp.all(xp.isfinite(values))):
        raise InputError(
            "the volume holds NaN or Inf; replace them by the gray value of the embedding and start again."
        )
    plain = _measured(values)
    if ceiling is None:
        return plain, plain
    highest = plain.mean + ceiling * plain.std
    return plain, replace(_measured(xp.clip(values, None, highest)), ceiling=highest)


def _measured(ordered: Any) -> GrayScale:
    xp = array_namespace(ordered)
    low, high = (_quantile(ordered, share) for share in CLIP)
    if low == high:
        raise InputError(f"99 % of the volume has one gray value, {low:g}: it has no contrast. Check the file.")
    values = xp.clip(ordered, low, high)
    return GrayScale(mean=float(xp.mean(values)), std=float(xp.std(values)))


def _quantile(ordered: Any, share: float) -> float:
    at: float = share * (ordered.shape[0] - 1)
    below, above = float(ordered[floor(at)]), float(ordered[ceil(at)])
    return below + (above - below) * (at - floor(at))


def zscore(image: Any, scale: GrayScale) -> Any:
    """Bring gray values to mean 0 and standard deviation 1: (image − mean) / std, within floor and ceiling.

    Args:
        image: any shape, any real dtype; never rescaled by its dtype's range.
        scale: from :func:`gray_scale`, or a model's constants.

    Returns:
        float32 of the same shape.
    """
    xp = array_namespace(image)
    values = xp.astype(image, xp.float32, copy=False)
    values = (-values if scale.dark else values) - scale.mean
    values /= scale.std
    highest = None if scale.ceiling is None else (scale.ceiling - scale.mean) / scale.std
    return values if scale.floor is None and highest is None else xp.clip(values, scale.floor, highest)


def size_zoom(
    spacing_mm: tuple[float, float, float], particle_size_mm: float, target_size_voxels: float
) -> tuple[float, float, float]:
    """Zoom per axis that makes a particle of ``particle_size_mm`` ``target_size_voxels`` wide.

    Args:
        spacing_mm: edge lengths of a voxel of the source grid, z, y, x.
        particle_size_mm: rough mean diameter of the sample's particles.
        target_size_voxels: diameter the model was trained on.

    Returns:
        normalized voxels per source voxel; more than 1 enlarges.

    >>> size_zoom((0.01, 0.01, 0.02), particle_size_mm=0.3, target_size_voxels=60)
    (2.0, 2.0, 4.0)
    """
    for name, value in (*(("spacing", s) for s in spacing_mm), ("particle size", particle_size_mm)):
        if not (isfinite(value) and value > 0):
            raise InputError(f"{name} is {value} mm; a positive length in mm is needed. Check the volume's metadata.")
    if not (isfinite(target_size_voxels) and target_size_voxels > 0):
        raise InputError(f"target size is {target_size_voxels} voxels; a positive number is needed. Check the model.")
    z, y, x = (target_size_voxels * s / particle_size_mm for s in spacing_mm)
    return z, y, x


def normalized_shape(shape: Zyx, zoom: tuple[float, float, float]) -> Zyx:
    """Shape of the normalized grid: round(shape · zoom), at least one voxel.

    >>> normalized_shape((100, 200, 3), (1.6, 0.5, 0.1))
    (160, 100, 1)
    """
    z, y, x = (max(1, round(n * f)) for n, f in zip(shape, zoom, strict=True))
    return z, y, x

"""How good a segmentation is, without truth: by what it agrees with, and by what it leaves out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
from scipy import ndimage

from ps3d_rt.core.arrays import Array
from ps3d_rt.core.metrics import evaluate
from ps3d_rt.engines import Engine
from ps3d_rt.model import ModelBundle
from ps3d_training.adapt.parts import SegmentedPart
from ps3d_training.adapt.score import segment_part

SHIFT = 5
"""Voxels that the part is cut shorter by."""
SCALED = 1.12
"""Factor of another particle size."""
NOISIER = 0.5
"""Noise that is added, over the scan's own."""
CLEARLY, DEVIATIONS = 0.5, 4.0
"""Bright is what stands out by half of the darker particles' contrast, and by so many deviations of smoothed noise."""
GAIN = 0.005
"""By which the sum must grow."""
LOSS = 0.02
"""That either of its parts may lose."""
OWN_LOSS = 0.01
"""Of F1_instance, that may be lost on samples like those of the first training."""


@dataclass(frozen=True)
class Judgement:
    """What is known of a segmentation of a scan without labels; 1 is best, but for what is dropped."""

    agreement: float
    """F1_instance between the labels and those of the part mirrored, shifted, noisier and at another size, mean."""
    foreground: float
    """F1 over voxels between the labels and what is plainly bright."""
    dropped: float
    """Share of the foreground that was found and dropped."""
    particles: int

    @property
    def total(self) -> float:
        """What two models are compared by."""
        return self.agreement + self.foreground - self.dropped

    def facts(self) -> dict[str, float]:
        """Give all as JSON."""
        return {name: round(value, 4) for name, value in asdict(self).items()} | {"total": round(self.total, 4)}


def judge(bundle: ModelBundle, engine: Engine, part: SegmentedPart) -> Judgement:
    """Judge a model on a part of a scan; how another model segmented it does not matter."""
    spacing, size = part.spacing_mm, part.particle_size_mm
    plain = segment_part(bundle, engine, part.image, spacing, size)
    scores = []
    for image, factor, compared in _variants(part, plain.labels):
        found = segment_part(bundle, engine, image, spacing, size * factor).labels
        scores.append(evaluate(found, compared).f1_instance)
    return Judgement(
        agreement=float(np.mean(scores)),
        foreground=_f1(plain.labels != 0, bright_voxels(part)),
        dropped=float(plain.dropped.volume_share),
        particles=len(plain.particles),
    )


def _variants(part: SegmentedPart, labels: Array) -> Iterator[tuple[Array, float, Array]]:
    """Give the part changed in a way that must not matter, a factor of the particle size, and the labels to find."""
    image = part.image
    flipped = np.flip(image, (0, 1, 2)), np.flip(labels, (0, 1, 2))
    yield np.ascontiguousarray(flipped[0]), 1.0, np.ascontiguousarray(flipped[1])
    cut = tuple(slice(SHIFT if n > 4 * SHIFT else 0, None) for n in image.shape)
    yield np.ascontiguousarray(image[cut]), 1.0, np.ascontiguousarray(labels[cut])
    noise = np.random.default_rng(21).normal(0, NOISIER * part.found.run["gray"]["noise"], image.shape)
    yield _rounded(image + noise, image), 1.0, labels
    yield image, SCALED, labels


def _rounded(values: Array, like: Array) -> Array:
    if like.dtype.kind == "f":
        return values.astype(like.dtype)
    ends = np.iinfo(like.dtype)
    return np.clip(np.rint(values), ends.min, ends.max).astype(like.dtype)


def bright_voxels(part: SegmentedPart) -> Array:
    """Find what is plainly particle by a threshold: (z, y, x) truth values."""
    gray = part.found.run["gray"]
    sign = -1.0 if gray["dark"] else 1.0
    smooth = ndimage.gaussian_filter(part.image.astype(np.float32), 1.0) - np.float32(gray["embedding"])
    # A Gaussian of one voxel leaves 0.15 of white noise; of grainy noise more.
    limit = max(CLEARLY * gray["contrast"], DEVIATIONS * 0.3 * gray["noise"])
    bright: Array = sign * smooth > limit
    return bright


def _f1(one: Array, other: Array) -> float:
    both = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / both if both else 1.0


def reasons_against(before: Judgement, after: Judgement, own: tuple[float, float]) -> list[str]:
    """Say why a new model is not to be adopted; empty if it is.

    Args:
        before: of the model that the training began with, as the next on the part that was left out.
        after: of the new one.
        own: F1_instance of both on samples like those of the first training.
    """
    against = []
    if after.total < before.total + GAIN:
        against.append(f"it is no better on the part that was left out ({before.total:.3f} before, {after.total:.3f})")
    for name in ("agreement", "foreground"):
        old, new = getattr(before, name), getattr(after, name)
        if new < old - LOSS:
            against.append(f"its {name} is worse ({old:.3f} before, {new:.3f})")
    if own[1] < own[0] - OWN_LOSS:
        against.append(f"it is worse on samples of the first training ({own[0]:.3f} before, {own[1]:.3f})")
    return against

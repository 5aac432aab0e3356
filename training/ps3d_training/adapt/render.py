"""Labelled samples in the likeness of a scan: their gray values are drawn over labels, so the labels are true.

1. noise, blur and slow changes are fitted: a sample is rendered and measured as the scan was, and what differs is
   corrected, a few times (:func:`fit`);
2. half of the samples have the shapes and places of the scan's own sure particles, half are packings of the physics
   source, as full and as touching as the scan;
3. every sample varies what was measured a little.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import sqrt

import numpy as np

from ps3d_rt.core.arrays import Array
from ps3d_rt.core.scan_statistics import measure_volume
from ps3d_rt.errors import InputError
from ps3d_training.adapt.look import Look
from ps3d_training.adapt.score import LabelledPart
from ps3d_training.synth.artifacts import GRAY_OF_AIR, GRAY_OF_RESIN
from ps3d_training.synth.from_labels import LabelSource
from ps3d_training.synth.physics.packing import pack
from ps3d_training.synth.sample import image_of
from ps3d_training.synth.spec import RESIN, SampleSpec
from ps3d_training.synth.truth import mean_diameter

BRIGHTEST = 7.0
"""Level above the embedding that the brightest particle is drawn at; one of 10 would leave 16 bits."""
ROUNDS = 3
MIDDLES = (0.32, 0.79, 0.97)
"""Ranks of the levels in the middles of what each of three minerals takes of the grains of a sample."""
SIDES, LEAST_SIDE = 4.5, 48
"""Of a sample: particle diameters, and voxels."""
VARIED = 0.15
"""Standard deviation of the logarithm by which noise and blur differ from sample to sample."""


def first_guess(look: Look) -> SampleSpec:
    """Give a spec with what can be read off the statistics."""
    found = look.statistics
    unit = _unit(look)
    noise = found.get("noise", 0.1)
    planes = found.get("noise_across_planes", 1.0)
    first = float(np.quantile(look.levels, MIDDLES[0]))
    side = _side(look)
    return SampleSpec(
        shape=(side, side, side),
        spacing_mm=look.spacing_mm,
        particle_size_voxels=look.size_voxels,
        size_spread=look.size_spread,
        fill=float(np.clip(look.fill, 0.05, 0.65)),
        touching=float(np.clip(look.touching, 0, 1)),
        phases=tuple(RESIN + unit * float(level) for level in np.quantile(look.levels, MIDDLES)),
        noise=noise / first,
        noise_gray=float(np.clip(found.get("texture", noise) / max(noise, 1e-6) - 1, -0.8, 2)),
        rings=float(np.clip(noise / first * (1 - planes), 0, 1)) if planes < 0.7 else 0.0,
        bubbles=float(np.clip(found.get("dark_share", 0), 0, 0.1)),
        cupping=0.02,
        streaks=0.02,
        spacers=0.0,
        mottle_voxels=8.0,
    )


def fit(look: Look, rounds: int = ROUNDS) -> SampleSpec:
    """Find the spec whose samples measure as the scan did."""
    spec, labels = first_guess(look), _middle(look)
    target = look.statistics
    for _ in range(rounds):
        spec = replace(spec, shape=labels.shape)
        found = measure_volume(in_contrasts(image_of(labels, spec), look), labels)
        spec = _corrected(spec, found, target)
    return spec


def in_contrasts(image: Array, look: Look) -> Array:
    """Bring the gray values of a rendered sample to those of the look that it was drawn after."""
    return (image.astype(np.float32) - GRAY_OF_RESIN) / np.float32((GRAY_OF_RESIN - GRAY_OF_AIR) * _unit(look))


def _corrected(spec: SampleSpec, found: Mapping[str, float], target: Mapping[str, float]) -> SampleSpec:
    def ratio(name: str) -> float:
        both = name in found and name in target and found[name] > 0
        return float(np.clip(target[name] / found[name], 0.25, 4)) if both else 1.0

    sharper = found.get("edge_over_3", 1.0) - target.get("edge_over_3", found.get("edge_over_3", 1.0))
    slow = target.get("noise_over_8", 1.0) - found.get("noise_over_8", 1.0)
    return replace(
        spec,
        noise=float(np.clip(spec.noise * ratio("noise"), 0, 3)),
        noise_correlation_voxels=float(np.clip(spec.noise_correlation_voxels * sqrt(ratio("noise_over_3")), 0.2, 3)),
        blur_voxels=float(np.clip(spec.blur_voxels + 2 * sharper, 0.2, 4)),
        mottle=sqrt(max(0.0, spec.mottle**2 + 0.5 * slow * spec.noise**2)),
    )


def _middle(look: Look) -> Array:
    """Cut out a sample's side of the labels."""
    side = _side(look)
    at = tuple(slice(max(0, n - side) // 2, max(0, n - side) // 2 + min(n, side)) for n in look.labels.shape)
    return np.ascontiguousarray(look.labels[at])


def _unit(look: Look) -> float:
    """Give the level above the embedding that a contrast of the scan is drawn as."""
    return min(1.0, BRIGHTEST / float(look.levels[-1]))


def _side(look: Look) -> int:
    return max(LEAST_SIDE, round(SIDES * look.size_voxels))


def render_samples(look: Look, count: int, name: str, seed: int = 0) -> Iterator[LabelledPart]:
    """Draw labelled samples after a look.

    Args:
        look: of a part of a scan.
        count: of samples; those with even numbers have the scan's own shapes.
        name: of the samples, before their numbers.
        seed: of all that is drawn.
    """
    fitted = fit(look)
    source = LabelSource(name, look.labels, look.spacing_mm, look.size_voxels)
    for number in range(count):
        spec = varied(fitted, look, seed + number)
        labels = _own_shapes(source, spec) if number % 2 == 0 else None
        if labels is None:
            labels = pack(spec, np.ones(spec.shape[1:], bool), np.random.default_rng([spec.seed, 21])).labels
        image = image_of(labels, replace(spec, shape=labels.shape))
        size = look.size_voxels if number % 2 == 0 else mean_diameter(labels) or look.size_voxels
        yield LabelledPart(f"{name}_{number:03d}", image, labels, None, (look.spacing_mm,) * 3, size * look.spacing_mm)


def varied(fitted: SampleSpec, look: Look, seed: int) -> SampleSpec:
    """Vary a fitted spec: noise, blur, which of the scan's levels its minerals have, how full it is."""
    draw = np.random.default_rng([seed, 2100])
    unit = _unit(look)
    levels = draw.choice(look.levels, 3, replace=False) * np.exp(draw.normal(0, 0.05))
    side = _side(look)
    # Noise is counted in contrasts of the first mineral, which is drawn: its gray values must stay what was fitted.
    noise = fitted.noise * fitted.contrast / (unit * levels[0])
    vary = np.exp(draw.normal(0, VARIED, 2))
    return replace(
        fitted,
        seed=seed,
        shape=(side, side, side),
        phases=tuple(RESIN + unit * float(level) for level in levels),
        noise=float(noise * vary[0]),
        mottle=float(fitted.mottle * fitted.contrast / (unit * levels[0])),
        blur_voxels=float(fitted.blur_voxels * vary[1]),
        fill=float(np.clip(fitted.fill * np.exp(draw.normal(0, 0.2)), 0.05, 0.65)),
        touching=float(np.clip(fitted.touching + draw.normal(0, 0.15), 0, 1)),
        seam=float(draw.uniform(0, 0.6)),
    )


def _own_shapes(source: LabelSource, spec: SampleSpec) -> Array | None:
    """Cut a crop of the scan's own labels; None where they hold none with enough particles."""
    z, y, x = (min(n, *source.labels.shape) for n in spec.shape)
    try:
        labels, _, _ = source.cut(replace(spec, shape=(z, y, x)))
    except InputError:
        return None
    return labels

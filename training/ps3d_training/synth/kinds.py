"""Kinds of samples that the bundled model gets wrong, and plain ones beside them: to train on, and to look closer.

All else is drawn by :func:`~ps3d_training.synth.variety.random_spec`, and nothing beyond its limits. Samples are just
large enough to hold some tens of particles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ps3d_rt.core.grid import Zyx
from ps3d_rt.errors import InputError
from ps3d_training.synth.from_labels import LabelSource
from ps3d_training.synth.spec import RESIN, SampleSpec
from ps3d_training.synth.variety import random_spec

LOOSE = {"touching": 0.08, "fill": 0.25}
"""About as the paper's samples are: 7 % of the particles touch."""


def loose(seed: int) -> SampleSpec:
    """Any scan of well spread particles."""
    return random_spec(seed, shape=_cube(random_spec(seed).particle_size_voxels), **LOOSE)


def small(seed: int) -> SampleSpec:
    """Particles 8 to 15 voxels across, every third sample densely packed."""
    rng = _rng(seed)
    size = rng.uniform(8, 15)
    side = 64 if size < 11 else 80
    packing = LOOSE if seed % 3 else {"touching": rng.uniform(0.8, 1), "fill": 0.5}
    return random_spec(seed, particle_size_voxels=size, shape=(side, side, side), **packing)


def touching(seed: int) -> SampleSpec:
    """Dense packings in which most particles touch."""
    rng = _rng(seed)
    size, share = rng.uniform(14, 38), rng.uniform(0.8, 1)
    return random_spec(
        seed, particle_size_voxels=size, shape=_cube(size, least=80, sizes=4.2), touching=share, fill=0.5
    )


def spacers(seed: int) -> SampleSpec:
    """Spacers up to 0.4 of the particles' contrast, in resin or, every other sample, in foam."""
    rng = _rng(seed)
    size, share, bright = rng.uniform(12, 34), rng.uniform(0.05, 0.25), rng.uniform(0, 0.4)
    gray = RESIN + bright * (random_spec(seed).phases[0] - RESIN)
    matrix = rng.uniform(0.5, 1) if seed % 2 else RESIN
    return random_spec(
        seed,
        particle_size_voxels=size,
        shape=_cube(size),
        spacers=share,
        spacer_gray=gray,
        matrix_gray=matrix,
        **LOOSE,
    )


def minerals(seed: int) -> SampleSpec:
    """Three minerals as far apart as any that are drawn: the brightest has 2.5 times the contrast of the first."""
    rng = _rng(seed)
    size, contrast, second = rng.uniform(12, 34), np.exp(rng.uniform(np.log(0.35), np.log(3))), rng.uniform(1.5, 2.5)
    phases = tuple(float(RESIN + contrast * times) for times in (1, second, 2.5))
    return random_spec(seed, particle_size_voxels=size, shape=_cube(size), phases=phases, **LOOSE)


KINDS: dict[str, Callable[[int], SampleSpec]] = {
    make.__name__: make for make in (loose, small, touching, spacers, minerals)
}
"""By name, what describes the sample of a seed; with labels there is one more, ``grains``."""


def grains(source: LabelSource, seed: int) -> SampleSpec:
    """Real grains, 14 to 32 voxels across.

    Raises:
        InputError: if the source is too small for the sample.
    """
    size = float(np.exp(_rng(seed).uniform(np.log(14), np.log(32))))
    return source.spec(seed, vary=True, particle_size_voxels=size, shape=_cube(size, least=80, sizes=4.4))


def of_kind(kind: str, seed: int, source: LabelSource | None = None) -> SampleSpec:
    """Describe the sample of a kind and seed.

    Args:
        kind: a key of :data:`KINDS`, or ``grains``.
        seed: decides all that is drawn.
        source: of real grains, for ``grains`` and only for that.

    Raises:
        InputError: if there is no such kind, or ``source`` does not go with it.
    """
    if source is not None and kind == "grains":
        return grains(source, seed)
    if source is not None or kind not in KINDS:
        raise InputError(f"--kind is {kind}; it is one of {', '.join(KINDS)}, or with --labels grains.")
    return KINDS[kind](seed)


def _rng(seed: int) -> Any:
    return np.random.default_rng([seed, 7])


def _cube(size_voxels: float, *, least: int = 96, sizes: float = 4.5) -> Zyx:
    side = max(least, round(sizes * size_voxels))
    return side, side, side

"""The samples of ``ps3d-rt bench accuracy``: simulated, in the numbers of the paper's test data, fixed by their seeds.

    in-distribution      8   drawn by ``random_spec`` as training draws them; particles 12 to 40 voxels across
    out-of-distribution  5   the same, and one property each far outside what training draws from
    artifact             1   rings, streaks and cupping three times as strong as the strongest of training
    touching             3   as the first, with 90 % of the particles touching instead of 8 %

What ``random_spec`` draws is in-distribution by definition: contrast and number of minerals, shapes, size spread,
inclusions, cracks, seams, spacers, bubbles, container, blur, noise, artifacts. Fixed here are the particle size, the
shape, how full the sample is, and how many particles touch: 7 % do in the paper's data.

``table1`` is a set of its own, simulated by the physics of a scan: ``table1_samples.py``. Real contrasts are wider than
those here, and spacers as bright as these do not occur: sugar is barely brighter than resin.

``dev`` is for choosing between models: 17 samples as the first ones, of other seeds, and 16 by physics. What was chosen
on it is not proved by it.

Seeds 950001 to 950017, taken in order, none left out or exchanged after a look at a result. Training and everything
that is tuned use other seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ps3d_bench import table1_samples
from ps3d_rt.errors import InputError
from ps3d_training.synth import SampleSpec, random_spec
from ps3d_training.synth.physics import PhysicsSpec, random_physics_spec

LOOSE: dict[str, Any] = {"touching": 0.08, "fill": 0.25}
DENSE: dict[str, Any] = {"touching": 0.9, "fill": 0.5}
OUTSIDE: dict[str, dict[str, Any]] = {
    "minerals": {"phases": (1.8, 3.2, 6.0), "spacer_gray": 1.1, "matrix_gray": 1.0},
    "blur": {"blur_voxels": 2.2},
    "noise": {"noise": 0.5, "noise_correlation_voxels": 1.6},
    "sizes": {"size_spread": 0.9},
    "shapes": {"elongation": 0.8, "flakes": 0.0, "needles": 0.7},
}
"""What makes each out-of-distribution sample one. Training's limits: the brightest mineral has up to 2.5 times the
contrast of the first, here 6.25; blur up to 1.3 voxels; noise up to 0.3 of the contrast, correlated over up to 1 voxel;
size spread up to 0.6; elongation up to 0.5 and needles up to 40 % of the grains."""
ARTIFACTS: dict[str, Any] = {"rings": 0.3, "streaks": 0.36, "cupping": 0.75}
"""Training draws up to 0.1, 0.12 and 0.25."""


TITLES = {
    "in": "in-distribution",
    "out": "out-of-distribution",
    "artifact": "strong artifacts",
    "touching": "90 % touching",
    "table1-in": "Table 1, in-distribution",
    "table1-out": "Table 1, out-of-distribution",
    "table1-artifact": "Table 1, strong artifacts",
    "dev-in": "development, in-distribution",
    "dev-out": "development, out-of-distribution",
    "dev-artifact": "development, strong artifacts",
    "dev-touching": "development, 90 % touching",
    "dev-physics": "development, by physics",
}
"""Group, as ``--samples`` takes it → for people. A group is a table of the result."""


@dataclass(frozen=True)
class Drawn:
    """One sample of the benchmark, before it is made."""

    group: str
    spec: SampleSpec | PhysicsSpec
    outside: str = ""
    """What is out of distribution; empty if nothing is."""
    material: str = ""
    """Of a sample of Table 1."""


def side_for(particle_size_voxels: float) -> int:
    """Side of a sample: some fifty particles and more, and small enough to run all samples in minutes."""
    return 128 if particle_size_voxels <= 20 else 160 if particle_size_voxels <= 30 else 192


def _spec(seed: int, size: float, **fixed: Any) -> SampleSpec:
    return random_spec(seed, particle_size_voxels=size, shape=(side_for(size),) * 3, **fixed)


def _drawn(first: int, prefix: str = "") -> tuple[Drawn, ...]:
    """Draw the four groups with seeds from ``first`` on."""
    return (
        *(
            Drawn(f"{prefix}in", _spec(first + i, size, **LOOSE))
            for i, size in enumerate((12, 14, 17, 20, 24, 28, 34, 40))
        ),
        *(
            Drawn(f"{prefix}out", _spec(first + 8 + i, 24, **LOOSE, **OUTSIDE[what]), what)
            for i, what in enumerate(OUTSIDE)
        ),
        Drawn(f"{prefix}artifact", _spec(first + 13, 24, **LOOSE, **ARTIFACTS), "artifacts"),
        *(Drawn(f"{prefix}touching", _spec(first + 14 + i, size, **DENSE)) for i, size in enumerate((17, 25, 40))),
    )


SAMPLES = _drawn(950001)

TABLE1: tuple[Drawn, ...] = tuple(Drawn(row.group, spec, material=row.material) for row, spec in table1_samples.SPECS)

DEVELOPMENT = (
    *_drawn(970001, "dev-"),
    *(Drawn("dev-physics", random_physics_spec(30000 + i)) for i in range(16)),
)

TUNING: tuple[SampleSpec, ...] = tuple(
    random_spec(1000 + i, particle_size_voxels=size, shape=(112, 112, 112), **LOOSE)
    for i, size in enumerate((12, 15, 18, 21, 24, 28))
)
"""What the peers are tuned on where no folder of training samples is given: seeds of training, drawn as in-distribution
samples are."""


def choose(words: str) -> tuple[Drawn, ...]:
    """Take groups, or parts of them.

    Args:
        words: names of groups and seeds, with commas between; ``all`` is all but ``table1`` and ``dev``.

    Raises:
        InputError: if a word is neither.

    >>> [sample.spec.seed for sample in choose("950002,artifact")]
    [950002, 950014]
    """
    wanted = set(words.split(","))
    sets = {"all": SAMPLES, "table1": TABLE1, "dev": DEVELOPMENT}
    known = sets.keys() | TITLES.keys() | {str(sample.spec.seed) for samples in sets.values() for sample in samples}
    if unknown := sorted(wanted - known):
        raise InputError(
            f"--samples names {', '.join(unknown)}; allowed are {', '.join(sets)}, {', '.join(TITLES)}, and the seeds "
            "of their samples, with commas between."
        )
    return tuple(
        sample
        for name, members in sets.items()
        for sample in members
        if wanted & {name, sample.group, str(sample.spec.seed)}
    )

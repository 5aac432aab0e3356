"""Synthetic samples that benchmarks share: made once, kept in a cache, read one at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import ps3d_training.synth
from ps3d_rt.core.arrays import Array
from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.samples import find_samples, read_whole
from ps3d_training.plan import DATASET_NAME
from ps3d_training.synth import NEUTRAL, SampleSpec, random_spec
from ps3d_training.synth.folder import read_metadata, sample_name, write_samples
from ps3d_training.synth.physics import PhysicsSpec

HELD_OUT = "simulated: samples that the network was not trained on"
"""What :func:`held_out` reads, for a result file."""


@dataclass(frozen=True)
class Case:
    """One sample of the benchmark."""

    name: str
    folder: Path
    """Where the cache keeps it."""
    spacing_mm: float
    particle_size_mm: float
    """Mean diameter of the particles, which the predictor gets."""
    simulated: dict[str, Any]
    """The spec: what was asked for."""
    came_out: dict[str, Any]
    """Particles, mean diameter, touching share, fill."""
    image: Array
    """(z, y, x) uint16."""
    reference: Array
    """(z, y, x) uint32, particles 1..N."""

    @property
    def particle_size_voxels(self) -> float:
        return self.particle_size_mm / self.spacing_mm


def _spec(seed: int, touching: float, size: float, side: int) -> SampleSpec:
    fill = 0.5 if touching > 0.5 else 0.25
    shape = (side, side, side)
    return random_spec(seed, touching=touching, particle_size_voxels=size, shape=shape, fill=fill, **NEUTRAL)


# A dense packing fills its gaps with smaller grains: 20 asked gives a mean above 15, as 15 does in a loose one.
FIRST_SPECS: tuple[SampleSpec, ...] = (
    _spec(900001, 0.1, 15, 128),
    _spec(900002, 0.1, 25, 160),
    _spec(900003, 0.1, 40, 192),
    _spec(900004, 0.9, 20, 128),
    _spec(900005, 0.9, 25, 160),
    _spec(900006, 0.9, 40, 192),
)
"""Of the first accuracy benchmark. They have been looked at since, so they tell speed and agreement, no accuracy: that
is for ``accuracy_samples.py``."""


def name_of(spec: SampleSpec | PhysicsSpec) -> str:
    return sample_name(spec)


def generator_hash(*, physics: bool = False) -> str:
    """sha256 over the sources of the generator: other sources may make other samples of the same specs.

    Args:
        physics: of the source ``physics``, which has tables and code of its own besides.
    """
    folder = Path(ps3d_training.synth.__path__[0])
    sources = sorted(folder.glob("*.py"))
    if physics:
        sources += sorted(path for path in (folder / "physics").iterdir() if path.suffix in (".py", ".json"))
    return sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()


def load_cases(cache: Path, specs: Sequence[SampleSpec | PhysicsSpec]) -> Iterator[Case]:
    """Read the samples, one at a time; those that ``cache`` does not hold are made first.

    Every version of generator and spec has a folder of its own, in the layout that ``ps3d-rt predict`` reads.
    """
    for spec in specs:
        generator = generator_hash(physics=isinstance(spec, PhysicsSpec))
        name = name_of(spec)
        stamp = sha256(f"{generator} {json.dumps(asdict(spec))}".encode()).hexdigest()
        folder = cache / f"{name}-{stamp[:12]}"
        list(write_samples(folder, [spec]))
        facts = read_metadata(folder)[name]
        yield Case(
            name=name,
            folder=folder,
            spacing_mm=facts["spacing"],
            particle_size_mm=facts["particle_size"],
            simulated=facts["simulated"],
            came_out=facts["came_out"],
            image=read_whole(folder / "images" / f"{name}.zarr"),
            reference=read_whole(folder / "instance_seg" / f"{name}.zarr"),
        )


def choose(seeds: Sequence[int]) -> tuple[SampleSpec, ...]:
    """The first specs of these seeds, each once.

    Raises:
        InputError: if a seed is not one of the benchmark's.
    """
    known = {spec.seed: spec for spec in FIRST_SPECS}
    unknown = sorted(set(seeds) - known.keys())
    if unknown:
        raise InputError(f"no sample of this benchmark has the seed {unknown}; allowed are {sorted(known)}.")
    return tuple(known[seed] for seed in dict.fromkeys(seeds))


def held_out(samples: Path, prepared: Path | None, largest: int) -> Iterator[tuple[str, Any, Any, Any]]:
    """Name, image, reference and facts of samples of at most ``largest``³ voxels that the network was not trained on.

    These are fold 0's validation samples of ``prepared``; without it, all of ``samples``: then none was in a training.

    Raises:
        InputError: if there is none.
    """
    names, read = None, 0
    if prepared is not None:
        splits = json.loads((prepared / DATASET_NAME / "splits_final.json").read_text(encoding="utf-8"))
        names = splits[0]["val"]
    for sample in find_samples(samples):
        with open_volume(sample.image) as image:
            small = Box.of_shape(image.shape).size <= largest**3
        if small and (names is None or sample.name in names):
            read += 1
            yield sample.name, *sample.read(), sample
    if not read:
        which = samples if prepared is None else f"the validation samples of {prepared}"
        raise InputError(f"{which}: none has at most {largest}³ voxels; pass a larger --largest.")

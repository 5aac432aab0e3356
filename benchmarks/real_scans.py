"""The scans that ``real.py`` looks at: real ones, and real shapes with gray values simulated by the physics of CT.

| folder | what | from |
|---|---|---|
| ``sand`` | packed sand | heprom/pymicro-data, 34adaeb9, MIT |
| ``lrc32`` | angular sand, gray values probably simulated | mlexchange/mlex_dash_segmentation_demo, adf6314 |
| ``cement`` | dark pores | qim3d 1.5.3, MIT |
| ``grains`` | a packing of grains, binary | ImagingLectures/Quantitative-Big-Imaging-2021, 315ef94c, Apache-2.0 |
| ``nmc`` | a battery cathode, phases | NREL/MATBOX, 904b8de; its licence is beside it |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from nmc_labels import parted
from ps3d_rt.core.arrays import Array
from ps3d_training.synth.from_labels import LabelSource, open_labels
from ps3d_training.synth.physics.from_labels import labelled_sample, labelled_spec
from ps3d_training.synth.truth import mean_diameter
from real_grains import LEAST_VOXELS, halves, unpacked

SIDE, NMC_SIDE = 128, 160
"""Of a simulated sample, and of what it is cut from."""
FIRST_SEED = 880_001


@dataclass(frozen=True)
class Read:
    """A scan in memory."""

    image: Array
    particle_size_voxels: float
    reference: Array | None = None
    """True labels, if they are known."""


@dataclass(frozen=True)
class Scan:
    """One scan of the data folder."""

    what: str
    read: Callable[[Path], Read]
    dark: bool = False
    may_be_shown: bool = True
    """False: no picture of it, its licence is not clear."""


def _sand(data: Path) -> Read:
    voxels = np.fromfile(data / "sand/sand_200x200x100_uint8.raw", np.uint8)
    return Read(voxels.reshape(100, 200, 200), 15)


def _lrc32(data: Path, planes: int) -> Read:
    return Read(_array(data / "lrc32/lrc32_256x256x256_uint8.npz", "image")[:planes], 20.5)


def _cement(data: Path) -> Read:
    return Read(_array(data / "cement/cement_128x128x128_uint8.npz", "image"), 9)


def _grains(data: Path, seed: int) -> Read:
    """Cut from the half of the packing that no training may use."""
    with unpacked(data / "grains/grains.npy.zip") as file:
        whole = open_labels(file, least_voxels=LEAST_VOXELS)
    return _scanned(replace(whole, labels=halves(whole.labels)[1]), seed, None)


def _nmc(data: Path, seed: int) -> Read:
    phases = _array(data / "nmc/nmc_phases_251x301x301_uint8.npz", "phases")
    labels = parted(phases[:NMC_SIDE, :NMC_SIDE, :NMC_SIDE] == 1)
    source = LabelSource("nmc", labels, 0.01, mean_diameter(labels))
    return _scanned(source, seed, "Li-Co-Mn-Ni battery")


def _scanned(source: LabelSource, seed: int, material: str | None) -> Read:
    size = source.mean_diameter_voxels
    spec = labelled_spec(source, seed, shape=(SIDE,) * 3, particle_size_voxels=size, material=material)
    sample = labelled_sample(source, spec)
    return Read(sample.image, sample.particle_size_mm / sample.spec.spacing_mm, sample.labels)


def _array(file: Path, name: str) -> Array:
    with np.load(file) as content:
        array: Array = content[name]
    return array


_SIMULATED = "real shapes, gray values simulated by physics, seed"
_LRC32 = "real shapes, gray values probably simulated"

SCANS = {
    "sand": Scan("a real scan", _sand),
    "lrc32-200": Scan(_LRC32 + ", planes 0 to 199", partial(_lrc32, planes=200), may_be_shown=False),
    "lrc32": Scan(_LRC32, partial(_lrc32, planes=256), may_be_shown=False),
    "cement": Scan("a real scan, pores", _cement, dark=True),
    **{
        f"{name}-{letter}": Scan(f"{_SIMULATED} {seed}", partial(read, seed=seed))
        for name, read, first in (("grains", _grains, FIRST_SEED), ("nmc", _nmc, FIRST_SEED + 2))
        for letter, seed in zip("ab", (first, first + 1), strict=True)
    },
}

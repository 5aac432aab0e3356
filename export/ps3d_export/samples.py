"""Labelled samples to calibrate and judge with: a folder in the published layout, or a few simulated ones.

The simulated ones are made by the command ``synth``, which another package registers: this one knows its options only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.metadata import entry_points
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.errors import CapabilityError
from ps3d_rt.io.base import SpacingMm
from ps3d_rt.io.samples import find_samples

SynthOptions = dict[str, Any]
"""Options of ``synth``."""

CALIBRATION: tuple[SynthOptions, ...] = (
    {"seed": 970_001, "count": 2, "shape": "96", "particle_size": 16.0, "touching": 0.9, "fill": 0.5, "vary": True},
    {"seed": 970_011, "count": 2, "shape": "96", "particle_size": 20.0, "touching": 0.2, "fill": 0.2, "vary": True},
    {"seed": 970_021, "count": 2, "shape": "96", "particle_size": 18.0, "noise": 0.3, "vary": True},
)
"""Touching grains, loose ones with much background, noisy scans. No seed of training, benchmarks or gate."""

GATE: tuple[SynthOptions, ...] = (
    {"seed": 960_001, "count": 4, "shape": "80", "particle_size": 20.0, "touching": 0.9, "fill": 0.5, "vary": True},
    {"seed": 960_011, "count": 4, "shape": "80", "particle_size": 16.0, "touching": 0.1, "fill": 0.3, "vary": True},
    {"seed": 960_021, "count": 4, "shape": "80", "particle_size": 18.0, "noise": 0.3, "vary": True},
)
"""The same kinds, some hundred particles in all: enough that one particle lost does not decide."""


@dataclass(frozen=True)
class CalibrationScan:
    """A labelled scan in memory."""

    name: str
    image: NDArray[Any]
    """(z, y, x) gray values."""
    instances: NDArray[Any]
    """(z, y, x) particle ids, 0 elsewhere."""
    spacing_mm: SpacingMm
    particle_size_mm: float


def simulate(folder: Path, recipes: Sequence[SynthOptions]) -> Path:
    """Make the samples of ``recipes`` that ``folder`` does not hold yet.

    Returns:
        ``folder``.

    Raises:
        CapabilityError: if no installed package registers ``synth``.
    """
    found = entry_points(group="ps3d_rt.commands", name="synth")
    if not found:
        raise CapabilityError("the command synth is not installed; give labelled samples of your own: --samples FOLDER")
    (entry,) = found
    synth = entry.load()
    for recipe in recipes:
        with redirect_stdout(StringIO()):  # the folder, which is known
            synth(folder, **recipe)
    return folder


def read_samples(folder: Path) -> Iterator[CalibrationScan]:
    """Read the samples of ``folder``, one at a time.

    Raises:
        InputError: naming the file or the entry that is missing or wrong.
    """
    for sample in find_samples(folder):
        image, instances = sample.read()
        yield CalibrationScan(
            sample.name, image, instances.astype(np.int64), sample.spacing_mm, sample.particle_size_mm
        )

"""Labelled samples to calibrate and judge with: a folder in the published layout, or a few simulated ones.

The simulated ones are made by the command ``synth``, which another package registers: this one knows its options only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.metadata import entry_points
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.grid import Box
from ps3d_rt.errors import CapabilityError, InputError
from ps3d_rt.io.volume import SpacingMm, check_spacing, open_volume, stem_of

Recipe = dict[str, Any]
"""Options of ``synth``."""

CALIBRATION: tuple[Recipe, ...] = (
    {"seed": 970_001, "count": 2, "shape": "96", "particle_size": 16.0, "touching": 0.9, "fill": 0.5, "vary": True},
    {"seed": 970_011, "count": 2, "shape": "96", "particle_size": 20.0, "touching": 0.2, "fill": 0.2, "vary": True},
    {"seed": 970_021, "count": 2, "shape": "96", "particle_size": 18.0, "noise": 0.3, "vary": True},
)
"""Touching grains, loose ones with much background, noisy scans. No seed of training, benchmarks or gate."""

GATE: tuple[Recipe, ...] = (
    {"seed": 960_001, "count": 4, "shape": "80", "particle_size": 20.0, "touching": 0.9, "fill": 0.5, "vary": True},
    {"seed": 960_011, "count": 4, "shape": "80", "particle_size": 16.0, "touching": 0.1, "fill": 0.3, "vary": True},
    {"seed": 960_021, "count": 4, "shape": "80", "particle_size": 18.0, "noise": 0.3, "vary": True},
)
"""The same kinds, some hundred particles in all: enough that one particle lost does not decide."""


@dataclass(frozen=True)
class Sample:
    """A labelled scan in memory."""

    name: str
    image: NDArray[Any]
    """(z, y, x) gray values."""
    instances: NDArray[Any]
    """(z, y, x) particle ids, 0 elsewhere."""
    spacing_mm: SpacingMm
    particle_size_mm: float


def simulate(folder: Path, recipes: Sequence[Recipe]) -> Path:
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


def read_samples(folder: Path) -> Iterator[Sample]:
    """Read the samples that ``folder/metadata.json`` names, in its order, one at a time.

    Raises:
        InputError: naming the file or the entry that is missing or wrong.
    """
    listing = folder / "metadata.json"
    try:
        metadata = json.loads(listing.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{listing} cannot be read ({error}). Samples are a folder with images, instance_seg and metadata.json, "
            "such as ps3d-rt synth writes."
        ) from error
    if not isinstance(metadata, dict) or not metadata:
        raise InputError(f"{listing} names no sample.")
    for name, entry in metadata.items():
        try:
            spacing = check_spacing(entry["spacing"], f"{listing}: {name}")
            size = float(entry["particle_size"])
        except (KeyError, TypeError) as error:
            raise InputError(f"{listing}: {name} needs numbers spacing and particle_size, in mm.") from error
        image, instances = (_read(folder / kind, name) for kind in ("images", "instance_seg"))
        if image.shape != instances.shape:
            raise InputError(f"sample {name}: the image is {image.shape} voxels, its labels {instances.shape}.")
        yield Sample(name, image, instances.astype(np.int64), spacing, size)


def _read(folder: Path, name: str) -> NDArray[Any]:
    """Read the one volume of ``folder`` that is called ``name``, whatever its format."""
    found = [path for path in sorted(folder.glob("*")) if stem_of(path) == name]
    if len(found) != 1:
        raise InputError(f"{folder} holds {len(found)} volumes called {name}; it must hold one, such as {name}.tif.")
    with open_volume(found[0]) as volume:
        return volume.read(Box.of_shape(volume.shape))

"""Twenty slices of scans simulated by physics, below slices of real scans: docs/physics_samples.png.

    python benchmarks/physics_samples.py docs/physics_samples.png --real sand.npy cement.npy --labels grains.npy nmc.npy

Real scans and labels are files that ps3d-rt reads; they are not part of this repository. Seeds from 700,001 on in a
row: nothing is picked by its looks. With labels, the last slices show real shapes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ps3d_rt.io.samples import read_whole
from ps3d_training.synth.from_labels import open_labels
from ps3d_training.synth.physics import make_physics_sample, random_physics_spec
from ps3d_training.synth.physics.from_labels import labelled_sample, labelled_spec
from ps3d_training.synth.sample import SimulatedSample

FIRST_SEED = 700_001
COLUMNS, SIMULATED = 5, 20


def samples(labels: Sequence[Path]) -> list[tuple[str, SimulatedSample]]:
    """Title and sample of every simulated slice."""
    sources = [open_labels(path, least_voxels=200) for path in labels]
    found = []
    for number in range(SIMULATED):
        seed, left = FIRST_SEED + number, SIMULATED - number
        if left <= len(sources):
            source = sources[-left]
            spec, shapes = labelled_spec(source, seed, shape=(112,) * 3), f", shapes of {source.name}"
            made = labelled_sample(source, spec)
        else:
            spec, shapes = random_physics_spec(seed), ""
            made = make_physics_sample(spec)
        found.append((f"{spec.material} in {spec.embedding}{shapes}", made))
    return found


def main(arguments: Sequence[str]) -> None:
    """Draw the picture."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra; a figure without pyplot opens no window

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="picture to write")
    parser.add_argument("--real", type=Path, nargs="*", default=[], help="real scans: the first row")
    parser.add_argument("--labels", type=Path, nargs="*", default=[], help="labels whose shapes the last slices have")
    options = parser.parse_args(arguments)
    rows = SIMULATED // COLUMNS + bool(options.real)
    figure = Figure(figsize=(2.4 * COLUMNS, 2.6 * rows), layout="constrained")
    axes = list(figure.subplots(rows, COLUMNS).ravel())
    for axis in axes:
        axis.axis("off")
    for axis, path in zip(axes, options.real, strict=False):
        _show(axis, read_whole(path), f"REAL: {path.stem}")
    for axis, (title, sample) in zip(axes[-SIMULATED:], samples(options.labels), strict=True):
        _show(axis, sample.image, title)
    figure.savefig(options.out, dpi=75)


def _show(axis: Any, volume: np.ndarray[Any, Any], title: str) -> None:
    """Show the middle slice; the brightest two percent saturate, as on a viewer's screen."""
    image = volume[len(volume) // 2].astype(float)
    low, high = np.percentile(image, [0.5, 98])
    axis.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1), interpolation="nearest")
    axis.set_title(title, fontsize=6.5)


if __name__ == "__main__":
    main(sys.argv[1:])

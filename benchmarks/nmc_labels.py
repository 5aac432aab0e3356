"""Particles of a battery cathode as labels, to scan by physics: real shapes, parted where they touch.

    python benchmarks/nmc_labels.py nmc_phases_251x301x301_uint8.npz nmc.npy
    ps3d-rt synth samples --source physics --labels nmc.npy --material "Li-Co-Mn-Ni battery" --count 20

The file: NREL/MATBOX @904b8de, its licence beside it; not part of this repository. Phases, 1 is NMC, segmented from a
real scan; no instances. Touching particles are parted by a watershed of the distance to the surface, so a label is a
particle as far as its shape tells.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from skimage.morphology import h_maxima
from skimage.segmentation import watershed

LEAST_DEPTH = 1.0
"""Voxels that the distance has to fall between two seeds."""


def parted(body: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Label the particles of a (z, y, x) bool volume: uint32."""
    distance = ndimage.gaussian_filter(ndimage.distance_transform_edt(body).astype(np.float32), 1.0)
    seeds, _ = ndimage.label(h_maxima(distance, LEAST_DEPTH), np.ones((3, 3, 3)))
    return np.asarray(watershed(-distance, seeds, mask=body), np.uint32)


def main(phases: Path, out: Path) -> None:
    """Write the labels."""
    with np.load(phases) as content:
        labels = parted(content["phases"] == 1)
    np.save(out, labels)
    print(f"{out}: {labels.max()} particles")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

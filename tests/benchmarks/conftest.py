"""Some benchmarks are scripts, found as ``python benchmarks/NAME.py`` finds them; the others are ``ps3d_bench``."""

import sys
from pathlib import Path

import numpy as np
import pytest

from fake_engine import fake_bundle

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from ps3d_rt.model import ModelBundle


@pytest.fixture
def bundle() -> ModelBundle:
    """For the engine ``fake``, which reads no network."""
    return fake_bundle()


@pytest.fixture
def grains() -> tuple[np.ndarray, np.ndarray]:
    """(image, reference): two balls that touch and one apart, 200 on 100, in 24 x 24 x 40 voxels."""
    z, y, x = np.indices((24, 24, 40))
    reference = np.zeros(z.shape, np.uint32)
    for number, (center, radius) in enumerate([((8, 8, 8), 6.2), ((8, 8, 20), 6.2), ((16, 15, 33), 4.2)], start=1):
        distance = np.sqrt((z - center[0]) ** 2 + (y - center[1]) ** 2 + (x - center[2]) ** 2)
        reference[(distance <= radius) & (reference == 0)] = number
    return np.where(reference > 0, 200, 100).astype(np.uint16), reference

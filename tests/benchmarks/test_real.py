"""``real.py``: what a threshold sees and a result has not is counted, and so is the largest part of it."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("skimage")


def test_a_lost_grain_shows_as_a_part_that_is_missing():
    import real  # noqa: PLC0415 - a script beside the package

    labels = np.zeros((40, 40, 40), np.uint32)
    labels[4:16, 4:16, 4:16], labels[20:36, 20:36, 20:36] = 1, 2
    image = np.where(labels > 0, 200, 50).astype(np.uint8)
    volumes = np.bincount(labels.ravel())[1:]

    def compared(kept: int) -> dict:
        found = np.where(labels <= kept, labels, 0)
        particles = SimpleNamespace(volume_voxels=volumes[:kept])
        return real.compare(image, SimpleNamespace(labels=found, particles=particles, run={"dropped": {}}))

    assert compared(2)["largest_missing_voxels"] == 0
    assert compared(2)["foreground_f1"] > 0.97
    lost = compared(1)
    assert lost["largest_missing_voxels"] == 12**3, "the lost cube without its two outer layers"
    assert lost["missing_share"] == pytest.approx(16**3 / (12**3 + 16**3), abs=0.02)

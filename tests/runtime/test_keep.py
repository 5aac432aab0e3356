"""``core.keep``: which particles stay, on tables that can be checked in the head."""

import numpy as np
import pytest

from ps3d_rt.core.keep import Keep

VOLUMES = np.array([0, 1, 10, 100, 89])


def kept(scores: list[int] | None = None, **rules: float) -> list[int]:
    """Indices of what stays; scores are means a voxel, percent."""
    sums = None if scores is None else np.array(scores) * VOLUMES
    return np.flatnonzero(Keep(**rules).keeps(VOLUMES, sums)).tolist()


def test_by_default_only_the_share_of_the_mean_counts() -> None:
    assert kept() == [1, 2, 3, 4], "the mean is 50; half a percent of it is less than a voxel"
    assert kept(min_relative_volume=0.2) == [2, 3, 4], "10 is just the share"
    assert kept(min_relative_volume=0.21) == [3, 4]


def test_a_volume_is_enough_if_it_is_just_reached() -> None:
    assert kept(min_voxels=10) == [2, 3, 4]
    assert kept(min_voxels=10.5) == [3, 4]


def test_what_is_too_small_does_not_count_in_the_mean() -> None:
    assert kept(min_voxels=2, min_relative_volume=0.16) == [3, 4], "the mean is 66, no longer 50"
    assert kept(min_voxels=0, min_relative_volume=0.16) == [2, 3, 4]


def test_unsure_particles_go_first() -> None:
    scores = [0, 90, 50, 90, 90]
    assert kept(scores, min_confidence=0.6) == [1, 3, 4]
    assert kept(scores, min_confidence=None) == [1, 2, 3, 4]
    assert kept(scores, min_confidence=0.95) == []
    scores = [0, 90, 90, 50, 90]
    assert kept(scores, min_confidence=0.6, min_relative_volume=0.25) == [2, 4], "the mean is 33"


def test_on_a_finer_grid_a_particle_has_more_voxels() -> None:
    rules = Keep(min_relative_volume=0.1, min_confidence=0.5, max_doubt=3.0, min_voxels=10)
    finer = rules.on_grid((2.0, 1.0, 0.5))
    assert finer == rules
    assert rules.on_grid((2.0, 2.0, 2.0)).min_voxels == pytest.approx(80)

"""``core.particle_filter``: which particles are dropped and why, on tables that can be checked in the head."""

from dataclasses import fields

import numpy as np
import pytest

from ps3d_rt.core.particle_filter import LARGEST_DROPPED_VOXELS, ParticleFilter, Reason

VOLUMES = np.array([0, 1, 10, 100, 89])


def reasons(scores: list[int] | None = None, volumes: np.ndarray = VOLUMES, **rules: float) -> list[int]:
    """Why each is dropped; scores are means a voxel, percent."""
    sums = None if scores is None else np.array(scores) * volumes
    return ParticleFilter(**rules).reasons(volumes, sums).tolist()


def test_by_default_only_the_share_of_the_mean_counts() -> None:
    assert reasons() == [0, 0, 0, 0, 0], "the mean is 50; half a percent of it is less than a voxel"
    assert reasons(min_relative_volume=0.2) == [0, 3, 0, 0, 0], "10 is just the share"
    assert reasons(min_relative_volume=0.21) == [0, 3, 3, 0, 0]


def test_a_volume_is_enough_if_it_is_just_reached() -> None:
    assert reasons(min_voxels=10) == [0, 1, 0, 0, 0]
    assert reasons(min_voxels=10.5) == [0, 1, 1, 0, 0]


def test_what_is_too_small_does_not_count_in_the_mean() -> None:
    assert reasons(min_voxels=2, min_relative_volume=0.16) == [0, 1, 3, 0, 0], "the mean is 66, no longer 50"
    assert reasons(min_voxels=0, min_relative_volume=0.16) == [0, 3, 0, 0, 0]


def test_unsure_particles_go_before_the_mean_is_taken() -> None:
    scores = [0, 90, 50, 90, 90]
    assert reasons(scores, min_confidence=0.6) == [0, 0, 2, 0, 0]
    assert reasons(scores, min_confidence=None) == [0, 0, 0, 0, 0]
    assert reasons(scores, min_confidence=0.95) == [0, 2, 2, 2, 2]
    scores = [0, 90, 90, 50, 90]
    assert reasons(scores, min_confidence=0.6, min_relative_volume=0.25) == [0, 3, 0, 2, 0], "the mean is 33"


def test_the_first_rule_that_holds_is_the_reason() -> None:
    assert reasons([0, 1, 1, 1, 1], min_voxels=10, min_confidence=0.5) == [0, 1, 2, 2, 2]


@pytest.mark.parametrize("zoom", [(1.0, 1.0, 1.0), (2.0, 1.0, 0.75), (0.4, 0.4, 0.4)])
def test_no_rule_drops_what_is_plainly_there_whatever_the_grid(zoom: tuple[float, float, float]) -> None:
    """A thousand voxels of the scan, and one more, that every rule would drop."""
    most = round(LARGEST_DROPPED_VOXELS * np.prod(zoom))
    volumes = np.array([most, most + 1, 10**9])
    scores = np.array([0, 0, 100 * 10**9])
    rules = {"min_relative_volume": 0.5}, {"min_confidence": 0.99}, {"min_voxels": 1e6}
    for rule in rules:
        assert (ParticleFilter(**rule).on_grid(zoom).reasons(volumes, scores) > 0).tolist() == [True, False, False]
    assert LARGEST_DROPPED_VOXELS == 1000


def test_dropping_never_depends_on_size_times_uncertainty() -> None:
    """Of particles of one confidence none is dropped unless all are: a larger one is never the only one to go."""
    volumes = np.array([20, 60, 200, 600, 900])
    for percent in (60, 79, 81, 95):
        found = reasons([percent] * 5, volumes, min_confidence=0.8, min_relative_volume=0.0)
        assert len(set(found)) == 1


def test_on_a_finer_grid_a_particle_has_more_voxels() -> None:
    rules = ParticleFilter(min_relative_volume=0.1, min_confidence=0.5, min_voxels=10)
    assert rules.on_grid((2.0, 1.0, 0.5)) == rules
    finer = rules.on_grid((2.0, 2.0, 2.0))
    assert (finer.min_voxels, finer.largest_dropped) == (80, 8000)
    same = {field.name for field in fields(rules)} - {"min_voxels", "largest_dropped"}
    assert all(getattr(finer, name) == getattr(rules, name) for name in same)


def test_every_reason_has_words() -> None:
    assert [Reason(k).text for k in (1, 2, 3, 4)] == [
        "below detection limit",
        "low confidence",
        "small relative volume",
        "vanished on source grid",
    ]

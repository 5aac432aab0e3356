import json
from dataclasses import replace
from math import isnan, pi

import numpy as np
import pytest

from ps3d_rt.core.distribution import (
    PERCENTILES,
    SHARES,
    SizeSample,
    edge_weights,
    percentile_intervals,
    sieve_diameter_mm,
    size_distribution,
    size_facts,
)
from ps3d_rt.core.measure import measure
from ps3d_rt.errors import InputError


def test_percentiles_worked_by_hand(cubes, diameter):
    # volumes 1, 8, 27, 64: shares by number .25 .5 .75 1, by volume .01 .09 .36 1
    sizes = size_distribution(measure(cubes(3, 1, 4, 2), (1, 1, 1)))
    assert sizes.particles == 4
    found = [getattr(sizes, name) for name in PERCENTILES]
    assert found == pytest.approx([diameter(side) for side in (1, 2, 4, 4, 3, 4, 4, 4)])


def test_a_share_reached_exactly_counts():
    # 1 + 8 of 90 voxels are exactly a tenth by volume
    labels = np.zeros((3, 3, 100), np.uint8)
    labels[1, 1, 1], labels[1, 1, 3:11], labels[1, 1, 12:93] = 1, 2, 3
    sizes = size_distribution(measure(labels, (1, 1, 1)))
    assert sizes.d10_by_volume_mm == pytest.approx((6 * 8 / pi) ** (1 / 3))


def test_particles_on_the_edge_count_unless_the_shape_is_given(cubes, diameter):
    labels = cubes(1, 9, 2)
    table = measure(labels, (1, 1, 1))
    assert size_distribution(table).d90_by_number_mm == pytest.approx(diameter(9))
    inside = size_distribution(table, labels.shape)
    assert inside.particles == 2
    assert inside.d90_by_number_mm == pytest.approx(diameter(2))


def test_no_particles_have_no_percentiles():
    table = measure(np.zeros((2, 2, 2), np.uint8), (1, 1, 1))
    sizes = size_distribution(table)
    assert sizes.particles == 0
    assert all(isnan(getattr(sizes, name)) for name in PERCENTILES)
    assert size_facts(table, (2, 2, 2))["d50_by_number_interval_mm"] == [None, None]


def test_weights_are_one_over_the_share_of_places_inside():
    labels = np.zeros((5, 6, 9), np.uint8)
    labels[1:3, 1:4, 2:6] = 1
    labels[4, 4, 4] = 2
    table = measure(labels, (1, 1, 1))
    # starts that leave a voxel free on both sides: 2 of 5, 2 of 6, 4 of 9
    assert edge_weights(table, labels.shape).tolist() == [pytest.approx(5 / 2 * 6 / 2 * 9 / 4), 0]
    with pytest.raises(InputError, match="y = 5 and the volume ends at 4"):
        edge_weights(table, (5, 4, 9))


def test_particles_too_small_to_be_found_are_counted(cubes):
    sizes = size_distribution(measure(cubes(1, 2, 3, 4), (0.1, 0.2, 0.4)))
    assert sizes.below_limit == 2  # a ball 3 voxels across has 14.1 voxels
    assert sizes.detection_limit_mm == pytest.approx(0.6)


def test_the_sieve_diameter_is_the_hole_that_an_ellipsoid_passes():
    grid = np.stack(np.mgrid[-21:22, -11:12, -6:7], axis=-1)
    table = measure((((grid / (20, 10, 5)) ** 2).sum(axis=-1) <= 1).astype(np.uint8), (1, 1, 1))
    found = float(sieve_diameter_mm(table)[0])
    # Turn the cross-section in a square hole: the hole has to hold it both ways.
    turns = np.linspace(0, pi / 2, 181)
    holes = np.maximum(
        2 * np.hypot(10 * np.cos(turns), 5 * np.sin(turns)), 2 * np.hypot(10 * np.sin(turns), 5 * np.cos(turns))
    )
    assert found == pytest.approx(holes.min(), rel=0.01)
    assert size_distribution(table, sieve=True).d50_by_number_mm == found
    ball = measure(((grid[:, 5:18] ** 2).sum(axis=-1) <= 25).astype(np.uint8), (1, 1, 1))
    assert sieve_diameter_mm(ball)[0] == pytest.approx(ball.equivalent_diameter_mm[0], rel=0.01)


def table_of_boxes(start, stop, shape):
    """Boxes cut by the faces of a volume as a particle table; no voxels are made."""
    start, stop = np.clip(start, 0, shape), np.clip(stop, 0, shape)
    seen = (stop > start).all(axis=1)
    start, stop = start[seen], stop[seen]
    voxels = (stop - start).prod(axis=1)
    return replace(
        measure(np.ones((1, 1, 1), np.uint8), (1, 1, 1)),
        label=np.arange(len(start), dtype=np.uint64) + 1,
        volume_voxels=voxels,
        volume_mm3=voxels.astype(float),
        equivalent_diameter_mm=np.cbrt(6 * voxels / pi),
        touches_edge=((start == 0) | (stop == shape)).any(axis=1),
        **{f"box_{axis}_start_voxels": start[:, i] for i, axis in enumerate("zyx")},
        **{f"box_{axis}_stop_voxels": stop[:, i] for i, axis in enumerate("zyx")},
    )


def boxes_in_a_volume(rng, shape, count: int, longest: int, *, flat: bool):
    """Boxes of lognormal size placed with their centres evenly in and around a volume, and their true sides."""
    side = np.clip(rng.lognormal(np.log(30), 0.45, count), 6, longest).astype(int)[:, None]
    sides = side * (np.array([1, 2, 3]) if flat else np.array([1, 1, 1]))
    sides = rng.permuted(sides, axis=1)
    start = rng.integers(-3 * longest, np.array(shape) + 3 * longest, (count, 3)) - sides // 2
    return table_of_boxes(start, start + sides, np.array(shape)), np.cbrt(6 * sides.prod(axis=1) / pi)


@pytest.mark.parametrize("flat", [False, True])
def test_the_correction_finds_the_sizes_of_a_known_sample(flat):
    shape = (420, 500, 600)
    table, true = boxes_in_a_volume(np.random.default_rng(3), shape, 500_000, 80, flat=flat)
    raw, corrected = size_distribution(table), size_distribution(table, shape)
    by_number = np.quantile(true, SHARES)
    order = np.argsort(true)
    volume = np.cumsum(true[order] ** 3)
    by_volume = true[order][np.searchsorted(volume / volume[-1], SHARES)]
    for name, value in zip(PERCENTILES, [*by_number, *by_volume], strict=True):
        assert getattr(corrected, name) == pytest.approx(value, rel=0.025), name  # sides are whole numbers: 43, 44
    assert raw.d50_by_number_mm != pytest.approx(by_number[1], rel=0.02)
    left_out = np.quantile(table.equivalent_diameter_mm[~table.touches_edge], 0.5)
    assert left_out < 0.98 * by_number[1]


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    rng, hits = np.random.default_rng(1), 0
    base = measure(np.ones((1, 1, 1), np.uint8), (1, 1, 1))
    for _ in range(60):
        diameters = rng.lognormal(0, 0.5, 200)
        voxels = np.ceil(1000 * diameters**3).astype(int)
        table = replace(
            base,
            label=np.arange(200),
            equivalent_diameter_mm=diameters,
            volume_voxels=voxels,
            volume_mm3=voxels / 1000.0,
            touches_edge=np.zeros(200, bool),
        )
        (low, _), (high, _) = percentile_intervals(SizeSample.from_table(table), (0.5,))
        assert low <= size_distribution(table).d50_by_number_mm <= high
        hits += low <= 1 <= high
    assert 51 <= hits <= 60


def test_intervals_are_the_same_every_time_and_follow_the_seed(cubes):
    sample = SizeSample.from_table(measure(cubes(1, 2, 3, 4, 5, 6, 7), (1, 1, 1)))
    low, high = found = percentile_intervals(sample)
    assert percentile_intervals(sample) == found
    assert all(a < b for a, b in zip(low, high, strict=True))
    assert percentile_intervals(sample, seed=1) != found


def test_curves_end_at_all(cubes):
    q0, q3 = SizeSample.from_table(measure(cubes(2, 4), (1, 1, 1))).curves()
    assert q0.shares.tolist() == [0.5, 1.0]
    assert q3.shares.tolist() == [8 / 72, 1.0]
    assert q0.up_to(q0.diameters_mm * 0.999).tolist() == [0.0, 0.5]


def test_facts_say_how_the_sizes_were_made_and_what_is_known(cubes):
    labels = cubes(1, 9, 2, 3)
    table = measure(labels, (1, 1, 1))
    facts = size_facts(table, labels.shape)
    assert (facts["diameter"], facts["edge_correction"], facts["particles"]) == ("equivalent", True, 3)
    sizes = size_distribution(table, labels.shape)
    intervals = zip(*percentile_intervals(SizeSample.from_table(table, labels.shape)), strict=True)
    for name, (low, high) in zip(PERCENTILES, intervals, strict=True):
        assert facts[name] == getattr(sizes, name)
        assert facts[name.replace("_mm", "_interval_mm")] == [low, high]
    other = size_facts(table, sieve=True)
    assert (other["diameter"], other["edge_correction"], other["particles"]) == ("sieve", False, 4)
    assert other["d50_by_number_mm"] == size_distribution(table, sieve=True).d50_by_number_mm


def test_facts_of_nothing_are_json():
    facts = size_facts(measure(np.zeros((2, 2, 2), np.uint8), (1, 1, 1)), (2, 2, 2))
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts["d50_by_number_mm"] is None
    assert facts["d90_by_volume_interval_mm"] == [None, None]

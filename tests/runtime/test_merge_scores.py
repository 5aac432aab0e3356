"""Solidity of shapes whose hulls are known, and which particles are listed as possibly merged or split."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import ConvexHull

from ps3d_rt.core.cautions import find_cautions
from ps3d_rt.core.chunks import ChunkGrid
from ps3d_rt.core.distribution import size_facts
from ps3d_rt.core.grid import Box
from ps3d_rt.core.measure import ParticleTable, look_in, measure, with_scores
from ps3d_rt.core.merge_scores import LISTED, TypicalSolidity, split_scores, spreads_below
from ps3d_rt.core.neck import neck_ratio
from ps3d_rt.io.spilled_rows import SpilledRows
from ps3d_rt.report.highlights import highlighted

RADIUS = 7.4


def balls(*centres: float) -> np.ndarray:
    """Balls in a row along x, joined to one particle."""
    grid = np.indices((20, 20, 64)) - np.reshape([10.0, 10.0, 0.0], (3, 1, 1, 1))
    inside = [(grid[0] ** 2 + grid[1] ** 2 + (grid[2] - centre) ** 2) <= RADIUS**2 for centre in centres]
    return np.any(inside, axis=0).astype(np.uint8)


def solidity_of(labels: np.ndarray, spacing_mm: tuple[float, float, float] = (1, 1, 1)) -> float:
    table = measure(labels, spacing_mm)
    assert table.solidity is not None
    return float(table.solidity[0])


def exact(labels: np.ndarray) -> float:
    """Voxels over the hull of the middles of their faces."""
    offsets = np.concatenate([np.eye(3), -np.eye(3)]) / 2
    corners = (np.argwhere(labels)[:, None] + offsets).reshape(-1, 3)
    return float(np.count_nonzero(labels) / ConvexHull(corners).volume)


@pytest.mark.parametrize("centres", [(15,), (15, 30), (15, 26), (15, 30, 45)])
def test_solidity_is_close_to_that_of_the_true_hull(centres: tuple[float, ...]) -> None:
    labels = balls(*centres)
    found = solidity_of(labels)
    assert found <= exact(labels) + 0.01, "the body of planes holds the hull"
    assert found == pytest.approx(exact(labels), abs=0.06)


def test_two_balls_that_touch_fill_less_of_their_hull_than_one() -> None:
    one, two = solidity_of(balls(15)), solidity_of(balls(15, 30))
    assert one > 0.9
    assert two == pytest.approx(0.8 * one, abs=0.05)


def test_solidity_does_not_change_with_the_voxel_size_or_the_place() -> None:
    labels = balls(15, 30)
    assert solidity_of(labels) == solidity_of(labels, (3.0, 1.0, 0.5))
    moved = np.pad(labels, ((30, 0), (0, 4), (17, 0)))
    assert solidity_of(moved) == pytest.approx(solidity_of(labels), rel=1e-9)


def test_one_voxel_and_a_plate_have_a_solidity() -> None:
    for shape in ((1, 1, 1), (1, 9, 9), (1, 1, 30)):
        assert 0.3 < solidity_of(np.ones(shape, np.uint8)) <= 1


@pytest.mark.parametrize("apart", [6, 10, 14])
def test_the_neck_of_two_balls_is_as_wide_as_where_they_meet(apart: int) -> None:
    inside = balls(20, 20 + apart) > 0
    meet = np.sqrt(RADIUS**2 - (apart / 2) ** 2)  # radius of the circle in which two balls meet
    assert neck_ratio(inside) == pytest.approx(meet / RADIUS, abs=0.12)
    assert neck_ratio(np.moveaxis(inside, 2, 0)) == pytest.approx(neck_ratio(inside), rel=1e-9)


def test_what_has_no_neck() -> None:
    assert (
        neck_ratio(balls(20) > 0) == neck_ratio(np.ones((3, 4, 40), bool)) == neck_ratio(np.ones((1, 1, 1), bool)) == 1
    )
    corner = balls(20, 26) > 0
    corner[8:12, 8:12, 34:40] = True
    assert neck_ratio(corner) > 0.8, "a hill of less than 0.4 of the height is a corner"


@pytest.mark.parametrize("tile", [(20, 20, 64), (7, 20, 9), (64, 64, 64)])
@pytest.mark.parametrize("times", [1, 4])
def test_a_neck_does_not_change_with_the_cutting(tile: tuple[int, int, int], times: int) -> None:
    labels = np.kron(balls(15, 29), np.ones((times,) * 3, np.uint8)) * np.uint32(7)
    labels[:3, :, -9:] = 8
    table = measure(labels, (1, 1, 1)).take(np.array([0]))
    tiles = [(box, partial(labels.__getitem__, box.slices)) for box in ChunkGrid(labels.shape, tile).boxes]
    step = max(1, round(table.volume_voxels[0] ** (1 / 3)) // 24)
    assert step == {1: 1, 4: 2}[times], "large ones are looked at in every second voxel"
    z, y, x = (
        slice(*(int(getattr(table, f"box_{a}_{end}_voxels")[0]) for end in ("start", "stop")), step) for a in "zyx"
    )
    assert look_in(tiles)(table).tolist() == [neck_ratio(labels[z, y, x] == 7)]


def test_only_the_parts_that_hold_a_particle_are_read(sample: np.ndarray) -> None:
    table, read = measure(sample, (1, 1, 1)), list[Box]()

    def ids(box: Box) -> np.ndarray:
        read.append(box)
        return sample[box.slices]

    boxes = ChunkGrid(sample.shape, (20, 20, 64)).boxes
    look_in([(box, partial(ids, box)) for box in boxes])(table.take(np.flatnonzero(table.label == 21)))
    assert read == [boxes[0]]


@pytest.fixture(scope="module")
def sample() -> np.ndarray:
    """Twenty balls, and two pairs of balls that are one particle each; labels 21 and 22."""
    labels = np.zeros((20, 200, 128), np.uint16)
    for k in range(20):
        labels[:, 20 * (k // 2) : 20 * (k // 2) + 20, 64 * (k % 2) : 64 * (k % 2) + 64][balls(12) > 0] = k + 1
    for k in (0, 1):
        labels[:, 20 * k : 20 * k + 20, :64][balls(29 + k, 43) > 0] = 21 + k
    return labels


def test_the_merged_ones_are_listed_and_no_other(sample: np.ndarray) -> None:
    table = measure(sample, (0.01,) * 3)
    assert table.merged_score is not None
    assert table.label[table.merged_score >= LISTED].tolist() == [21, 22]
    assert table.split_score is None, "that needs the scores of a network"
    lists = highlighted(table)
    assert table.label[lists["Possibly merged"]].tolist() in ([21, 22], [22, 21])
    assert "Possibly split" not in lists
    said = {c.kind: c.text for c in find_cautions({}, table, size_facts(table))}
    assert "2 of 22 particles are possibly merged" in said["possibly merged"]
    good = table.take(np.arange(20))
    assert "possibly merged" not in {c.kind for c in find_cautions({}, good, size_facts(good))}


def test_rows_on_disk_are_scored_against_the_whole_sample(tmp_path: Path, sample: np.ndarray) -> None:
    whole = measure(sample, (0.01,) * 3)
    margins = np.linspace(-1, 1, len(whole))
    plain = replace(whole, merged_score=None, contact_margin=margins)
    rows = SpilledRows(tmp_path / "rows", tmp_path / "out", sample.shape, 1_000_000)
    for part in np.array_split(np.arange(len(whole)), 5):
        rows.add(plain.take(part), part * 64)
    (tmp_path / "out").mkdir()
    tiles = [(box, partial(sample.__getitem__, box.slices)) for box in ChunkGrid(sample.shape, (16, 32, 48)).boxes]
    found = rows.finish(np.arange(len(whole) + 1), look_in(tiles))
    assert whole.merged_score is not None
    assert found.merged_score is not None
    assert found.merged_score.tobytes() == whole.merged_score.tobytes()
    assert found.split_score is not None
    assert (found.split_score < LISTED).all(), "none touches another"


def test_a_small_sample_is_compared_with_typical_particles() -> None:
    few = TypicalSolidity.of([np.full(7, 0.3)])
    assert few == TypicalSolidity()
    assert spreads_below(np.array([0.3]), few)[0] == pytest.approx(11)


def test_the_spread_of_a_sample_stays_between_its_limits() -> None:
    even, ragged = TypicalSolidity.of([np.full(50, 0.9)]), TypicalSolidity.of([np.linspace(0.3, 0.9, 50)])
    assert (even.spread, ragged.spread) == (0.04, 0.06)
    assert ragged.median == pytest.approx(0.6, abs=0.02)


def test_a_wide_contact_without_a_border_is_possibly_split() -> None:
    margin, widest, voxels = np.array([0.3, 0.3, 0.95, np.nan]), np.array([80, 4, 80, 80]), np.full(4, 1000)
    scores = split_scores(margin, widest, voxels)
    assert (scores >= LISTED).tolist() == [True, False, False, False]


def test_a_table_of_an_older_version_has_no_scores(sample: np.ndarray) -> None:
    old: ParticleTable = replace(measure(sample, (1, 1, 1)), solidity=None, merged_score=None)
    assert with_scores(old) is old
    assert "Possibly merged" not in highlighted(old)

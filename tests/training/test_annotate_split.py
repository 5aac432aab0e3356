"""One particle becomes several where a person draws, clicks or cuts: planted contacts come back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from ps3d_rt.errors import InputError
from ps3d_training.annotate.geodesic import geodesic_distance
from ps3d_training.annotate.split import cut_by_plane, split_by_marks, split_by_stroke
from ps3d_training.annotate.sweep import sweep

SIDE = 40


def two_ellipsoids(seed: int) -> Any:
    """Labels 1 and 2 of two ellipsoids of any orientation, pushed into each other in any direction."""
    draw = np.random.default_rng(seed)
    places = np.stack(np.indices((SIDE,) * 3), axis=-1) - (SIDE - 1) / 2
    direction = draw.normal(size=3)
    direction /= np.linalg.norm(direction)
    forms, extents = [], []
    for _ in range(2):
        turn = np.linalg.qr(draw.normal(size=(3, 3)))[0]
        axes = draw.uniform(6, 10, 3)
        forms.append((turn, axes))
        extents.append(np.linalg.norm(turn.T @ direction * axes))
    gap = draw.uniform(0.05, 0.2) * min(extents)
    values = [
        (((places - way * direction * (extent - gap)) @ turn / axes) ** 2).sum(axis=-1)
        for way, extent, (turn, axes) in zip((-1, 1), extents, forms, strict=True)
    ]
    return np.where(np.minimum(*values) < 1, np.where(values[0] < values[1], 1, 2), 0)


def faces(labels: Any) -> Any:
    """Voxels of a particle with a face to the other one."""
    found = np.zeros(labels.shape, bool)
    for axis in range(3):
        first, second = np.swapaxes(labels, 0, axis)[:-1], np.swapaxes(labels, 0, axis)[1:]
        met = (first != second) & (first > 0) & (second > 0)
        view = np.swapaxes(found, 0, axis)
        view[:-1] |= met
        view[1:] |= met
    return found


def drawn_border(labels: Any) -> Any:
    """What a person draws: the ends and the middle of the contact, in the slice where it is longest and thinnest."""
    places, best = np.argwhere(faces(labels)).astype(float), None
    for axis in range(3):
        plane = np.bincount(places[:, axis].astype(int)).argmax()
        cut = places[places[:, axis] == plane]
        off = cut - cut.mean(axis=0)
        along = off @ np.linalg.svd(off, full_matrices=False)[2][0]
        spread = np.sort(np.ptp(off, axis=0))
        score = np.ptp(along) - 2 * spread[1]
        stroke = np.stack([cut[along.argmin()], cut.mean(axis=0), cut[along.argmax()]])
        if best is None or score > best[0]:
            best = score, stroke
    return best[1]


def boundary_error(parts: Any, labels: Any) -> float:
    return float(ndimage.distance_transform_edt(~faces(labels))[faces(parts)].mean())


def middles(labels: Any) -> Any:
    return np.array([ndimage.center_of_mass(labels == number) for number in (1, 2)])


def test_a_stroke_in_one_slice_finds_the_border_of_tilted_contacts_in_all_slices() -> None:
    errors = []
    for seed in range(8):
        labels = two_ellipsoids(seed)
        parts = split_by_stroke(labels > 0, drawn_border(labels))
        assert np.array_equal(parts > 0, labels > 0)
        assert set(np.unique(parts)) == {0, 1, 2}
        errors.append(boundary_error(parts, labels))
    assert max(errors) < 1.5
    assert np.mean(errors) < 0.6


def test_marks_alone_part_at_the_neck_and_number_the_parts() -> None:
    labels = two_ellipsoids(3)
    parts = split_by_marks(labels > 0, middles(labels))
    assert np.mean(parts[labels > 0] == labels[labels > 0]) > 0.98
    assert boundary_error(parts, labels) < 1.5


def test_with_marks_a_stroke_parts_as_they_are_numbered() -> None:
    labels = two_ellipsoids(5)
    parts = split_by_stroke(labels > 0, drawn_border(labels), middles(labels)[::-1])
    assert np.mean(3 - parts[labels > 0] == labels[labels > 0]) > 0.98


def test_a_broad_contact_without_a_neck_is_parted_where_it_is_drawn_and_where_it_is_dark() -> None:
    """A bar, cut by a slanting dark plane that no shape shows."""
    z, y, x = np.indices((20, 20, 50))
    mask = (z > 1) & (z < 18) & (y > 1) & (y < 18) & (x > 1) & (x < 48)
    plane = x - 25 - (z - 10)
    image = np.where(np.abs(plane) < 1, 60.0, 100.0)
    stroke = np.array([[10.0, 1, 25], [10, 18, 25]])
    parts = split_by_stroke(mask, stroke, image=image)
    truth = np.where(plane < 0, parts[10, 10, 5], parts[10, 10, 45])
    assert np.mean(parts[mask] == truth[mask]) > 0.95
    straight = split_by_stroke(mask, stroke)
    assert np.mean(straight[mask] == np.where(x < 25, straight[10, 10, 5], straight[10, 10, 45])[mask]) > 0.95


def test_the_surface_leans_as_the_contact_does() -> None:
    z, y, x = np.indices((24, 24, 48))
    mask = (
        np.minimum((z - 12) ** 2 + (y - 12) ** 2 + (x - 14) ** 2, (z - 12) ** 2 + (y - 12) ** 2 + (x - 33) ** 2) < 110
    )
    found = sweep(mask, np.array([[12.0, 8, 23.5], [12, 16, 23.5]]))
    assert abs(found.tilt_degrees) <= 5
    assert np.allclose(np.abs(found.normal), (0, 0, 1), atol=0.1)
    assert found.voxels.any()
    assert not (found.voxels & ~mask).any()


def test_a_plane_through_three_places() -> None:
    mask = np.ones((4, 6, 8), bool)
    parts = cut_by_plane(mask, np.array([[0.0, 0, 3.5], [3, 0, 3.5], [0, 5, 3.5]]))
    assert len(np.unique(parts[..., :4])) == len(np.unique(parts[..., 4:])) == 1
    assert parts[0, 0, 0] != parts[0, 0, 7]


def test_the_way_goes_round_what_is_outside() -> None:
    mask = np.ones((1, 5, 7), bool)
    mask[0, :4, 3] = False
    source = np.zeros_like(mask)
    source[0, 0, 0] = True
    distance = geodesic_distance(mask, source)
    assert np.isinf(distance[0, 0, 3])
    assert distance[0, 4, 3] == pytest.approx(3 * np.sqrt(2) + 1)
    assert distance[0, 0, 6] == pytest.approx(2 * (3 * np.sqrt(2) + 1))


@pytest.mark.parametrize(
    ("stroke", "said"),
    [
        ([[5.0, 5, 5], [5, 5, 5.2]], "no length"),
        ([[1.0, 1, 1], [9, 9, 9]], "no slice"),
        ([[5.0, 30, 30], [5, 35, 35]], "misses the particle"),
        ([[5.0, 2, 2], [5, 9, 2]], "on one side only"),
    ],
)
def test_a_stroke_that_parts_nothing_is_refused_with_what_to_do(stroke: Any, said: str) -> None:
    mask = np.zeros((12, 12, 12), bool)
    mask[2:10, 2:10, 2:10] = True
    with pytest.raises(InputError, match=said):
        split_by_stroke(mask, np.array(stroke))


@pytest.mark.parametrize(
    ("marks", "said"),
    [
        ([[3.0, 3, 3]], "at least two"),
        ([[3.0, 3, 3], [0, 0, 0]], "mark 2 lies outside"),
        ([[3.0, 3, 3]] * 2, "one voxel"),
    ],
)
def test_marks_that_cannot_serve_are_refused(marks: Any, said: str) -> None:
    mask = np.zeros((8, 8, 8), bool)
    mask[2:6, 2:6, 2:6] = True
    with pytest.raises(InputError, match=said):
        split_by_marks(mask, np.array(marks))


@pytest.mark.parametrize(
    ("corners", "said"),
    [
        ([[0.0, 0, 0], [1, 1, 1]], "three places, and there are 2"),
        ([[0.0, 0, 0], [1, 1, 1], [2, 2, 2]], "on one line"),
        ([[0.0, 0, 9.5], [3, 0, 9.5], [0, 3, 9.5]], "misses the particle"),
    ],
)
def test_a_plane_that_cuts_nothing_is_refused(corners: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        cut_by_plane(np.ones((4, 4, 4), bool), np.array(corners))

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation, gaussian_filter, label

from ps3d_rt.core.arrays import Array
from ps3d_rt.core.border_core import to_border_core
from ps3d_training.augment.touching import MARGIN, Particle, contact, face_steps, push_against

THICKNESS = 2.5
EVERYWHERE = (slice(None),) * 3


def ball(shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float) -> Array:
    return sum((axis - c) ** 2 for axis, c in zip(np.indices(shape), centre, strict=True)) < radius**2


def blob(seed: int, side: int = 14) -> Array:
    """One connected, rough and concave thing."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(side,) * 3), 1.5, mode="wrap")
    parts, _ = label(noise > np.quantile(noise, 0.6))
    return parts == np.argmax(np.bincount(parts.ravel())[1:]) + 1


def stored(radius: float = 6, gray: float = 5.0) -> Particle:
    side = int(2 * radius) + 1 + 2 * MARGIN
    mask = ball((side,) * 3, (side // 2,) * 3, radius)
    return Particle(np.where(mask, gray, -1).astype(np.float32), mask)


def patch(instances: Array, seed: int = 0) -> tuple[Array, Array, Array]:
    image = np.random.default_rng(seed).normal(0, 0.1, instances.shape).astype(np.float32)
    return image, to_border_core(instances, THICKNESS).astype(np.int16), instances.astype(np.int16)


def two_balls() -> Array:
    instances = np.zeros((60, 50, 50), np.int16)
    instances[ball(instances.shape, (30, 25, 25), 8)] = 3
    instances[ball(instances.shape, (8, 8, 8), 5)] = 7
    return instances


@settings(max_examples=60)
@given(
    st.integers(0, 50),
    st.integers(51, 100),
    st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda d: max(map(abs, d)) > 0.1),
)
def test_at_the_contact_faces_meet_and_nothing_overlaps(
    still_seed: int, moving_seed: int, direction: tuple[float, float, float]
) -> None:
    moving = blob(moving_seed)
    still = np.pad(blob(still_seed), 40)
    corner = contact(still, moving, np.array(direction))
    assert corner is not None
    placed = np.zeros_like(still)
    placed[tuple(slice(c, c + 14) for c in corner)] = moving
    assert placed.sum() == moving.sum()
    assert not np.any(placed & still)
    assert np.any(binary_dilation(placed) & still), "a face of one is a face of the other"
    apart = np.argwhere(placed).mean(axis=0) - np.argwhere(still).mean(axis=0)
    assert apart @ np.array(direction) > 0, "it comes from where it was asked to"


def test_a_ring_is_passed_through() -> None:
    hoop = ball((41, 41, 41), (20, 20, 20), 12) & ~ball((41, 41, 41), (20, 20, 20), 9)
    hoop[:19] = hoop[22:] = False
    small = ball((5, 5, 5), (2, 2, 2), 2.5)
    assert contact(hoop, small, np.array([1.0, 0, 0])) is None
    assert contact(hoop, small, np.array([0.0, 1, 0])) is not None


@given(st.tuples(*[st.integers(-6, 6)] * 3))
def test_a_way_is_walked_face_by_face(way: tuple[int, int, int]) -> None:
    steps = face_steps(np.array(way))
    assert np.all(np.abs(steps).sum(axis=1) == 1)
    assert steps.sum(axis=0).tolist() == list(way)
    along = np.cumsum(steps, axis=0) - np.outer((np.arange(len(steps)) + 1) / max(1, len(steps)), way)
    assert np.all(np.abs(along) <= 1.5), "never far from the straight line"


@pytest.mark.parametrize("seed", range(8))
def test_a_particle_is_added_that_touches_and_cores_stay_apart(seed: int) -> None:
    before = patch(two_balls())
    image, border_core, instances = (array.copy() for array in before)
    np.random.seed(seed)
    middle = (slice(15, 45), slice(10, 40), slice(10, 40))
    assert push_against(image, border_core, instances, stored(), middle=middle, thickness_voxels=THICKNESS)
    added = instances == -2
    assert added.sum() == stored().mask.sum(), "here it is not cut by the patch"
    assert np.array_equal(instances[~added], before[2][~added])
    assert np.all(before[2][added] == 0), "nothing is covered"
    assert np.any(binary_dilation(added) & (instances == 3)), "the only one in the middle"
    assert np.array_equal(border_core, to_border_core(instances, THICKNESS))
    core = border_core == 1
    around = binary_dilation(core & added, np.ones((3, 3, 3)))
    assert np.any(core & added)
    assert not np.any(around & core & ~added)
    assert np.allclose(image[core & added], 5, atol=0.1)
    far = ~binary_dilation(added, iterations=3 * MARGIN)
    assert np.array_equal(image[far], before[0][far])
    edge = binary_dilation(added) & ~added & (instances == 0)
    assert np.mean(image[edge]) < 0, "the surroundings come along, and fade"


def test_the_blend_is_the_mask_blurred_at_sigma_1() -> None:
    image, border_core, instances = patch(two_balls())
    image[:] = 0
    particle = stored()
    ones = Particle(np.ones_like(particle.image), particle.mask)
    np.random.seed(1)
    middle = (slice(20, 40),) * 3
    assert push_against(image, border_core, instances, ones, middle=middle, thickness_voxels=THICKNESS)
    assert np.allclose(image, gaussian_filter((instances == -2).astype(np.float32), 1), atol=1e-4)


def test_where_there_is_no_room_nothing_changes() -> None:
    packed = np.indices((40, 40, 40))[0] // 10 + 1
    for labels in (packed, np.zeros((40, 40, 40), int)):
        before = patch(labels)
        after = [array.copy() for array in before]
        assert not push_against(*after, stored(), middle=EVERYWHERE, thickness_voxels=THICKNESS)
        assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_another_direction_is_tried_when_something_is_in_the_way() -> None:
    instances = np.ones((60, 50, 50), np.int16)
    instances[:, :, 20:] = 0
    instances[ball(instances.shape, (30, 25, 28), 7) & (instances == 0)] = 2
    done = 0
    for seed in range(10):
        image, border_core, labels = patch(instances)
        np.random.seed(seed)
        done += push_against(image, border_core, labels, stored(4), middle=EVERYWHERE, thickness_voxels=THICKNESS)
        assert np.array_equal(labels == 1, instances == 1)
    assert done >= 8


def test_outside_the_volume_nothing_happens_and_its_faces_cut_no_border() -> None:
    inner = np.zeros((36, 30, 30), np.int16)
    inner[ball(inner.shape, (18, 15, 15), 7)] = 4
    cut = 0
    for seed in range(10):
        image, border_core, instances = patch(inner)
        image, border_core, instances = (
            np.pad(array, ((5, 0), (0, 9), (3, 3)), constant_values=outside)
            for array, outside in ((image, 0), (border_core, -1), (instances, -1))
        )
        np.random.seed(seed)
        assert push_against(image, border_core, instances, stored(7), middle=EVERYWHERE, thickness_voxels=THICKNESS)
        volume = (slice(5, None), slice(None, -9), slice(3, -3))
        outside = np.ones(image.shape, bool)
        outside[volume] = False
        assert np.all(image[outside] == 0)
        assert np.all(border_core[outside] == -1)
        assert np.all(instances[outside] == -1)
        assert np.array_equal(border_core[volume], to_border_core(instances[volume], THICKNESS))
        cut += np.sum(instances == -2) < stored(7).mask.sum()
    assert cut >= 3, "some reach out of the volume, and are cut as a scan would cut them"


def test_border_that_comes_from_beyond_the_patch_stays() -> None:
    whole = np.zeros((60, 50, 50), np.int16)
    whole[ball(whole.shape, (30, 25, 25), 8)] = 3
    whole[:26] = 9
    image, border_core, instances = (array[26:] for array in patch(whole))
    known = border_core == 2
    assert np.all(known[0] == (instances[0] == 3)), "below lies a particle that the patch does not show"
    for seed in range(6):
        after = border_core.copy()
        np.random.seed(seed)
        push_against(image.copy(), after, instances.copy(), stored(), middle=EVERYWHERE, thickness_voxels=THICKNESS)
        assert np.all(after[known] == 2)

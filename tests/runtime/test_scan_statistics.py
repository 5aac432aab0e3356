"""What is measured of a scan, on volumes whose noise, blur, levels and contacts are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from ps3d_rt.core.arrays import Array
from ps3d_rt.core.grid import Box
from ps3d_rt.core.scan_statistics import measure_volume, tiles_of, whole_diameters

SHAPE = (48, 96, 96)
NOISE = 0.2


def balls() -> Array:
    """Twelve balls, 24 voxels across, ids 1 to 9 in a plane and their halves at a face."""
    z, y, x = np.indices(SHAPE)
    labels = np.zeros(SHAPE, np.uint32)
    for k, (b, a) in enumerate(np.ndindex(3, 3), start=1):
        inside = (z - 24) ** 2 + (y - 16 - 32 * b) ** 2 + (x - 16 - 32 * a) ** 2 < 12**2
        labels[inside] = k
    return labels


def scan(labels: Array, *, blur: float = 0.0, grain: float = 0.0, noise: float = NOISE) -> Array:
    """Particles at 1 to 3, embedding at −0.5, and noise (simulated)."""
    levels = np.append(-0.5, np.linspace(1, 3, int(labels.max())))
    image = ndimage.gaussian_filter(levels[labels], blur) if blur else levels[labels]
    grains = np.random.default_rng(1).standard_normal(SHAPE)
    if grain:
        grains = ndimage.gaussian_filter(grains, grain)
        grains /= grains.std()
    return (image + noise * grains).astype(np.float32)


@pytest.fixture(scope="module")
def labels() -> Array:
    return balls()


def test_noise_and_levels_are_those_that_were_put_in(labels: Array) -> None:
    found = measure_volume(scan(labels), labels)
    assert found["background"] == pytest.approx(-0.5, abs=0.01)
    assert found["noise"] == pytest.approx(NOISE, rel=0.03)
    assert found["texture"] == pytest.approx(NOISE, rel=0.1)
    for name in ("noise_over_3", "noise_over_8", "noise_across_planes"):
        assert found[name] == pytest.approx(1, abs=0.06), name
    # Tiles show the middle layer of balls, 1 to 3 above −0.5 in nine equal steps.
    assert found["level_p50"] == pytest.approx(2.5, abs=0.05)
    assert (found["level_p10"], found["level_p90"]) == pytest.approx((1.7, 3.3), abs=0.05)
    assert found["dark_share"] < 1e-4
    assert found["bright_share"] < 1e-4
    assert found["contact_share"] == 0


def test_grainy_noise_grows_with_the_distance_and_pixel_noise_does_not(labels: Array) -> None:
    fine, grainy = (measure_volume(scan(labels, grain=grain), labels) for grain in (0.0, 1.5))
    assert grainy["noise_over_3"] > 2 * fine["noise_over_3"]
    # A Gaussian filter of sigma s makes noise whose correlation over a distance d is exp(-d² / 4 s²).
    over = [1 - np.exp(-(d**2) / (4 * 1.5**2)) for d in (1, 3)]
    assert grainy["noise_over_3"] == pytest.approx(over[1] / over[0], rel=0.1)


def test_noise_that_differs_from_plane_to_plane_only_is_told_from_noise_in_the_plane(labels: Array) -> None:
    image = scan(labels, noise=0.02)
    image += np.random.default_rng(2).normal(0, 0.3, (SHAPE[0], 1, 1)).astype(np.float32)
    assert measure_volume(image, labels)["noise_across_planes"] > 100


def test_a_sharp_edge_is_one_step_and_a_blurred_one_is_the_integral_of_its_bell(labels: Array) -> None:
    sharp, blurred = (measure_volume(scan(labels, blur=blur, noise=0.0), labels) for blur in (0.0, 2.0))
    assert (sharp["edge_over_1"], sharp["edge_over_3"]) == pytest.approx((1, 1), abs=1e-6)
    assert 0.1 < blurred["edge_over_1"] < 0.35
    assert blurred["edge_over_1"] < blurred["edge_over_3"] < 0.85


def test_missed_particles_are_bright_and_bubbles_are_dark_and_neither_is_noise(labels: Array) -> None:
    image = scan(labels)
    without = np.where(labels == 5, 0, labels)
    found = measure_volume(image, without)
    assert found["bright_share"] > 0.01
    assert found["fill"] < measure_volume(image, labels)["fill"]
    image[labels == 5] = -4
    assert measure_volume(image, without)["dark_share"] > 0.01


def test_contacts_are_counted_against_all_faces() -> None:
    labels = np.zeros((16, 64, 64), np.uint32)
    labels[:, 16:48, 16:32], labels[:, 16:48, 32:48] = 1, 2
    # In a plane of the tile: 32 faces between the two, 4 · 32 around them.
    assert measure_volume(np.zeros(labels.shape, np.float32), labels)["contact_share"] == pytest.approx(32 / 160)


def test_what_is_not_there_is_not_among_the_numbers() -> None:
    empty = measure_volume(np.zeros((16, 64, 64), np.float32), np.zeros((16, 64, 64), np.uint32))
    assert not empty.keys() & {"texture", "level_p50", "edge_over_1", "size", "contact_share", "noise_over_3"}
    assert (empty["fill"], empty["noise"]) == (0, 0)
    full = measure_volume(np.zeros((16, 64, 64), np.float32), np.ones((16, 64, 64), np.uint32))
    assert not full.keys() & {"background", "noise", "level_p50"}


@pytest.mark.parametrize("shape", [(3, 5, 7), (8, 64, 64), (24, 63, 129), (500, 300, 2000)])
def test_tiles_lie_inside_and_apart(shape: tuple[int, int, int]) -> None:
    tiles = tiles_of(shape)
    assert 1 <= len(tiles) <= 27
    seen = np.zeros(shape, np.uint8)
    for tile in tiles:
        assert tile.size
        assert tile.intersect(Box.of_shape(shape)) == tile
        seen[tile.slices] += 1
    assert seen.max() == 1


def test_a_handful_of_whole_particles_say_what_their_size_is_and_fewer_do_not(labels: Array) -> None:
    image = scan(labels)
    # A ball of 12 voxels radius on whole voxels has 7153 of them: 23.9 across.
    assert measure_volume(image, labels)["size"] == pytest.approx(23.9, abs=0.1)
    assert measure_volume(image, labels)["size_spread"] == pytest.approx(0, abs=1e-6)
    assert not measure_volume(image, np.where(labels > 4, 0, labels)).keys() & {"size", "size_spread"}


def test_only_whole_particles_have_a_diameter() -> None:
    labels = np.zeros((20, 20, 20), np.uint32)
    labels[5:9, 5:9, 5:9] = 3
    labels[0:4, 12:16, 12:16] = 4
    assert whole_diameters(labels) == pytest.approx([np.cbrt(6 / np.pi * 64)])

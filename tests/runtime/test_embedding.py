from __future__ import annotations

import numpy as np
import pytest

from ps3d_rt.core.arrays import Array
from ps3d_rt.core.embedding import find_embedding
from ps3d_rt.core.outside import SampledVoxels, leave_out_constant
from ps3d_rt.errors import InputError

SHAPE = (64, 64, 64)
EMBEDDING, NOISE = 9000.0, 300.0
GRID = np.indices(SHAPE)


def ball(z: float, y: float, x: float, radius: float) -> Array:
    return sum((axis - c) ** 2 for axis, c in zip(GRID, (z, y, x), strict=True)) < radius**2


def scan(step: int = 16, contrasts: tuple[float, ...] = (4000.0,), radius: float = 6.0) -> Array:
    """Balls of some contrasts on a grid ``step`` wide, in noise."""
    clean = np.full(SHAPE, EMBEDDING)
    number = 0
    for z in range(step // 2, 64, step):
        for y in range(step // 2, 64, step):
            for x in range(step // 2, 64, step):
                clean[ball(z, y, x, radius)] = EMBEDDING + contrasts[number % len(contrasts)]
                number += 1
    return clean + np.random.default_rng(0).normal(0, NOISE, SHAPE)


def around(radius: float) -> Array:
    return np.hypot(GRID[1] - 31.5, GRID[2] - 31.5) > radius


def whole(image: Array) -> list[SampledVoxels]:
    return [SampledVoxels((0, 0, 0), image)]


@pytest.mark.parametrize(("step", "radius"), [(40, 6.0), (16, 6.0), (12, 6.0), (12, 6.6)])
def test_the_embedding_is_found_however_full_the_sample_is(step: int, radius: float) -> None:
    found = find_embedding(whole(scan(step, radius=radius)), SHAPE)
    assert found.gray == pytest.approx(EMBEDDING, abs=0.5 * NOISE)
    assert found.noise == pytest.approx(NOISE, rel=0.15)
    assert 0.45 * 4000 < found.contrast < 4000, "edges count"
    assert found.air is None
    assert not found.warnings


def test_a_bright_mineral_hardly_moves_the_contrast_of_the_others() -> None:
    plain = find_embedding(whole(scan()), SHAPE).contrast
    mixed = find_embedding(whole(scan(contrasts=(*[4000.0] * 9, 50_000.0))), SHAPE).contrast
    assert plain <= mixed < 1.5 * plain


def test_the_contrast_is_that_of_the_darker_particles() -> None:
    both = find_embedding(whole(scan(contrasts=(1000.0, 8000.0))), SHAPE).contrast
    dark = find_embedding(whole(scan(contrasts=(1000.0,))), SHAPE).contrast
    assert dark < both < 2.5 * dark


def test_gray_values_that_are_scaled_and_shifted_give_the_same_scaled_and_shifted() -> None:
    image = scan()
    plain, moved = (find_embedding(whole(i), SHAPE) for i in (image, -1000 + image / 7))
    assert moved.gray == pytest.approx(-1000 + plain.gray / 7)
    assert moved.contrast == pytest.approx(plain.contrast / 7)
    assert moved.noise == pytest.approx(plain.noise / 7)


def test_air_around_a_tube_is_not_the_embedding() -> None:
    image = scan()
    image[around(26)] = 500 + np.random.default_rng(1).normal(0, NOISE, int(around(26).sum()))
    found = find_embedding(whole(image), SHAPE)
    assert found.gray == pytest.approx(EMBEDDING, abs=0.5 * NOISE)
    assert found.air == pytest.approx(500, abs=2 * NOISE)


def test_a_tube_at_the_side_of_the_volume_has_air_beside_it() -> None:
    beside = np.hypot(GRID[1] - 31.5, GRID[2] - 4) > 30
    image = scan()
    image[beside] = 500 + np.random.default_rng(1).normal(0, NOISE, int(beside.sum()))
    found = find_embedding(whole(image), SHAPE)
    assert found.gray == pytest.approx(EMBEDDING, abs=0.5 * NOISE)
    assert found.air == pytest.approx(500, abs=2 * NOISE)


def test_air_as_far_below_the_embedding_as_particles_are_above_hides_none_of_them() -> None:
    image = scan()
    image[around(26)] = EMBEDDING - 4000 + np.random.default_rng(1).normal(0, NOISE, int(around(26).sum()))
    found = find_embedding(whole(image), SHAPE)
    assert found.air == pytest.approx(EMBEDDING - 4000, abs=2 * NOISE)
    assert found.contrast == pytest.approx(find_embedding(whole(scan()), SHAPE).contrast, rel=0.1)
    assert not found.warnings


def test_air_between_and_around_particles_is_the_embedding() -> None:
    image = scan(step=12) - EMBEDDING + 500
    image[around(26)] = 500 + np.random.default_rng(1).normal(0, NOISE, int(around(26).sum()))
    assert find_embedding(whole(image), SHAPE).gray == pytest.approx(500, abs=0.5 * NOISE)


def test_embedding_around_a_dense_packing_is_not_air() -> None:
    image = scan(step=12, radius=7.1)
    for axis in (1, 2):
        rim = (GRID[axis] < 8) | (GRID[axis] > 55)
        image[rim] = EMBEDDING + np.random.default_rng(axis).normal(0, NOISE, int(rim.sum()))
    found = find_embedding(whole(image), SHAPE)
    assert found.gray == pytest.approx(EMBEDDING, abs=0.5 * NOISE)
    assert found.air is None


@pytest.mark.parametrize(("step", "radius"), [(40, 6.0), (20, 6.0), (12, 6.0)])
def test_the_contrast_does_not_depend_on_how_full_the_sample_is(step: int, radius: float) -> None:
    assert find_embedding(whole(scan(step, radius=radius)), SHAPE).contrast == pytest.approx(2000, rel=0.1)


def test_many_bubbles_are_not_the_embedding_but_a_doubt() -> None:
    image = scan(step=32)
    for z in (10, 32, 54):
        for y in (10, 32, 54):
            for x in (10, 32, 54):
                image[ball(z, y, x, 8)] = np.random.default_rng(z + y + x).normal(
                    1000, NOISE, int(ball(z, y, x, 8).sum())
                )
    found = find_embedding(whole(image), SHAPE)
    assert found.gray == pytest.approx(EMBEDDING, abs=0.5 * NOISE)
    assert "bubbles" in found.warnings[0]


def slabs(image: Array) -> list[SampledVoxels]:
    """Give what a run looks at of a large scan that is stored in planes."""
    return [SampledVoxels((z, 0, 0), image[z : z + 4]) for z in range(4, 64, 16)]


def test_narrow_pores_in_slabs_are_no_bubbles() -> None:
    packing = scan(contrasts=(-4000.0,))
    found = find_embedding(slabs(packing), SHAPE)
    assert found.gray == pytest.approx(EMBEDDING - 4000, abs=0.5 * NOISE)
    assert found.air is None
    assert not found.warnings


def test_nothing_brighter_than_the_embedding_is_a_doubt() -> None:
    dark = 2 * EMBEDDING - scan(step=32)
    assert "--dark" in find_embedding(whole(dark), SHAPE).warnings[0]
    assert not find_embedding(whole(-dark), SHAPE).warnings


def test_a_given_embedding_is_taken() -> None:
    assert find_embedding(whole(scan()), SHAPE, given=9100.0).gray == 9100.0


@pytest.mark.parametrize("fill", [0, 65535, 30_000])
@pytest.mark.parametrize(
    "outside",
    [
        around(31.5),
        around(28),
        np.hypot(GRID[1] - 31.5, GRID[2] - 4) > 30,
        np.abs(GRID[1] - GRID[2]) > 40,
        GRID[0] > 55,
    ],
)
def test_a_constant_around_the_scan_counts_nowhere(fill: int, outside: Array) -> None:
    image = scan().astype(np.uint16)
    plain = find_embedding(whole(image), SHAPE)
    image[outside] = fill
    parts, constant = leave_out_constant(whole(image), SHAPE)
    assert constant is not None
    assert constant.value == fill
    assert constant.share == pytest.approx(outside.mean(), abs=1e-4)
    found = find_embedding(parts, SHAPE)
    assert found.gray == pytest.approx(plain.gray, abs=0.2 * NOISE)
    assert found.contrast == pytest.approx(plain.contrast, rel=0.1)


def test_a_constant_that_is_inside_too_counts() -> None:
    drawing = np.where(scan() > 11_000, 200, 10).astype(np.uint8)
    assert leave_out_constant(whole(drawing), SHAPE)[1] is None, "an embedding without noise"
    saturated = np.minimum(scan(step=12), 11_000)
    saturated[around(31.5)] = 11_000
    assert leave_out_constant(whole(saturated), SHAPE)[1] is None, "particles have the same gray value"


@pytest.mark.parametrize(
    "places", [[(32, 32, 32)], [(12, 20, 20), (50, 44, 40)], [(32, 10, 32), (32, 30, 34), (20, 50, 9)]]
)
def test_an_embedding_without_noise_around_a_few_particles_is_no_outside(places: list[tuple[int, int, int]]) -> None:
    image = np.full(SHAPE, 10, np.uint8)
    for z, y, x in places:
        image[ball(z, y, x, 9)] = 200
    assert leave_out_constant(whole(image), SHAPE)[1] is None


def test_noise_has_no_constant() -> None:
    assert leave_out_constant(whole(scan()), SHAPE)[1] is None


@pytest.mark.parametrize(("value", "message"), [(np.nan, "NaN"), (np.inf, "Inf"), (5.0, "one gray value")])
def test_voxels_without_a_scale_are_refused(value: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_embedding(whole(np.full((8, 8, 8), value)), (8, 8, 8))


@pytest.mark.parametrize("shape", [(1, 40, 40), (40, 1, 40), (3, 5, 2)])
def test_thin_volumes_have_an_embedding(shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(0).normal(EMBEDDING, NOISE, shape)
    assert find_embedding(whole(image), shape).gray == pytest.approx(EMBEDDING, abs=2 * NOISE)


def test_air_around_a_tube_inside_filled_corners_is_not_the_embedding() -> None:
    image = scan().astype(np.uint16)
    image[around(26)] = 500 + np.random.default_rng(1).integers(0, 300, int(around(26).sum()))
    image[around(30)] = 0
    parts, constant = leave_out_constant(whole(image), SHAPE)
    assert constant is not None
    assert find_embedding(parts, SHAPE).gray == pytest.approx(EMBEDDING, abs=0.5 * NOISE)

"""What lies outside the scanned part, worked on shells of cubes around the middle of a volume."""

from __future__ import annotations

import numpy as np
import pytest

from ps3d_rt.core.arrays import Array
from ps3d_rt.core.outside import SampledVoxels, leave_out_constant, rim

SIDE = 32
SHAPE = (SIDE,) * 3
GRIDS = [((0, 0, 0), SHAPE, (1, 1, 1))]
AWAY = np.abs((np.indices(SHAPE).reshape(3, -1) + 0.5) / (SIDE / 2) - 1).max(axis=0)
"""Of every voxel from the middle, as a share of the way to the faces; 16 shells."""


def test_a_kind_from_some_place_to_the_faces_is_outside() -> None:
    kind = AWAY > 0.75
    found = rim(kind, GRIDS, SHAPE)
    assert np.array_equal(found.outer, kind)
    assert found.share == kind.mean()
    assert found.inside == 0
    assert np.array_equal(found.inner, AWAY < 0.6), "up to 0.8 of the way to where the outside begins"


def test_a_kind_with_something_else_behind_it_is_not_outside() -> None:
    found = rim((AWAY > 0.4) & (AWAY < 0.6), GRIDS, SHAPE)
    assert (found.share, found.outer.any()) == (0, False)


def test_a_kind_that_begins_at_the_middle_is_what_the_particles_lie_in() -> None:
    found = rim(AWAY > 0.2, GRIDS, SHAPE)
    assert found.share > 0.9
    assert found.inside == 1


def test_what_is_outside_for_another_reason_stands_in_nobodys_way() -> None:
    kind, counts = (AWAY > 0.5) & (AWAY < 0.75), AWAY < 0.75
    found = rim(kind, GRIDS, SHAPE, counts=counts)
    assert np.array_equal(found.outer, AWAY > 0.5)
    assert found.share == kind.sum() / counts.sum()
    assert found.inside == 0


def test_what_is_found_well_inside_is_counted_there() -> None:
    kind = AWAY > 0.75
    kind[AWAY < 0.6] = np.arange((AWAY < 0.6).sum()) % 50 == 0
    assert rim(kind, GRIDS, SHAPE).inside == pytest.approx(0.02, abs=1e-4)


def scanned(fill: int, radius: float, inside: float = 0.0) -> Array:
    """Noise in a circle, a constant around it and at a share of the voxels inside."""
    rng = np.random.default_rng(0)
    image = rng.integers(1000, 2000, (40, 64, 64)).astype(np.uint16)
    image[rng.random(image.shape) < inside] = fill
    _, y, x = np.indices(image.shape)
    image[np.hypot(y - 31.5, x - 31.5) > radius] = fill
    return image


def outside_of(image: Array, counts: Array | None = None) -> tuple[Array | None, float | None]:
    (part,), outside = leave_out_constant([SampledVoxels((0, 0, 0), image, counts)], image.shape)  # type: ignore[arg-type]
    return part.inside, None if outside is None else outside.value


@pytest.mark.parametrize(("fill", "inside", "is_outside"), [(0, 0.05, True), (0, 0.2, False), (9000, 0.01, False)])
def test_a_dark_constant_may_be_rare_inside_and_a_bright_one_hardly_at_all(
    fill: int, inside: float, is_outside: bool
) -> None:
    assert outside_of(scanned(fill, 31.5, inside))[1] == (fill if is_outside else None)


def test_a_few_planes_at_one_end_are_found() -> None:
    image = np.random.default_rng(0).integers(1000, 2000, (300, 24, 24)).astype(np.uint16)
    image[:5] = 9000
    assert outside_of(image)[1] == 9000


def test_the_middle_is_that_of_the_scanned_part() -> None:
    image = scanned(0, 99)
    image[..., 32:] = 0
    assert outside_of(image)[1] == 0


def test_a_drawing_in_two_gray_values_has_no_outside() -> None:
    image = scanned(0, 20)
    image[image > 0] = 200
    assert outside_of(image)[1] is None


def test_what_did_not_count_before_does_not_count_after() -> None:
    image = scanned(0, 31.5)
    counts = np.random.default_rng(1).random(image.shape) < 0.5
    inside, _ = outside_of(image, counts)
    assert np.array_equal(inside, counts & (image != 0))

"""Projection and reconstruction: against a disk's own formula, and against scikit-image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ps3d_rt.errors import InputError
from ps3d_training.synth.physics.projector import back_project, project, view_angles
from ps3d_training.synth.physics.reconstruct import FILTERS, filter_views, ramp_response, reconstruct

SIDE, BINS, RADIUS = 64, 95, 14.0
Y, X = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
CENTER = (6.0, -9.0)
ANGLES = view_angles(100)


def disk(side: int = SIDE, radius: float = RADIUS, center: tuple[float, float] = CENTER) -> Any:
    """A disk of value 1 with partial volume at its edge: (y, x) float32."""
    fine = 8
    at = (np.arange(side * fine) + 0.5) / fine - side / 2
    inside = np.hypot(at[:, None] - center[0], at[None] - center[1]) < radius
    return inside.reshape(side, fine, side, fine).mean((1, 3)).astype(np.float32)


def chords(angles: Any = ANGLES, bins: int = BINS) -> Any:
    """Length of every ray in the disk."""
    u = np.arange(bins) - (bins - 1) / 2
    middle = CENTER[1] * np.cos(angles) + CENTER[0] * np.sin(angles)
    return 2 * np.sqrt(np.maximum(0, RADIUS**2 - (u - middle[:, None]) ** 2))


def test_rays_through_a_disk_are_as_long_as_its_chords() -> None:
    found = project(disk()[..., None], ANGLES, BINS)[..., 0]
    exact = chords()
    # A chord changes by pixels within a pixel at the disk's very edge only.
    inner = exact > 10
    assert np.abs(found - exact)[inner].max() < 0.7
    assert np.abs(found - exact).mean() < 0.06
    np.testing.assert_allclose(found.sum(1), np.pi * RADIUS**2, rtol=0.005)


def test_slices_side_by_side_are_projected_alike() -> None:
    both = np.stack([disk(), 2 * disk(center=(-3.0, 2.0))], axis=2)
    found = project(both, ANGLES, BINS)
    for k in range(2):
        alone = project(np.ascontiguousarray(both[..., k : k + 1]), ANGLES, BINS)[..., 0]
        np.testing.assert_allclose(found[..., k], alone, rtol=1e-5, atol=1e-4)


def test_what_goes_on_outside_is_the_mirrored_image() -> None:
    image = np.random.default_rng(0).random((SIDE, SIDE, 1), dtype=np.float32)
    radius = 60.0
    wide = np.pad(image[..., 0], SIDE, mode="symmetric")
    at = np.arange(3 * SIDE) - (3 * SIDE - 1) / 2
    wide[np.hypot(at[:, None], at[None]) > radius] = 0
    mine = project(image, ANGLES, BINS, object_radius=radius)
    theirs = project(wide[..., None], ANGLES, BINS)
    # They differ where a ray leaves the circle: by a pixel or two of it.
    assert np.abs(mine - theirs).max() < 3
    assert np.abs(mine - theirs).mean() < 0.005 * theirs.mean()
    assert project(image, ANGLES, BINS).mean() < 0.7 * mine.mean()


def test_the_ramp_brings_a_disk_back() -> None:
    found = reconstruct(chords().astype(np.float32)[..., None], ANGLES, SIDE)[..., 0]
    away = np.hypot(Y - CENTER[0], X - CENTER[1])
    assert found[away < RADIUS - 2].mean() == pytest.approx(1, abs=0.003)
    assert found[away < RADIUS - 2].std() < 0.02
    assert abs(found[away > RADIUS + 2].mean()) < 0.003


@pytest.mark.parametrize("kind", FILTERS)
def test_every_filter_keeps_the_mean_and_the_later_ones_are_smoother(kind: str) -> None:
    found = reconstruct(chords().astype(np.float32)[..., None], ANGLES, SIDE, kind=kind)[..., 0]
    away = np.hypot(Y - CENTER[0], X - CENTER[1])
    assert found[away < RADIUS - 3].mean() == pytest.approx(1, abs=0.01)
    response = ramp_response(256, kind)
    assert response[-1] <= ramp_response(256, "ramp")[-1] * (1 if kind == "ramp" else 0.65)


def test_an_axis_taken_elsewhere_doubles_edges_and_the_right_one_does_not() -> None:
    shifted = chords()[:, :-2]  # the axis lies one bin right of this detector's middle
    errors = [
        np.abs(
            reconstruct(shifted.astype(np.float32)[..., None], ANGLES, SIDE, axis_shift=shift)[..., 0] - disk()
        ).mean()
        for shift in (0.0, 1.0)
    ]
    assert errors[1] < 0.015
    assert errors[0] > 3 * errors[1]


def test_projection_and_reconstruction_agree_with_scikit_image() -> None:
    transform = pytest.importorskip("skimage.transform", reason="scikit-image is the referee")
    # It turns about the pixel at side // 2, which is the middle of an odd side only, and the other way round.
    side, degrees = SIDE + 1, np.rad2deg(ANGLES)
    image = disk(side) + 2 * disk(side, 5.0, (-10.0, 8.0))
    mine = project(image[..., None], ANGLES, side)[..., 0]
    theirs = transform.radon(image[::-1].astype(float), degrees, circle=True).T
    np.testing.assert_allclose(mine.sum(1), theirs.sum(1), rtol=0.01)
    assert np.abs(mine - theirs).mean() < 0.01 * theirs.max()
    back = reconstruct(mine[..., None], ANGLES, side)[..., 0]
    judged = transform.iradon(theirs.T, degrees, filter_name="ramp", circle=True)[::-1]
    assert np.abs(back - judged)[12:-12, 12:-12].mean() < 0.02


def test_a_truncated_view_is_continued_not_cut() -> None:
    wide = 2 * np.sqrt(np.maximum(0, 80.0**2 - (np.arange(BINS) - (BINS - 1) / 2) ** 2))
    views = np.broadcast_to(wide, (100, BINS)).astype(np.float32)[..., None]
    cut, continued = (
        back_project(filter_views(views, "ramp", truncated=t), ANGLES, SIDE)[..., 0] for t in (False, True)
    )
    rim = (np.hypot(Y, X) > 26) & (np.hypot(Y, X) < 31)
    middle = np.hypot(Y, X) < 8
    assert cut[rim].mean() - cut[middle].mean() > 2 * abs(continued[rim].mean() - continued[middle].mean())


def test_an_unknown_filter_is_refused() -> None:
    with pytest.raises(InputError, match="the filter is butterworth; choose one of ramp"):
        ramp_response(64, "butterworth")

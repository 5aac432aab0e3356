"""Every effect of domain randomization does to the image what its field says, and nothing to the truth."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from ps3d_rt.core.arrays import Array
from ps3d_rt.errors import InputError
from ps3d_training.synth import NEUTRAL, SampleSpec, image_of, make_sample, random_spec
from ps3d_training.synth.packing import particle_diameters
from ps3d_training.synth.shapes import draw_stretch, make_grain

QUICK: dict[str, Any] = {"shape": (40, 40, 40), "particle_size_voxels": 12, "fill": 0.15, "spacers": 0.0}
SIDE = 64
STEP = 6500.0
"""Gray counts from air to resin."""
CLEAN = SampleSpec(
    **{"shape": (SIDE, SIDE, SIDE), "particle_size_voxels": 30, "phases": (2.0,), "phase_jitter": 0, "texture": 0},
    **{"inclusions": 0, "cracks": 0, "seam": 0, "spacers": 0, "bubbles": 0, "matrix_texture": 0, "blur_voxels": 0.6},
    **{"noise": 0, "noise_correlation_voxels": 0, "rings": 0, "cupping": 0, "streaks": 0},
)
"""Two gray values and a point spread function: contrast 1, so 6500 counts; matrix 9000, grains 15500."""


@cache
def ball() -> Array:
    """One ball of 32 voxels across in the middle, and four of 9 in a row beside each other at a corner."""
    z, y, x = np.ogrid[:SIDE, :SIDE, :SIDE]
    labels = np.where((z - 32) ** 2 + (y - 32) ** 2 + (x - 32) ** 2 < 16**2, 1, 0).astype(np.uint32)
    for index in range(4):
        labels[(z - 6) ** 2 + (y - 6) ** 2 + (x - 8 - 9 * index) ** 2 < 4.6**2] = index + 2
    labels.setflags(write=False)
    return labels


@cache
def seen(**effect: Any) -> Array:
    return image_of(ball(), replace(CLEAN, **effect)).astype(np.float64)


def depth() -> Array:
    """Distance from the large ball's surface, voxels, positive inside."""
    z, y, x = np.ogrid[:SIDE, :SIDE, :SIDE]
    return 16 - np.sqrt((z - 32.0) ** 2 + (y - 32.0) ** 2 + (x - 32.0) ** 2)


def shell(image: Array, low: float, high: float) -> float:
    return float(image[(depth() >= low) & (depth() < high)].mean())


def test_without_effects_matrix_and_grains_have_their_gray_values() -> None:
    assert shell(seen(), 4, 16) == pytest.approx(9000 + STEP, abs=2)
    assert shell(seen(), -6, -4) == pytest.approx(9000, abs=2)
    assert shell(seen(), -0.5, 0.5) == pytest.approx(9000 + STEP / 2, rel=0.1)


def test_a_matrix_of_air_is_as_dark_as_air_and_contrast_is_counted_from_it() -> None:
    assert shell(seen(matrix_gray=0.0), -6, -4) == pytest.approx(2500, abs=2)
    assert replace(CLEAN, matrix_gray=0.0).contrast == 2.0
    assert (seen(matrix_gray=0.0, noise=0.1) - seen(matrix_gray=0.0))[8:].std() == pytest.approx(0.2 * STEP, rel=0.1)


def test_hardening_makes_bright_rims_and_dark_surroundings() -> None:
    plain, hard = seen(), seen(hardening=0.2)
    rim, core = shell(hard, 2, 4), shell(hard, 11, 16)
    assert 0.08 * STEP < rim - core < 0.25 * STEP
    assert shell(hard, -4, -2) < shell(plain, -4, -2) - 0.05 * STEP
    assert core == pytest.approx(shell(plain, 11, 16), abs=0.1 * STEP)


def test_a_fringe_is_bright_inside_and_dark_outside_and_stays_at_the_surface() -> None:
    sharp = seen(fringe=1.0)
    assert 9000 - sharp.min() == pytest.approx(STEP / 8, rel=0.15)
    assert shell(sharp, 1, 2) > 9000 + STEP + 300
    assert shell(sharp, -2, -1) < 9000 - 300
    assert shell(sharp, 6, 16) == pytest.approx(9000 + STEP, abs=30)


def test_noise_can_depend_on_the_gray_value() -> None:
    deep, far = depth() > 3, (depth() < -3) & (ball() == 0)
    for share in (0.0, 1.0, -0.5):
        noise = seen(noise=0.05, noise_gray=share) - seen()
        assert noise[deep].std() / noise[far].std() == pytest.approx(1 + share, rel=0.12)


def test_mottle_is_as_strong_and_as_coarse_as_asked() -> None:
    fine, coarse = (seen(mottle=0.1, mottle_voxels=width) - seen() for width in (1.5, 5.0))
    for blotches in (fine, coarse):
        assert blotches.std() == pytest.approx(0.1 * STEP, rel=0.2)
    assert np.abs(np.diff(coarse)).mean() < 0.5 * np.abs(np.diff(fine)).mean()


def test_view_noise_runs_straight_through_a_slice() -> None:
    lines = seen(view_noise=0.1) - seen()
    assert lines.std() == pytest.approx(0.1 * STEP, rel=0.05)
    power = np.abs(np.fft.fftshift(np.fft.fft2(lines, axes=(1, 2)), axes=(1, 2))).mean(0) ** 2
    y, x = np.indices(power.shape) - SIDE // 2
    ring = (np.hypot(y, x) > 18) & (np.hypot(y, x) < 28)
    by_angle = [power[ring & ((np.degrees(np.arctan2(y, x)) % 180) // 3 == part)].mean() for part in range(60)]
    assert np.max(by_angle) > 2 * np.median(by_angle), "few directions hold most of the power"
    assert np.corrcoef(lines[20].ravel(), lines[21].ravel())[0, 1] < 0.1, "slices are reconstructed each on its own"


def test_a_gradient_rises_evenly_by_what_was_asked() -> None:
    rise = seen(gradient=0.4) - seen()
    assert rise.max() - rise.min() == pytest.approx(0.4 * STEP, rel=0.02)
    for axis in range(3):
        assert np.ptp(np.diff(rise, axis=axis)) <= 4, "a plane, but for rounding"


def test_eight_bits_leave_256_values_on_the_same_scale() -> None:
    full, few = seen(noise=0.1), seen(noise=0.1, bits=8)
    assert len(np.unique(full)) > 2000
    assert 200 < len(np.unique(few)) <= 256
    assert np.abs(few - full).max() <= 0.51 * np.ptp(full) / 255 + 1


def test_the_window_cuts_off_the_asked_share_at_either_end() -> None:
    cut = seen(noise=0.1, clipped=0.02)
    assert (cut == cut.min()).mean() == pytest.approx(0.02, rel=0.15)
    assert (cut == cut.max()).mean() == pytest.approx(0.02, rel=0.15)


def test_porous_grains_have_dark_pores_in_a_fifth_of_them() -> None:
    deep = depth() > 2
    holes = seen(porous=1.0, pore_voxels=2.0)[deep] < 9000 + 0.6 * STEP
    assert 0.08 < holes.mean() < 0.3
    matrix = ~ndimage.binary_dilation(ball() > 0, iterations=4)
    assert np.array_equal(seen(porous=1.0)[matrix], seen()[matrix]), "the matrix has none"
    wide = _pieces(seen(porous=1.0, pore_voxels=4.0) < 9000 + 0.6 * STEP, deep)
    assert wide < _pieces(seen(porous=1.0, pore_voxels=1.2) < 9000 + 0.6 * STEP, deep)


def _pieces(mask: Array, where: Array) -> int:
    return int(ndimage.label(mask & where)[1])


def test_debonding_lays_air_along_a_part_of_the_surface() -> None:
    beside = (depth() > -1.5) & (depth() < -0.5)
    films = [seen(seed=seed, debonding=1.0) - seen(seed=seed) for seed in range(6)]
    assert 0.2 < np.mean([film[beside] < -0.2 * STEP for film in films]) < 0.8
    away = ~ndimage.binary_dilation(ball() > 0, iterations=5)
    for film in films:
        assert np.abs(film[depth() > 4]).max() == 0
        assert np.abs(film[away]).max() < 0.03 * STEP
    few = [seen(seed=seed, debonding=0.3) - seen(seed=seed) for seed in range(6)]
    assert 0 < np.abs(few).sum() < 0.6 * np.abs(films).sum(), "a share of the grains only"


def test_dust_is_bright_small_and_of_the_asked_volume() -> None:
    image = image_of(np.zeros((SIDE,) * 3, np.uint32), replace(CLEAN, dust=0.01, blur_voxels=0.2)).astype(float)
    bright = image > 9000 + 0.5 * STEP
    assert bright.mean() == pytest.approx(0.01, rel=0.1)
    pieces, count = ndimage.label(bright)
    assert count > 400
    assert np.median(np.bincount(pieces.ravel())[1:]) <= 8


@pytest.mark.parametrize("spec", [replace(CLEAN, seam=0.0), replace(CLEAN, seam=1.0, seam_width_voxels=1.5)])
def test_a_seam_darkens_the_contacts_of_labels(spec: SampleSpec) -> None:
    image = image_of(ball(), spec).astype(float)
    contact, middle = image[6, 6, [12, 13, 21, 22, 30, 31]].mean(), image[6, 6, [8, 17, 26]].mean()
    assert (contact < middle - 0.2 * STEP) == (spec.seam > 0)


def test_an_off_centre_tube_shows_one_wall() -> None:
    spec = replace(CLEAN, container=True, container_radius=1.2, container_offset=0.9, particle_size_voxels=12)
    sample = make_sample(spec)
    assert sample.image[:, :, -4:].mean() < 3500, "air on the one side"
    assert sample.image[:, :, :6].min() > 8500, "resin on the other"
    wall_at = (SIDE - 1) / 2 + (1.2 - 0.9) * SIDE
    assert not sample.labels[:, :, int(wall_at) + 1 :].any()
    assert sample.labels[:, :, : int(wall_at) - 8].any()


def test_fines_take_their_share_of_the_volume() -> None:
    spec = replace(CLEAN, shape=(200, 200, 200), size_spread=0.15, fines=0.3, fines_size=0.35)
    diameters = particle_diameters(spec, np.random.default_rng(0), 3e6)
    fine = diameters < 0.6 * diameters.max()
    assert (diameters[fine] ** 3).sum() / (diameters**3).sum() == pytest.approx(0.3, abs=0.06)
    assert diameters[fine].mean() / diameters[~fine].mean() == pytest.approx(0.35, rel=0.1)


def test_flakes_are_flat_needles_long_and_both_keep_their_volume() -> None:
    box, middle = np.indices((72, 72, 72)).reshape(3, -1), np.full((3, 1), 35.5)
    ratios = {}
    for kind, shares in {"flakes": (1.0, 0.0), "needles": (0.0, 1.0), "neither": (0.0, 0.0)}.items():
        matrix = draw_stretch(np.random.default_rng(1), *shares)
        assert np.linalg.det(matrix) == pytest.approx(1)
        grain = make_grain(np.random.default_rng(5), 20.0, 0.8, 0.0).stretched(matrix)
        inside = box[:, grain.level((box - middle).astype(np.float32)) < 0] - middle
        assert np.cbrt(6 / np.pi * inside.shape[1]) == pytest.approx(20, rel=0.1)
        assert np.linalg.norm(inside, axis=0).max() < grain.reach
        ratios[kind] = np.sqrt(np.linalg.eigvalsh(np.cov(inside)))
    thin, middling, long = ratios["flakes"]
    assert middling / thin > 1.7
    assert long / middling < 1.3
    thin, middling, long = ratios["needles"]
    assert long / middling > 1.7
    assert middling / thin < 1.3
    assert ratios["neither"][2] / ratios["neither"][0] < 1.5


@pytest.mark.parametrize("spec", [random_spec(seed, **QUICK) for seed in (21, 24)])
def test_drawn_samples_are_the_same_again_and_gray_effects_leave_the_truth_alone(spec: SampleSpec) -> None:
    first, again = make_sample(spec), make_sample(spec)
    assert np.array_equal(first.image, again.image)
    shapes = {
        name: getattr(spec, name) for name in NEUTRAL if name.startswith(("fine", "flake", "needle", "container"))
    }
    plain = make_sample(replace(spec, **(NEUTRAL | shapes)))
    assert np.array_equal(first.labels, plain.labels)
    assert not np.array_equal(first.image, plain.image)


def test_one_effect_draws_nothing_that_another_one_uses() -> None:
    mottle = seen(mottle=0.1) - seen()
    assert np.abs((seen(mottle=0.1, gradient=0.2) - seen(gradient=0.2)) - mottle).max() <= 2


def test_old_seeds_draw_what_they_drew() -> None:
    """Fields of seed 1000 as release 0.1.0 drew them; what came later may not move them."""
    spec = random_spec(1000)
    assert (spec.phases, spec.particle_size_voxels, spec.shape) == ((1.973, 2.108, 2.319), 16.7913, (101, 101, 101))
    assert (spec.fill, spec.noise, spec.seam, spec.streaks) == (0.3319, 0.082, 0.5295, 0.1187)
    plain = random_spec(1000, **NEUTRAL)
    assert {name for name in SampleSpec.__dataclass_fields__ if getattr(spec, name) != getattr(plain, name)} <= set(
        NEUTRAL
    )
    assert replace(plain, **NEUTRAL) == plain


def test_every_new_field_is_drawn_on_and_off() -> None:
    specs = [random_spec(seed) for seed in range(60)]
    for name, neutral in NEUTRAL.items():
        drawn = {getattr(spec, name) for spec in specs}
        assert len(drawn) > 1, name
        assert neutral in drawn or name in {"fines_size", "pore_voxels", "mottle_voxels"}, name
    assert all(spec.matrix_gray >= 0.5 for spec in specs if spec.spacers)
    assert all(min(spec.phases) > spec.matrix_gray for spec in specs), "particles are brighter"


@pytest.mark.parametrize(
    "wrong",
    [{"flakes": 0.7, "needles": 0.7}, {"fines": 1.2}, {"fines_size": 0}, {"bits": 32}, {"clipped": 0.5}],
)
def test_impossible_effects_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        replace(CLEAN, **wrong)

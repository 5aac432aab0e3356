from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import fields, replace
from math import pi
from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.utils.random import RandomTransform

from ps3d_rt.core.arrays import Array
from ps3d_rt.errors import InputError
from ps3d_training.augment.presets import FAST, GENTLE, PRESETS, PUBLISHED, Augmentation, centre
from ps3d_training.augment.transforms import (
    BorderCoreOnly,
    TouchingParticles,
    read_size,
    training_transforms,
    validation_transforms,
)

SHARES = [field.name for field in fields(Augmentation) if field.type == "float"]
NONE = replace(PUBLISHED, mirror=False, gamma_inverted=(), **dict.fromkeys(SHARES, 0.0))
PATCH = (24, 24, 24)


def seeded(seed: int) -> None:
    np.random.seed(seed)
    torch.manual_seed(seed)


def apply(
    augmentation: Augmentation, image: Array, labels: Array | None = None, *, seed: int = 0
) -> tuple[Array, Array]:
    """Vary a patch of 24³; ``labels`` are zeros if not given."""
    seeded(seed)
    labels = np.zeros(image.shape) if labels is None else labels
    done = training_transforms(PATCH, None, augmentation)(
        image=torch.tensor(image[None], dtype=torch.float32),
        segmentation=torch.tensor(labels[None], dtype=torch.int16),
    )
    return done["image"][0].numpy(), done["segmentation"][0].numpy()


def textured(seed: int = 0, shape: tuple[int, int, int] = PATCH) -> Array:
    return np.random.default_rng(seed).normal(0.3, 1, shape).astype(np.float32)


def lopsided(shape: tuple[int, int, int]) -> Array:
    """A box away from the middle, all sides and distances different: every turn of it is another one."""
    labels = np.zeros(shape, np.int16)
    z, y, x = (side // 2 for side in shape)
    labels[z - 8 : z + 3, y - 4 : y + 6, x - 1 : x + 7] = 2
    labels[z - 6 : z + 1, y - 2 : y + 4, x + 1 : x + 5] = 1
    return labels


def test_without_any_variation_the_middle_is_passed_on() -> None:
    image, labels = textured(shape=(30, 24, 28)), lopsided((30, 24, 28))
    varied, target = apply(NONE, image, labels)
    middle = centre(image.shape, PATCH)
    assert middle == (slice(3, 27), slice(0, 24), slice(2, 26))
    assert np.array_equal(varied, image[middle])
    assert np.array_equal(target, labels[middle])


@pytest.mark.parametrize("change", [{"rotation": 1.0}, {"scaling": 1.0}, {"mirror": True}, {"transpose": True}])
def test_labels_move_with_the_image(change: dict[str, Any]) -> None:
    augmentation = replace(NONE, **change)
    shape = read_size(PATCH, augmentation)
    labels = lopsided(shape)
    moved = 0
    for seed in range(8):
        for label in (1, 2):
            image, target = apply(augmentation, (labels == label).astype(np.float32), labels, seed=seed)
            assert np.mean((image > 0.5) == (target == label)) > 0.995, "where classes meet, interpolation rounds"
            assert np.sum(target == label) > 50
        moved += not np.array_equal(target, labels[centre(shape, PATCH)])
    assert moved >= 5


def test_corners_are_there_when_a_patch_is_turned() -> None:
    for augmentation in (FAST, PUBLISHED):
        size = read_size(PATCH, augmentation)
        assert all((outer - inner) % 2 == 0 for outer, inner in zip(size, PATCH, strict=True))
        most = replace(NONE, rotation=1.0, rotation_range=(pi / 6, pi / 6))
        image, _ = apply(most, np.ones(size, np.float32))
        assert image.min() > 0.999
    assert read_size(PATCH, NONE) == PATCH
    assert read_size((128, 128, 128), PUBLISHED) == (250, 250, 250), "(cos 30° + sin 30°) / 0.7 times as many"


def differences(before: Array, after: Array) -> Array:
    return (after - before).astype(np.float64)


def is_noise(before: Array, after: Array) -> bool:
    added = differences(before, after)
    return (
        abs(added.mean()) < 0.02
        and 0 < added.var() <= 0.105
        and abs(np.corrcoef(added[:-1].flat, added[1:].flat)[0, 1]) < 0.05
    )


def is_smoother(before: Array, after: Array) -> bool:
    neighbours = np.corrcoef(after[:-1].flat, after[1:].flat)[0, 1]
    return 0.1 * before.std() < after.std() < 0.9 * before.std() and neighbours > 0.2


def is_brighter_or_darker(before: Array, after: Array) -> bool:
    factor = after / before
    return np.ptp(factor) < 1e-4 and 0.75 <= factor.mean() <= 1.25


def is_shifted(before: Array, after: Array) -> bool:
    return np.ptp(differences(before, after)) < 1e-5


def has_other_contrast(before: Array, after: Array) -> bool:
    centred = before - before.mean()
    inside = (after > before.min()) & (after < before.max()) & (abs(centred) > 0.1)
    factor = (after - before.mean())[inside] / centred[inside]
    return np.ptp(factor) < 1e-3 and 0.5 <= factor.mean() <= 2


def is_bent_with_its_statistics(before: Array, after: Array) -> bool:
    order = np.argsort(before, axis=None)
    return bool(
        np.all(np.diff(after.flat[order]) > -1e-5)
        and np.isclose(after.mean(), before.mean(), atol=1e-4)
        and np.isclose(after.std(), before.std(), atol=1e-4)
        and abs(differences(before, after)).max() > 1e-3
    )


def is_on_a_hill(before: Array, after: Array) -> bool:
    added = differences(before, after)
    added *= np.sign(added.mean())
    falls = [np.diff(added, axis=axis) < -1e-5 for axis in range(3)]
    rises = [np.diff(added, axis=axis) > 1e-5 for axis in range(3)]
    two_tops = any(
        np.any(np.maximum.accumulate(fall, axis=axis) & rise)
        for axis, (fall, rise) in enumerate(zip(falls, rises, strict=True))
    )
    return 0.999 < np.ptp(added) < 5.001 and added.min() > -1e-5 and not two_tops


def is_bent_somewhere(before: Array, after: Array) -> bool:
    return np.isclose(after.min(), before.min(), atol=1e-3) and np.isclose(after.max(), before.max(), atol=1e-3)


@pytest.mark.parametrize(
    ("change", "looks"),
    [
        ({"noise": 1.0}, is_noise),
        ({"blur": 1.0}, is_smoother),
        ({"brightness": 1.0}, is_brighter_or_darker),
        ({"shift": 1.0}, is_shifted),
        ({"contrast": 1.0}, has_other_contrast),
        ({"low_resolution": 1.0, "low_resolution_range": (0.5, 0.8)}, is_smoother),
        ({"gamma": 1.0}, is_bent_with_its_statistics),
        ({"gamma_inverted": (1.0,)}, is_bent_with_its_statistics),
        ({"gradient": 1.0}, is_on_a_hill),
        ({"local_gamma": 1.0}, is_bent_somewhere),
    ],
)
def test_a_gray_variation_does_what_its_name_says_and_leaves_labels(
    change: dict[str, Any], looks: Callable[[Array, Array], bool]
) -> None:
    labels = lopsided(PATCH)
    results = []
    for seed in range(6):
        before = textured(seed)
        after, target = apply(replace(NONE, **change), before, labels, seed=seed)
        assert looks(before, after), seed
        assert not np.array_equal(before, after)
        assert np.array_equal(target, labels)
        results.append(abs(differences(before, after)).mean())
    assert len(set(results)) == 6, "every patch is varied anew"


def test_shift_and_hill_go_both_ways() -> None:
    image = textured()
    shifts = [differences(image, apply(replace(NONE, shift=1.0), image, seed=seed)[0]).mean() for seed in range(200)]
    assert np.mean(shifts) == pytest.approx(0, abs=0.1)
    assert np.std(shifts) == pytest.approx(0.5, rel=0.15)
    signs = {
        np.sign(differences(image, apply(replace(NONE, gradient=1.0), image, seed=i)[0]).mean()) for i in range(12)
    }
    assert signs == {-1, 1}


def test_contrast_keeps_the_range_every_other_time() -> None:
    image = textured()
    wider = [apply(replace(NONE, contrast=1.0), image, seed=seed)[0].max() > image.max() for seed in range(80)]
    assert 8 < sum(wider) < 32, "half of the factors are above 1, and half of those keep the range"


def test_gamma_on_the_inverted_image_bends_the_other_end() -> None:
    image = np.linspace(0, 1, 24**3).reshape(PATCH).astype(np.float32)
    strong = {"gamma_range": (1.5, 1.5)}
    plain, _ = apply(replace(NONE, gamma=1.0, **strong), image)
    inverted, _ = apply(replace(NONE, gamma_inverted=(1.0,), **strong), image)
    assert np.allclose(inverted, 1 - plain[::-1, ::-1, ::-1], atol=1e-3)
    twice, _ = apply(replace(NONE, gamma_inverted=(1.0, 1.0), **strong), image)
    assert abs(twice - image).max() > 1.5 * abs(inverted - image).max()


def test_the_published_numbers_are_what_runs() -> None:
    transforms = training_transforms(PATCH, None, replace(PUBLISHED, touching=0.0)).transforms
    spatial, shares = transforms[0], [t for t in transforms if isinstance(t, RandomTransform)]
    assert (spatial.p_rotation, spatial.p_scaling, spatial.scaling) == (0.2, 0.2, (0.7, 1.4))
    assert np.allclose(np.degrees(spatial.rotation), (-30, 30))
    assert [(type(t.transform).__name__, pytest.approx(t.apply_probability)) for t in shares] == [
        ("GaussianNoiseTransform", 0.1),
        ("GaussianBlurTransform", 0.1),
        ("MultiplicativeBrightnessTransform", 0.15),
        ("BrightnessAdditiveTransform", 0.05),
        ("OneOfTwo", 0.1),
        ("SimulateLowResolutionTransform", 0.125),
        ("GammaTransform", 0.1),
        ("GammaTransform", 0.1),
        ("BrightnessGradientAdditiveTransform", 0.15),
        ("LocalGammaTransform", 0.15),
    ]
    noise, blur, brightness, shift, contrast, low, gamma, _, hill, spot = (t.transform for t in shares)
    assert (noise.noise_variance, blur.blur_sigma, low.scale) == ((0, 0.1), (0.5, 1.0), (0.5, 1.0))
    assert (shift.mu, shift.sigma, gamma.p_invert_image, gamma.p_retain_stats) == (0, 0.5, 1, 1)
    assert [choice.preserve_range for choice in contrast.choices] == [True, False]
    seeded(0)
    drawn = {
        (0.75, 1.25): brightness.multiplier_range,
        (0.5, 2.0): contrast.choices[0].contrast_range,
        (0.7, 1.5): gamma.gamma,
        (20, 120): lambda: hill.scale((60, 120, 240), 1),
        (10, 60): lambda: spot.scale((60, 120, 240), 0),
    }
    for (low_end, high_end), draw in drawn.items():
        values = [draw() for _ in range(400)]
        assert low_end <= min(values) < low_end * 1.1
        assert high_end * 0.9 < max(values) <= high_end
    for draw, gap in ((hill.max_strength, (-1, 1)), (spot.gamma, (0.8, 1.5))):
        values = np.array([draw() for _ in range(400)])
        assert not np.any((values > gap[0]) & (values < gap[1]))
        assert 0.4 < np.mean(values > gap[0]) < 0.6
    assert (hill.loc, spot.loc, hill.mean_centered) == ((-0.5, 1.5), (-0.5, 1.5), False)


def test_presets_are_named_and_the_fast_one_needs_no_instances() -> None:
    assert PRESETS == {"fast": FAST, "gentle": GENTLE, "published": PUBLISHED}
    assert PUBLISHED.touching == 1
    transforms = training_transforms(PATCH, None, FAST).transforms
    assert (transforms[0].p_rotation, transforms[0].p_scaling, transforms[0].scaling) == (0.2, 0.3, (0.8, 1.25))
    shares = [t.apply_probability for t in transforms if isinstance(t, RandomTransform)]
    assert shares == pytest.approx([0.15, 0.15, 0.15, 0.1, 0.2, 0.125, 0.1, 0.3, 0.1])
    image, labels = textured(shape=(30, 30, 30)), lopsided((30, 30, 30))
    assert not np.array_equal(apply(FAST, image, labels, seed=1)[0], image[3:27, 3:27, 3:27])
    with pytest.raises(InputError, match="no particles are given"):
        training_transforms(PATCH, None, PUBLISHED)


def test_touching_comes_first_and_the_network_gets_one_channel() -> None:
    order = training_transforms(PATCH, [[1, 1, 1], [0.5, 0.5, 0.5]], PUBLISHED, bank=object()).transforms
    assert isinstance(order[0].transform, TouchingParticles)
    assert isinstance(order[1], BorderCoreOnly)
    seldom = training_transforms(PATCH, [[1, 1, 1], [0.5, 0.5, 0.5]], NONE, bank=object())
    done = seldom(image=torch.zeros(1, *PATCH), segmentation=torch.ones(2, *PATCH, dtype=torch.int16))
    assert [target.shape for target in done["segmentation"]] == [(1, 24, 24, 24), (1, 12, 12, 12)]


@pytest.mark.parametrize("change", [{"noise": 1.1}, {"touching": -0.1}, {"gamma_inverted": (0.1, 2.0)}])
def test_a_share_is_between_0_and_1(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(change))} is .*0 to 1"):
        replace(PUBLISHED, **change)


def test_voxels_outside_the_volume_become_background() -> None:
    image, labels = textured(), np.where(np.arange(24) < 3, -1, 1) * np.ones(PATCH)
    both = np.stack([labels, labels * 7])
    for transforms, given in (
        (training_transforms(PATCH, None, NONE), labels[None]),
        (validation_transforms(None), labels[None]),
        (validation_transforms(None), both),
    ):
        done = transforms(image=torch.tensor(image[None]), segmentation=torch.tensor(given, dtype=torch.int16))
        assert np.array_equal(done["segmentation"], np.maximum(labels, 0)[None])


def test_workers_can_be_sent_the_transforms() -> None:
    sent = pickle.loads(pickle.dumps(training_transforms(PATCH, None, replace(PUBLISHED, touching=0.0))))
    seeded(3)
    image = torch.tensor(textured(shape=(46, 46, 46))[None])
    labels = torch.zeros(1, 46, 46, 46, dtype=torch.int16)
    assert sent(image=image, segmentation=labels)["image"].shape == (1, *PATCH)


def test_gentle_keeps_how_bright_a_body_is_against_the_others() -> None:
    """A spacer of a third of the contrast stays far from it; with the fast preset some reach it."""
    image = np.zeros(PATCH, np.float32)
    image[:, :, 8:16], image[:, :, 16:] = 0.6, 2.0  # matrix, spacer, particle
    still = {"rotation": 0.0, "scaling": 0.0, "mirror": False, "transpose": False, "noise": 0.0, "gradient": 0.0}

    def brightest_spacer(preset: Augmentation) -> float:
        varied = (apply(replace(preset, **still), image, seed=seed)[0] for seed in range(150))
        return max(np.median(patch[:, :, 11:13]) - np.median(patch[:, :, 3:5]) for patch in varied)

    assert brightest_spacer(GENTLE) < 1 < brightest_spacer(FAST)

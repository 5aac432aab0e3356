"""From a preset to nnU-Net v2's transforms, in the published order.

Particles have no up and no grain direction, so axes are mirrored, and swapped where asked, freely. Gray values vary
because scanners differ in noise, sharpness, brightness, contrast, resolution and the evenness of their light.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.intensity.brightness import (
    BrightnessAdditiveTransform,
    MultiplicativeBrightnessTransform,
)
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.local.brightness_gradient import BrightnessGradientAdditiveTransform
from batchgeneratorsv2.transforms.local.local_gamma import LocalGammaTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.spatial.transpose import TransposeAxesTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTansform
from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size

from ps3d_rt.core.grid import Zyx
from ps3d_rt.errors import InputError
from ps3d_training.augment.bank import ParticleBank
from ps3d_training.augment.presets import AXES, FAST, Augmentation, Range, centre
from ps3d_training.augment.touching import push_against
from ps3d_training.weights import voxel_weights


def read_size(patch: Zyx, augmentation: Augmentation) -> Zyx:
    """Voxels to read for a patch: more than it has, so that it has corners when it is turned."""
    turn = augmentation.rotation_range if augmentation.rotation else (0, 0)
    scale = augmentation.scaling_range if augmentation.scaling else (1, 1)
    turned = get_patch_size(patch, turn, turn, turn, scale)
    # An even difference, so that the inner patch lies in the middle to the voxel.
    z, y, x = (int(outer + (outer - inner) % 2) for outer, inner in zip(turned, patch, strict=True))
    return z, y, x


def training_transforms(
    patch: Zyx,
    scales: list[list[float]] | None,
    augmentation: Augmentation = FAST,
    bank: ParticleBank | None = None,
    weigh_for: float | None = None,
) -> BasicTransform:
    """Everything that happens to a patch between the disk and the network.

    Args:
        patch: voxels z, y, x that the network gets; what comes in has :func:`read_size`.
        scales: of the coarser targets, for deep supervision; None without.
        augmentation: what happens how often.
        bank: particles to push against those of the patch; given, patches come with their instances.
        weigh_for: target size in voxels; given, the weights of :func:`ps3d_training.weights.voxel_weights` follow the
            classes as a second channel, 0 outside the volume.

    Returns:
        A transform of ``image`` (1, z, y, x) float32 and ``segmentation`` int16, −1 outside the volume:
        (1, z, y, x) border-core, or (2, z, y, x) border-core and instances.

    Raises:
        InputError: if touching particles or weights are wanted and there is no bank.
    """
    if (augmentation.touching or weigh_for) and bank is None:
        raise InputError(
            "touching particles or weights are wanted, but no particles are given. Switch them off, or pass particles."
        )
    transforms: list[BasicTransform] = []
    if bank is not None:
        transforms.append(RandomTransform(TouchingParticles(bank, patch), apply_probability=augmentation.touching))
        # Before the patch is turned: turning costs a pass a label, and weights are few.
        transforms.append(BorderCoreOnly() if weigh_for is None else Weights(weigh_for))
    transforms.append(_spatial(patch, augmentation))
    if augmentation.mirror:
        transforms.append(MirrorTransform(allowed_axes=AXES))
    if augmentation.transpose and len(set(patch)) == 1:
        transforms.append(TransposeAxesTransform(AXES))
    transforms += [
        RandomTransform(transform, apply_probability=share)
        for share, transform in _gray_transforms(augmentation)
        if share > 0
    ]
    return ComposeTransforms([*transforms, *_finish(scales)])


def validation_transforms(scales: list[list[float]] | None) -> BasicTransform:
    """Take a validation patch as it is; instances, if it comes with them, are left out."""
    return ComposeTransforms([BorderCoreOnly(), *_finish(scales)])


def _finish(scales: list[list[float]] | None) -> list[BasicTransform]:
    outside: list[BasicTransform] = [RemoveLabelTansform(-1, 0)]
    return outside if scales is None else [*outside, DownsampleSegForDSTransform(ds_scales=scales)]


def _spatial(patch: Zyx, augmentation: Augmentation) -> BasicTransform:
    return SpatialTransform(
        patch,
        patch_center_dist_from_border=0,
        random_crop=False,
        p_rotation=augmentation.rotation,
        rotation=augmentation.rotation_range,
        p_scaling=augmentation.scaling,
        scaling=augmentation.scaling_range,
        p_synchronize_scaling_across_axes=1,
        border_mode_seg="constant",
        padding_value_seg=-1,
    )


def _gray_transforms(a: Augmentation) -> list[tuple[float, BasicTransform]]:
    """List transforms of the gray values, each after the share of patches that it changes."""
    one: dict[str, Any] = {"synchronize_channels": True, "p_per_channel": 1}
    local: dict[str, Any] = {"scale": SidesLogUniform(a.local_scale), "loc": a.local_place}
    gamma, contrast = BGContrast(a.gamma_range), BGContrast(a.contrast_range)
    low, high = a.gradient_strength
    inverted = GammaTransform(gamma=gamma, p_invert_image=1, p_retain_stats=1, **one)
    return [
        (a.noise, GaussianNoiseTransform(noise_variance=a.noise_deviation, **one)),
        (a.blur, GaussianBlurTransform(blur_sigma=a.blur_sigma, synchronize_axes=True, **one)),
        (a.brightness, MultiplicativeBrightnessTransform(multiplier_range=BGContrast(a.brightness_range), **one)),
        # Synchronized channels would draw from 0..sigma evenly, not from a normal distribution.
        (a.shift, BrightnessAdditiveTransform(*a.shift_normal, synchronize_channels=False)),
        (a.contrast, OneOfTwo(*(ContrastTransform(contrast, preserve_range=keep, **one) for keep in (True, False)))),
        (
            a.low_resolution,
            SimulateLowResolutionTransform(
                scale=a.low_resolution_range, synchronize_axes=True, ignore_axes=None, **one
            ),
        ),
        *((share, inverted) for share in a.gamma_inverted),
        (a.gamma, GammaTransform(gamma=gamma, p_invert_image=0, p_retain_stats=1, **one)),
        (
            a.gradient,
            BrightnessGradientAdditiveTransform(
                max_strength=OneOfRanges(((-high, -low), (low, high))), mean_centered=False, **local
            ),
        ),
        (a.local_gamma, LocalGammaTransform(gamma=OneOfRanges(a.local_gamma_ranges), **local)),
    ]


class TouchingParticles(BasicTransform):
    """A stored particle of the training set is pushed against a particle of the patch."""

    def __init__(self, bank: ParticleBank, patch: Zyx) -> None:
        super().__init__()
        self.bank, self.patch = bank, patch

    def apply(self, data_dict: dict[str, Any], **params: Any) -> dict[str, Any]:
        """Change image, border-core and instances in place."""
        image, labels = data_dict["image"][0].numpy(), data_dict["segmentation"].numpy()
        push_against(
            image,
            labels[0],
            labels[1],
            self.bank.draw(),
            middle=centre(image.shape, self.patch),
            thickness_voxels=self.bank.border_thickness_voxels,
        )
        return data_dict


class BorderCoreOnly(BasicTransform):
    """The instances have served; the network learns border and core."""

    def apply(self, data_dict: dict[str, Any], **params: Any) -> dict[str, Any]:
        """Drop all channels of the segmentation but the first."""
        return data_dict | {"segmentation": data_dict["segmentation"][:1]}


class Weights(BasicTransform):
    """The instances become weights of voxels."""

    def __init__(self, target_size_voxels: float) -> None:
        super().__init__()
        self.target_size_voxels = target_size_voxels

    def apply(self, data_dict: dict[str, Any], **params: Any) -> dict[str, Any]:
        """Replace the second channel of the segmentation."""
        classes, instances = data_dict["segmentation"]
        weights = torch.from_numpy(voxel_weights(instances.numpy(), self.target_size_voxels))
        return data_dict | {"segmentation": torch.stack([classes, weights])}


class OneOfTwo(BasicTransform):
    """One of two transforms, equally often."""

    def __init__(self, first: BasicTransform, second: BasicTransform) -> None:
        super().__init__()
        self.choices = (first, second)

    def apply(self, data_dict: dict[str, Any], **params: Any) -> dict[str, Any]:
        """Call the one that is drawn."""
        changed: dict[str, Any] = self.choices[int(torch.rand(1).item() < 0.5)](**data_dict)
        return changed


@dataclass(frozen=True)
class SidesLogUniform:
    """A length, log-uniform between two multiples of the side along its axis. A class: workers are sent it."""

    sides: Range

    def __call__(self, shape: tuple[int, ...], axis: int) -> float:
        """Draw one for ``axis`` of ``shape``."""
        return float(np.exp(np.random.uniform(*np.log(self.sides))) * shape[axis])


@dataclass(frozen=True)
class OneOfRanges:
    """A number from one of two ranges, equally often."""

    ranges: tuple[Range, Range]

    def __call__(self, *_: Any) -> float:
        """Draw one, whatever it is for."""
        return float(np.random.uniform(*self.ranges[np.random.randint(2)]))

"""How a training patch is varied: nnU-Net v2's transforms, kept cheap enough for a CPU.

Particles have no up and no grain direction, so axes are swapped and mirrored freely (exact and almost free), and only
a share of the patches is interpolated. Gray values vary as in nnU-Net: noise, blur, brightness, contrast, resolution
and gamma, because scanners differ in all of them.
"""

from __future__ import annotations

from math import pi
from typing import Any

from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.intensity.brightness import (
    BrightnessAdditiveTransform,
    MultiplicativeBrightnessTransform,
)
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.spatial.transpose import TransposeAxesTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTansform

from ps3d_rt.core.grid import Zyx

ROTATION = (-pi / 6, pi / 6)
SCALING = (0.8, 1.25)
AXES = (0, 1, 2)


def training_transforms(patch: Zyx, scales: list[list[float]] | None) -> BasicTransform:
    """Everything that happens to a patch between the disk and the network.

    Args:
        patch: voxels z, y, x that the network gets; what comes in is larger, to have corners when it is turned.
        scales: of the coarser targets, for deep supervision; None without.

    Returns:
        A transform of ``image`` (1, z, y, x) float32 and ``segmentation`` (1, z, y, x) int16, −1 outside the volume.
    """
    transforms: list[BasicTransform] = [
        SpatialTransform(
            patch,
            patch_center_dist_from_border=0,
            random_crop=False,
            p_rotation=0.2,
            rotation=ROTATION,
            p_scaling=0.3,
            scaling=SCALING,
            p_synchronize_scaling_across_axes=1,
            border_mode_seg="constant",
            padding_value_seg=-1,
        ),
        MirrorTransform(allowed_axes=AXES),
    ]
    if len(set(patch)) == 1:
        transforms.append(TransposeAxesTransform(AXES))
    transforms += [RandomTransform(transform, apply_probability=share) for transform, share in _gray_transforms()]
    transforms.append(RemoveLabelTansform(-1, 0))
    if scales is not None:
        transforms.append(DownsampleSegForDSTransform(ds_scales=scales))
    return ComposeTransforms(transforms)


def validation_transforms(scales: list[list[float]] | None) -> BasicTransform:
    """Take a validation patch as it is."""
    transforms: list[BasicTransform] = [RemoveLabelTansform(-1, 0)]
    if scales is not None:
        transforms.append(DownsampleSegForDSTransform(ds_scales=scales))
    return ComposeTransforms(transforms)


def _gray_transforms() -> list[tuple[Any, float]]:
    """List transforms of the gray values and the share of patches each one changes; the numbers are nnU-Net's."""
    one = {"synchronize_channels": True, "p_per_channel": 1}
    return [
        (GaussianNoiseTransform(noise_variance=(0, 0.1), **one), 0.1),
        (GaussianBlurTransform(blur_sigma=(0.5, 1.0), synchronize_axes=True, **one), 0.1),
        (MultiplicativeBrightnessTransform(multiplier_range=BGContrast((0.75, 1.25)), **one), 0.15),
        (BrightnessAdditiveTransform(mu=0, sigma=0.5, **one), 0.1),
        (ContrastTransform(contrast_range=BGContrast((0.5, 2.0)), preserve_range=False, **one), 0.1),
        (ContrastTransform(contrast_range=BGContrast((0.5, 2.0)), preserve_range=True, **one), 0.1),
        (SimulateLowResolutionTransform(scale=(0.5, 1), synchronize_axes=True, ignore_axes=None, **one), 0.125),
        (GammaTransform(gamma=BGContrast((0.7, 1.5)), p_invert_image=1, p_retain_stats=1, **one), 0.1),
        (GammaTransform(gamma=BGContrast((0.7, 1.5)), p_invert_image=0, p_retain_stats=1, **one), 0.3),
    ]

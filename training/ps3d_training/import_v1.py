"""Models of nnU-Net v1, such as the published ParticleSeg3D: weights into the network they belong to.

The files name every layer, so the sizes of the network are those of its weights; the plans only have to agree::

    conv_blocks_context.S.blocks.I.conv|instnorm      encoder stage S; its first convolution strides
    conv_blocks_context.N.0|1.blocks.I. …             the deepest stage
    tu.U                                              upsampling U, deepest first; its kernel is its stride
    conv_blocks_localization.U.0|1.blocks.I. …        convolutions after it
    seg_outputs.U                                     scores at that resolution; the last are those of the patch
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from math import prod
from pathlib import Path
from typing import cast

import torch
from torch import nn
from torch.nn import functional

from ps3d_rt.core.grid import Zyx
from ps3d_rt.errors import InputError
from ps3d_training.safe_pickle import read_pickle, read_torch
from ps3d_training.trained_model import Normalization, TrainedModel, check_axes, find_checkpoints, patch_from

PLANS = "plans.pkl"
CHECKPOINTS = ("model_best.model", "model_final_checkpoint.model")
PUBLISHED = Normalization(
    target_size_voxels=60.0, border_thickness_voxels=3.0, gray=(5850.29762143569, 7078.294543817302)
)
"""Of the published training set. Source: ParticleSeg3D, commit 1df85bb."""
Weights = Mapping[str, torch.Tensor]
Kernels = list[list[int]]


def read_folder(folder: Path, folds: Sequence[str] | None) -> TrainedModel:
    """Read the plans and find the weights; no network is built yet.

    Raises:
        InputError: if the plans are not those of a 3-D network of nnU-Net v1, or a fold is missing.
    """
    checkpoints = find_checkpoints(folder, CHECKPOINTS, folds)
    plans = read_pickle(folder / PLANS)
    try:
        stage = plans["plans_per_stage"][max(plans["plans_per_stage"])]
        patch = patch_from(stage["patch_size"], folder / PLANS)
        strides, kernels = (
            [[int(side) for side in sides] for sides in stage[key]]
            for key in ("pool_op_kernel_sizes", "conv_kernel_sizes")
        )
        check_axes(plans.get("transpose_forward", (0, 1, 2)), folder / PLANS)
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{folder / PLANS} is not a plan of nnU-Net v1 ({error!r}).") from error
    trainers = sorted({name for path in checkpoints.values() if (name := _trainer(path))})
    mirrored = not any("nomirror" in name.lower().replace("_", "") for name in trainers)
    if any(side % prod(step) for side, step in zip(patch, zip(*strides, strict=True), strict=True)):
        raise InputError(f"{folder / PLANS} plans patches of {patch}, which poolings by {strides} do not divide.")
    return TrainedModel(
        patch=patch,
        checkpoints=checkpoints,
        load=partial(load_network, strides=strides, kernels=kernels),
        mirror_axes=(0, 1, 2) if mirrored else (),
        provenance={"imported_from": "nnU-Net v1", "folder": folder.name, "trainers": trainers},
        normalization=PUBLISHED,
    )


def _trainer(checkpoint: Path) -> str | None:
    """Name the trainer that wrote a checkpoint; None if the file that says so is not there."""
    beside = checkpoint.with_name(f"{checkpoint.name}.pkl")
    if not beside.is_file():
        return None
    content = read_pickle(beside)
    return str(content.get("name")) if isinstance(content, dict) else None


def load_network(checkpoint: Path, *, strides: Kernels, kernels: Kernels) -> nn.Module:
    """Build the network of a checkpoint: patches → scores of the patch's resolution, before the softmax.

    Args:
        checkpoint: file that holds ``state_dict``.
        strides: of the encoder stages after the first, as planned.
        kernels: of the encoder stages, as planned.

    Raises:
        InputError: if the weights are not those of such a network with one input and three classes.
    """
    content = read_torch(checkpoint)
    try:
        weights = {name.removeprefix("module."): value for name, value in content["state_dict"].items()}
        network = UNet(weights)
        network.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InputError(f"{checkpoint} does not hold the weights of a plain U-Net of nnU-Net v1: {error}") from error
    inputs, classes = network.first.in_channels, cast(nn.Conv3d, network.seg_outputs[-1]).out_channels
    if (inputs, classes) != (1, 3):
        raise InputError(
            f"{checkpoint} takes {inputs} images and knows {classes} classes; ps3d-rt runs networks with one image "
            "and the classes background, core, border."
        )
    found = [list(layer.kernel_size) for layer in network.first_of_stages]
    if network.strides != strides or found != kernels:
        raise InputError(
            f"{checkpoint} was not trained with the {PLANS} of its folder: it has kernels {found} and poolings "
            f"{network.strides}, planned are {kernels} and {strides}. Take both from one training."
        )
    return network.eval()


class UNet(nn.Module):
    """The network of nnU-Net v1; its modules bear the names in the files."""

    def __init__(self, weights: Weights) -> None:
        """Lay out the layers for ``weights``, which are loaded afterwards.

        Raises:
            KeyError, ValueError: if layers are missing, or kernels have other sides than 1 and 3.
        """
        super().__init__()
        up = list(_numbered(weights, "tu.{}.weight"))
        self.strides: Kernels = [list(weight.shape[2:]) for weight in reversed(up)]
        """Of the encoder stages after the first, finest first."""
        stages = [[1, 1, 1], *self.strides]
        deepest = f"conv_blocks_context.{len(up)}"
        self.conv_blocks_context = nn.ModuleList(
            _Blocks(weights, f"conv_blocks_context.{s}", stride) for s, stride in enumerate(stages[:-1])
        )
        self.conv_blocks_context.append(
            nn.Sequential(_Blocks(weights, f"{deepest}.0", stages[-1]), _Blocks(weights, f"{deepest}.1"))
        )
        self.tu = nn.ModuleList(map(_upsampling, up))
        self.conv_blocks_localization = nn.ModuleList(
            nn.Sequential(*(_Blocks(weights, f"conv_blocks_localization.{u}.{half}") for half in (0, 1)))
            for u in range(len(up))
        )
        self.seg_outputs = nn.ModuleList(
            nn.Conv3d(weight.shape[1], weight.shape[0], 1, bias=False)
            for weight in _numbered(weights, "seg_outputs.{}.weight")
        )
        if len(self.seg_outputs) != len(up):
            raise ValueError(f"{len(self.seg_outputs)} seg_outputs for {len(up)} resolutions")

    @property
    def first_of_stages(self) -> list[nn.Conv3d]:
        """The first convolution of every encoder stage, finest first."""
        *stages, deepest = self.conv_blocks_context
        finest_first = (*stages, cast(nn.Sequential, deepest)[0])
        return [cast(_Blocks, stage).first for stage in finest_first]

    @property
    def first(self) -> nn.Conv3d:
        """The convolution that the patch enters."""
        return self.first_of_stages[0]

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Score patches, (B, 1, z, y, x) → (B, 3, z, y, x), before the softmax."""
        *stages, deepest = self.conv_blocks_context
        x, skips = patches, []
        for stage in stages:
            x = stage(x)
            skips.append(x)
        x = deepest(x)
        for up, merge, skip in zip(self.tu, self.conv_blocks_localization, reversed(skips), strict=True):
            x = merge(torch.cat((up(x), skip), dim=1))
        scores: torch.Tensor = self.seg_outputs[-1](x)
        return scores


def _upsampling(weight: torch.Tensor) -> nn.ConvTranspose3d:
    inputs, features, *kernel = weight.shape
    side = cast(Zyx, tuple(kernel))
    return nn.ConvTranspose3d(inputs, features, side, side, bias=False)


class _Blocks(nn.Module):
    """Convolutions in a row; the first one strides."""

    def __init__(self, weights: Weights, name: str, stride: Sequence[int] = (1, 1, 1)) -> None:
        super().__init__()
        found = list(_numbered(weights, f"{name}.blocks.{{}}.conv.weight"))
        if not found:
            raise KeyError(f"{name}.blocks.0.conv.weight")
        self.blocks = nn.Sequential(
            *(_Block(weight.shape, (1, 1, 1) if i else stride) for i, weight in enumerate(found))
        )

    @property
    def first(self) -> nn.Conv3d:
        """The convolution that strides."""
        return cast(_Block, self.blocks[0]).conv

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks(x)  # type: ignore[no-any-return]


class _Block(nn.Module):
    """Convolution, normalization, leaky ReLU."""

    def __init__(self, shape: Sequence[int], stride: Sequence[int]) -> None:
        super().__init__()
        features, inputs, *kernel = shape
        if not set(kernel) <= {1, 3}:
            raise ValueError(f"a convolution of {kernel}; nnU-Net v1 has sides 1 and 3")
        padding = [side // 2 for side in kernel]
        sides, steps, around = (cast(Zyx, tuple(numbers)) for numbers in (kernel, stride, padding))
        self.conv = nn.Conv3d(inputs, features, sides, steps, around)
        self.instnorm = nn.InstanceNorm3d(features, eps=1e-5, affine=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.leaky_relu(self.instnorm(self.conv(x)), 0.01)


def _numbered(weights: Weights, pattern: str) -> Iterator[torch.Tensor]:
    """Give the weights named ``pattern`` with 0, 1, 2, … in it, as far as they go."""
    number = 0
    while pattern.format(number) in weights:
        yield weights[pattern.format(number)]
        number += 1

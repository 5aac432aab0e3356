"""What is trained: the size of the grains, the patch and the network. Chosen here, not by nnU-Net's planner.

nnU-Net's planner fills the memory of a GPU. Ours keeps the network small enough for a plain CPU: a particle of 24
voxels across in a patch of 48, where the published method has 60 in 128.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ps3d_rt.core.grid import Zyx
from ps3d_rt.errors import InputError
from ps3d_rt.io.read_errors import words_of
from ps3d_rt.model import CLASS_NAMES

DATASET_NAME = "Dataset001_particles"
"""nnU-Net wants a number in the name; one prepared folder holds one dataset."""
CONFIGURATION = "3d_fullres"
PLANS_NAME = "ps3dPlans"
LABELS = {name: value for value, name in enumerate(CLASS_NAMES)}
IGNORE = len(LABELS)
"""In the place of a class: nobody has labelled the voxel, and the loss leaves it out."""
GRAY_SCHEMES = ("volume", "embedding")
GRAY_FLOOR = -1.5
"""Of ``train prepare``. Around grains that fill two thirds of a volume the matrix lies at −1.4; darker is air."""
GRAY_CEILING = 2.5
"""Of ``train prepare``; decision 0016."""
NORMS = {
    "instance": "torch.nn.modules.instancenorm.InstanceNorm3d",
    "batch": "torch.nn.modules.batchnorm.BatchNorm3d",
}
"""What stands between a convolution and its activation."""


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """Everything a checkpoint depends on, besides its weights."""

    target_size_voxels: float = 24.0
    """Mean particle diameter after size normalization."""
    border_thickness_voxels: float = 2.5
    """How far the core lies inside the particle, on the normalized grid."""
    gray_scheme: str = "volume"
    """``volume`` or ``embedding``: how gray values become what the network sees; inference does the same."""
    gray_floor: float | None = None
    """Value on that scale that darker voxels are raised to; inference does the same."""
    gray_ceiling: float | None = None
    """Standard deviations above the mean that gray values are lowered to; inference does the same. ``volume`` only."""
    lowpass: bool = True
    """Whether shrinking by more than 1.5 smooths first; inference does the same."""
    patch: Zyx = (48, 48, 48)
    """Voxels z, y, x of a training sample. Inference may use another one: the network is fully convolutional."""
    width: int = 16
    """Features of the first stage; they double with every stage, up to 320."""
    stages: int = 4
    """Resolutions, full one included. A patch side is a multiple of 2 ** (stages - 1)."""
    batch: int = 2
    """Patches a step."""
    deep_supervision: bool = False
    """Also train the coarser outputs. With four stages it buys too little for its time."""
    norm: str = "instance"
    """``instance`` or ``batch``. Once trained, batch is a constant, which an engine folds into the convolution."""

    def __post_init__(self) -> None:
        if self.target_size_voxels <= 0 or self.border_thickness_voxels <= 0:
            raise InputError(
                f"target size {self.target_size_voxels} and border thickness {self.border_thickness_voxels} "
                f"are voxels and must be above 0."
            )
        if self.gray_scheme not in GRAY_SCHEMES:
            raise InputError(f"gray scheme is {self.gray_scheme!r}; it is {' or '.join(GRAY_SCHEMES)}.")
        if self.norm not in NORMS:
            raise InputError(f"norm is {self.norm!r}; it is {' or '.join(NORMS)}.")
        if min(self.width, self.stages, self.batch) < 1:
            raise InputError(f"width {self.width}, stages {self.stages} and batch {self.batch} must be at least 1.")
        check_patch(self.patch, self.stages)

    @property
    def features(self) -> list[int]:
        """Features of every stage, finest first."""
        return [min(320, self.width * 2**stage) for stage in range(self.stages)]


def check_patch(patch: Zyx, stages: int) -> None:
    """Refuse a patch that the network cannot halve ``stages - 1`` times.

    Raises:
        InputError: naming the next larger patch that fits.
    """
    step = 2 ** (stages - 1)
    # A norm has nothing to normalize over when the coarsest stage is a single voxel.
    fitting = tuple(max(2, -(-side // step)) * step for side in patch)
    if patch != fitting:
        raise InputError(
            f"patch {patch} does not fit {stages} stages: sides are multiples of {step}, at least {2 * step}. "
            f"Use {fitting}."
        )


DECIDES_CASES = (
    "target_size_voxels",
    "border_thickness_voxels",
    "gray_scheme",
    "gray_floor",
    "gray_ceiling",
    "lowpass",
)
"""Of a plan: what a prepared case depends on."""


def check_same_cases(plan: TrainingPlan, made: TrainingPlan, prepared: Path) -> None:
    """Refuse a plan that other cases belong to than were ``made``.

    Raises:
        InputError: naming the first difference.
    """
    for name in DECIDES_CASES:
        if getattr(plan, name) != getattr(made, name):
            raise InputError(
                f"{name} is {getattr(plan, name)}, but {prepared} was prepared with {getattr(made, name)}. "
                f"Prepare again, or use what it was prepared with."
            )


def nnunet_plans(plan: TrainingPlan) -> dict[str, Any]:
    """``plan`` in the form of an nnU-Net v2 plans file; our own fields ride along under ``ps3d``.

    The resampling and normalization entries name nnU-Net's defaults because its reader wants them; they are not
    used, the prepared cases are on the normalized grid already.
    """
    resampling = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    configuration = {
        "data_identifier": f"{PLANS_NAME}_{CONFIGURATION}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": plan.batch,
        "patch_size": list(plan.patch),
        "median_image_size_in_voxels": list(plan.patch),
        "spacing": [1.0, 1.0, 1.0],
        "normalization_schemes": ["NoNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": resampling,
        "resampling_fn_seg_kwargs": resampling | {"is_seg": True},
        "resampling_fn_probabilities_kwargs": resampling,
        "batch_dice": True,
        "architecture": _architecture(plan),
    }
    return {
        "dataset_name": DATASET_NAME,
        "plans_name": PLANS_NAME,
        "original_median_spacing_after_transp": [1.0, 1.0, 1.0],
        "original_median_shape_after_transp": list(plan.patch),
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {},
        "configurations": {CONFIGURATION: configuration},
        "ps3d": asdict(plan),
    }


def _architecture(plan: TrainingPlan) -> dict[str, Any]:
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": plan.stages,
            "features_per_stage": plan.features,
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * plan.stages,
            "strides": [[1, 1, 1]] + [[2, 2, 2]] * (plan.stages - 1),
            "n_conv_per_stage": [2] * plan.stages,
            "n_conv_per_stage_decoder": [2] * (plan.stages - 1),
            "conv_bias": True,
            "norm_op": NORMS[plan.norm],
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def plan_from(fields: dict[str, Any], source: Path) -> TrainingPlan:
    """Make a plan of what :func:`dataclasses.asdict` left, from a plans file or a checkpoint.

    A field that an earlier version did not know has the value that was the only one then: its default.

    Raises:
        InputError: naming ``source``, if the fields are not those of a plan.
    """
    try:
        return TrainingPlan(**fields | {"patch": tuple(fields["patch"])})
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{source} holds no training plan of this version; prepare and train again{words_of(error)}."
        ) from error


def read_plan(path: Path) -> TrainingPlan:
    """Read the plan from a file that :func:`nnunet_plans` made.

    Raises:
        InputError: if the file is missing or was written by another tool.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))["ps3d"]
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} holds no training plan; make one with: ps3d-rt train prepare{words_of(error)}"
        ) from error
    return plan_from(fields, path)

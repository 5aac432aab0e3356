"""The training plan that goes on from a bundle: its network, and its own grid and gray scale."""

from __future__ import annotations

from dataclasses import replace

from ps3d_rt.errors import InputError
from ps3d_rt.model import ModelBundle
from ps3d_training.plan import TrainingPlan, plan_from


def plan_of(bundle: ModelBundle) -> TrainingPlan:
    """Give the plan by which samples are prepared for a bundle, and its network is trained on.

    Raises:
        InputError: if the bundle was not trained with ps3d-rt, or scales gray values by constants.
    """
    fields = bundle.provenance.get("training_plan")
    if not isinstance(fields, dict):
        raise InputError(
            f"the model {bundle.name!r} does not say how it was trained, as imported ones do not; start from one that "
            "ps3d-rt trained, such as the bundled one: --init default."
        )
    # Of what decides the samples the bundle has the last word: predict goes by it.
    return replace(
        plan_from(fields, bundle.path),
        target_size_voxels=bundle.target_size_voxels,
        border_thickness_voxels=bundle.border_thickness_voxels,
        gray_scheme=bundle.gray_scheme,
        gray_floor=bundle.gray_floor,
        gray_ceiling=bundle.gray_ceiling,
        lowpass=bundle.lowpass,
    )

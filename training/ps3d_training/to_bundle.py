"""Checkpoints → a model bundle that the runtime loads: ONNX, checked against torch before anything is written."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ps3d_rt.core.grid import Zyx
from ps3d_rt.errors import InputError, Ps3dError
from ps3d_rt.model import RETIRED, ModelBundle, write_bundle
from ps3d_training.capability import require_training_packages
from ps3d_training.plan import CONFIGURATION, TrainingPlan, check_patch, nnunet_plans, plan_from

if TYPE_CHECKING:
    import onnx
    import torch

TOLERANCE = 1e-4
"""Largest difference of a score, in [0, 1], between ONNX Runtime and torch."""
OPSET = 18


def export(
    run: Path,
    folder: Path,
    *,
    patch: Zyx = (64, 64, 64),
    settings: Mapping[str, Any] | None = None,
    provenance: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> ModelBundle:
    """Turn the checkpoints of a training run into a bundle; every trained fold becomes a member.

    Args:
        run: folder that ``train run`` wrote to.
        folder: bundle to write, ``NAME.ps3d``.
        patch: input of the exported network, voxels z, y, x; it need not be the patch of the training.
        settings: how ``predict`` will use the network: ``overlap``, ``min_relative_volume``, ``min_confidence``,
            ``min_diameter_voxels`` and ``core_bias`` of :class:`ModelBundle`; what is not given is taken
            from the bundle that the training began with, or else is the default. And ``licence``, the SPDX identifier
            under which the weights may be used; Apache-2.0 if it is not given.
        provenance: added to what is known of the training itself.
        overwrite: replace a bundle that is there.

    Raises:
        InputError: if there is no checkpoint, ``patch`` does not fit the network, or a setting is out of its range.
        Ps3dError: if ONNX Runtime and torch disagree by more than 1e-4.
    """
    require_training_packages()
    from ps3d_training.checkpoint import read_checkpoint  # noqa: PLC0415 - heavy

    checkpoints = _checkpoints(run)
    plan = plan_from(read_checkpoint(checkpoints[0])["plan"], checkpoints[0])
    check_patch(patch, plan.stages)
    with tempfile.TemporaryDirectory() as scratch:
        files, folds = {}, {}
        inherited: dict[str, Any] = {}
        for checkpoint in checkpoints:
            fold = checkpoint.parent.name
            network, trained = load_network(checkpoint, plan)
            files[f"{fold}.onnx"] = onnx_file = Path(scratch) / f"{fold}.onnx"
            write_onnx(network, patch, onnx_file)
            settings_before = trained.get("started_from", {}).get("settings", {})
            inherited |= {name: value for name, value in settings_before.items() if name not in RETIRED}
            folds[fold] = trained | {"onnx_to_torch_difference": check_onnx(onnx_file, network, patch)}
        known = {"training_plan": asdict(plan), "folds": folds, "versions": _versions()}
        bundle = ModelBundle(
            name=folder.stem,
            patch=patch,
            target_size_voxels=plan.target_size_voxels,
            border_thickness_voxels=plan.border_thickness_voxels,
            members=tuple(files),
            gray_scheme=plan.gray_scheme,
            gray_floor=plan.gray_floor,
            gray_ceiling=plan.gray_ceiling,
            lowpass=plan.lowpass,
            provenance=known | (provenance or {}),
            **({"licence": "Apache-2.0"} | inherited | dict(settings or {})),
        )
        return write_bundle(folder, bundle, files, overwrite=overwrite)


def load_network(checkpoint: Path, plan: TrainingPlan) -> tuple[torch.nn.Module, dict[str, Any]]:
    """Build the network with its averaged weights and a softmax at its end; also say what its training came to."""
    import torch  # noqa: PLC0415 - heavy
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans  # noqa: PLC0415 - heavy

    from ps3d_training.checkpoint import read_checkpoint  # noqa: PLC0415 - heavy

    content = read_checkpoint(checkpoint)
    configuration = nnunet_plans(plan)["configurations"][CONFIGURATION]["architecture"]
    network = get_network_from_plans(
        configuration["network_class_name"],
        configuration["arch_kwargs"],
        configuration["_kw_requires_import"],
        1,
        3,
        deep_supervision=plan.deep_supervision,
    )
    network.load_state_dict(content["average_weights"])
    network.decoder.deep_supervision = False
    trained = {
        "epochs": content["current_epoch"],
        "steps": content["averaged_steps"],
        "dice_core_border": content["logging"]["dice_per_class_or_region"][-1],
    }
    if scores := content.get("f1_instance"):
        trained["f1_instance"] = scores[max(scores)]
    trained |= {name: content[name] for name in ("schedule", "started_from") if content.get(name) is not None}
    return torch.nn.Sequential(network, torch.nn.Softmax(dim=1)).eval(), trained


def write_onnx(network: torch.nn.Module, patch: Zyx, path: Path) -> None:
    """Export ``patches`` (B, 1, *patch) → ``scores`` (B, 3, *patch), B dynamic, in one file."""
    import torch  # noqa: PLC0415 - heavy

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch about itself
        program: Any = torch.onnx.export(
            network,
            (torch.zeros((2, 1, *patch)),),
            input_names=["patches"],
            output_names=["scores"],
            opset_version=OPSET,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            verbose=False,
        )
    path.write_bytes(_plain(program.model_proto).SerializeToString())


def _plain(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop the notes of the exporter: they hold the paths of this machine, and the network runs without them."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    return model


def check_onnx(path: Path, network: torch.nn.Module, patch: Zyx) -> float:
    """Run both on random patches, one and three at a time.

    Returns:
        The largest difference of a score.

    Raises:
        Ps3dError: if it is above 1e-4.
    """
    import onnxruntime  # noqa: PLC0415 - heavy
    import torch  # noqa: PLC0415 - heavy

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    draw = np.random.default_rng(0)
    worst = 0.0
    for count in (1, 3):
        patches = draw.standard_normal((count, 1, *patch), dtype=np.float32)
        with torch.inference_mode():
            expected = network(torch.from_numpy(patches)).numpy()
        (scores,) = session.run(["scores"], {"patches": patches})
        worst = max(worst, float(np.abs(scores - expected).max()))
    if not worst <= TOLERANCE:
        raise Ps3dError(f"{path.name} differs from torch by {worst:.2g} in a score; {TOLERANCE:g} is allowed.")
    return worst


def _checkpoints(run: Path) -> list[Path]:
    found = sorted(run.glob("*/*/fold_*/checkpoint_latest.pth"))
    if not found:
        raise InputError(f"{run} holds no checkpoint. Train first: ps3d-rt train run PREPARED {run}")
    if len({path.parent.parent for path in found}) > 1:
        raise InputError(f"{run} holds checkpoints of more than one plan; export one of {found}.")
    return found


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("torch", "nnunetv2", "onnx")}

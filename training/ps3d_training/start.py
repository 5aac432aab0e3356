"""The weights of another training to start from: out of its checkpoint, or out of a bundle, which is all users get."""

from __future__ import annotations

import logging
from dataclasses import asdict
from hashlib import file_digest
from pathlib import Path
from typing import Any, cast

import onnx
import torch

from ps3d_rt.errors import InputError
from ps3d_rt.model import SUFFIX, bundled_models, load_model
from ps3d_training.checkpoint import CHECKPOINT, read_checkpoint
from ps3d_training.plan import TrainingPlan, plan_from

logger = logging.getLogger(__name__)

NETWORK_FIELDS = ("width", "stages", "norm")
"""Of a plan: what two networks must share for the weights of one to fit the other."""

SETTINGS = ("overlap", "min_relative_volume", "min_confidence", "min_diameter_voxels", "core_bias")
"""Of a bundle: how ``predict`` uses its network. What is trained on from it is used in the same way."""

Weights = dict[str, torch.Tensor]


def read_start(init: Path, fold: str, plan: TrainingPlan, network: torch.nn.Module) -> tuple[Weights, dict[str, Any]]:
    """Read averaged weights for ``network``.

    Args:
        init: a checkpoint, the folder of a training, a bundle, or the name of a bundled model.
        fold: ``fold_0``, …: which one to take where there are several.
        plan: that ``network`` was built by.
        network: tells the names of the weights; it is not changed.

    Returns:
        a state dict for ``network``, and what to remember of where it comes from: plain values.

    Raises:
        InputError: if nothing is there to start from, or it is another network.
    """
    if init.suffix == SUFFIX or str(init) in bundled_models():
        bundle = load_model(str(init))
        member = f"{fold}.onnx" if f"{fold}.onnx" in bundle.members else bundle.members[0]
        settings = {name: getattr(bundle, name) for name in SETTINGS}
        source = {"bundle": bundle.name, "sha256": bundle.hash, "settings": settings}
        _compare_gray_schemes(bundle.name, bundle.gray_scheme, plan.gray_scheme)
        return exported_weights(bundle.path / member, network), source
    checkpoint = find_checkpoint(init, fold)
    content = read_checkpoint(checkpoint)
    other = plan_from(content["plan"], checkpoint)
    different = [
        f"{name} {getattr(other, name)}" for name in NETWORK_FIELDS if getattr(other, name) != getattr(plan, name)
    ]
    if different:
        raise InputError(
            f"{checkpoint} is a network of {', '.join(different)}; only the same network can start from its weights. "
            f"Use the same options, or leave out --init."
        )
    _compare_gray_schemes(str(checkpoint), other.gray_scheme, plan.gray_scheme)
    with checkpoint.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    source = {"sha256": digest, "epochs": content["current_epoch"], "training_plan": asdict(other)}
    source["settings"] = (content.get("started_from") or {}).get("settings", {})
    return content["average_weights"], source


def _compare_gray_schemes(name: str, before: str, now: str) -> None:
    if before != now:
        logger.warning(
            "%s has learned from gray values of the scheme %s, the samples were prepared with %s: it has to learn anew "
            "what is how bright. For the same scheme: train prepare --gray-scheme %s.",
            *(name, before, now, before),
        )


def find_checkpoint(path: Path, fold: str) -> Path:
    """Take ``path`` itself, or the one checkpoint in that folder; of several, the one in a folder called ``fold``.

    Raises:
        InputError: if there is none, or several and none of that fold.
    """
    if path.is_file():
        return path
    found = sorted(path.rglob(CHECKPOINT))
    same_fold = [checkpoint for checkpoint in found if checkpoint.parent.name == fold]
    for choice in (found, same_fold):
        if len(choice) == 1:
            return choice[0]
    raise InputError(
        f"--init {path}: {len(found)} checkpoints are there, {len(same_fold)} of them of {fold}; one is needed. "
        f"Name a {CHECKPOINT}, a {SUFFIX} bundle, or a bundled model: {', '.join(bundled_models())}."
    )


def exported_weights(member: Path, network: torch.nn.Module) -> Weights:
    """Find the weights in a bundle's ONNX file by the names that the exporter gave them.

    The outputs of the coarser stages are not in a bundle; they stay as they are in ``network``. Batch norms were folded
    into the convolutions before them; they do nothing in what is returned.

    Args:
        member: file of a bundle that ``ps3d-rt train export`` wrote.
        network: tells the names and shapes of the weights; it is not changed.

    Returns:
        a state dict for ``network``.

    Raises:
        InputError: if the file holds another network.
    """
    # What is exported is (network, softmax): hence "0." before every name.
    stored = {
        tensor.name.removeprefix("0."): torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy())
        for tensor in onnx.load(member).graph.initializer
    }
    # A part of the network that is reached in two ways has two names here, and one of them in the file.
    values = {
        weight: stored[name]
        for name, weight in network.named_parameters(remove_duplicate=False)
        if name in stored and stored[name].shape == weight.shape
    }
    norms = {name: module for name, module in network.named_modules(remove_duplicate=False) if is_batch_norm(module)}
    folded = {weight for norm in norms.values() for weight in norm.parameters()}
    coarse = cast(torch.nn.ModuleList, network.get_submodule("decoder.seg_layers"))[:-1]
    elsewhere = folded | set(coarse.parameters())
    missing = [name for name, weight in network.named_parameters() if weight not in values and weight not in elsewhere]
    if missing or not folded.isdisjoint(values):
        raise InputError(
            f"{member} holds another network than the plan describes: it has no fitting tensor for {missing[:1]}. "
            f"To train from it, use the --width, --stages and --norm it was trained with (ps3d-rt model info), or a "
            f"checkpoint."
        )
    named = network.named_parameters(remove_duplicate=False)
    weights = {name: values.get(weight, weight).detach().clone() for name, weight in named}
    for name, norm in norms.items():
        nothing = {
            "weight": 1.0,
            "bias": 0.0,
            "running_mean": 0.0,
            "running_var": 1 - norm.eps,
            "num_batches_tracked": 0,
        }
        weights |= {f"{name}.{key}": torch.full_like(norm.state_dict()[key], value) for key, value in nothing.items()}
    return weights


def is_batch_norm(module: torch.nn.Module) -> bool:
    """Tell a batch norm from other parts of a network."""
    return isinstance(module, torch.nn.modules.batchnorm._BatchNorm)

"""Models of nnU-Net v2: the network is rebuilt by nnU-Net itself, from its plans."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from pydoc import locate
from typing import Any

from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from ps3d_rt.errors import InputError
from ps3d_rt.io.json_text import read_json
from ps3d_rt.io.read_errors import words_of
from ps3d_rt.model import CLASS_NAMES
from ps3d_training.safe_pickle import read_torch
from ps3d_training.trained_model import Normalization, TrainedModel, check_axes, find_checkpoints, patch_from

PLANS = "plans.json"
DATASET = "dataset.json"
CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth")
LABELS = {name: value for value, name in enumerate(CLASS_NAMES)}
ARCHITECTURES = "dynamic_network_architectures."
LAYERS = ("torch.nn.", ARCHITECTURES)
"""Packages whose classes a plan may name: nnU-Net imports and calls whatever stands there."""


def read_folder(folder: Path, folds: Sequence[str] | None) -> TrainedModel:
    """Read the plans and find the weights; no network is built yet.

    Raises:
        InputError: if the plans are not those of a 3-D network for background, core and border, or a fold is missing.
    """
    checkpoints = find_checkpoints(folder, CHECKPOINTS, folds)
    _check_dataset(folder / DATASET)
    plans = _read_json(folder / PLANS)
    first = read_torch(next(iter(checkpoints.values())))
    try:
        name = first["init_args"]["configuration"]
        configuration = PlansManager(plans).get_configuration(name)
        check_axes(plans["transpose_forward"], folder / PLANS)
        patch = patch_from(configuration.patch_size, folder / PLANS)
        if configuration.previous_stage_name is not None:
            raise InputError(f"{folder} holds the second network of a cascade ({name}); a single network is needed.")
        _check_names(configuration, folder / PLANS)
        mirror_axes = tuple(sorted(int(axis) for axis in first.get("inference_allowed_mirroring_axes") or ()))
        provenance = {
            "imported_from": "nnU-Net v2",
            "folder": folder.name,
            "trainers": [str(first["trainer_name"])],
            "configuration": str(name),
            "normalization_schemes": configuration.normalization_schemes,
        }
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InputError(f"{folder} does not hold a model of nnU-Net v2 ({error!r}).") from error
    return TrainedModel(
        patch=patch,
        checkpoints=checkpoints,
        load=partial(load_network, configuration=configuration),
        mirror_axes=mirror_axes,
        provenance=provenance,
        normalization=Normalization(gray="volume"),
    )


def load_network(checkpoint: Path, *, configuration: ConfigurationManager) -> nn.Module:
    """Build the network of a checkpoint: patches → scores, before the softmax.

    Raises:
        InputError: if the weights are not those of the planned network with one input and three classes.
    """
    content = read_torch(checkpoint)
    try:
        network: nn.Module = get_network_from_plans(
            configuration.network_arch_class_name,
            configuration.network_arch_init_kwargs,
            configuration.network_arch_init_kwargs_req_import,
            1,
            len(LABELS),
            allow_init=False,
            deep_supervision=False,
        )
        weights = content["network_weights"]
        network.load_state_dict({name.removeprefix("module."): value for name, value in weights.items()})
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InputError(
            f"{checkpoint} does not fit the network that {PLANS} describes; a trainer with a network of its own "
            f"cannot be imported. torch says: {error}"
        ) from error
    return network.eval()


def _check_dataset(path: Path) -> None:
    dataset = _read_json(path)
    channels, labels = dataset.get("channel_names", dataset.get("modality", {})), dataset.get("labels")
    if len(channels) != 1 or labels != LABELS:
        raise InputError(
            f"{path} names channels {channels} and labels {labels}; ps3d-rt runs networks with one channel and "
            f"labels {LABELS}. If yours mean the same, rename them there."
        )


def _check_names(configuration: ConfigurationManager, source: Path) -> None:
    """Refuse a plan that would make nnU-Net import or call anything but networks and their layers.

    Raises:
        InputError: naming what it asks for.
    """
    options = configuration.network_arch_init_kwargs
    layers = [options[key] for key in configuration.network_arch_init_kwargs_req_import]
    wanted: list[tuple[Any, tuple[str, ...]]] = [(configuration.network_arch_class_name, (ARCHITECTURES,))]
    wanted += [(name, LAYERS) for name in layers if name is not None]
    for name, packages in wanted:
        # The name first: to look for a module is to import it.
        found: Any = locate(name) if isinstance(name, str) and name.startswith(packages) else None
        if not (inspect.isclass(found) and issubclass(found, nn.Module)):
            raise InputError(
                f"{source} asks for {name!r}, which is not a network or layer of {' or '.join(packages)}; "
                "ps3d-rt imports no other."
            )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read; copy the folder again{words_of(error)}.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}, not an object; copy the folder again.")
    return content

"""A results folder of nnU-Net → a model bundle; ``import_v1`` and ``import_v2`` read the folders of either version."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import file_digest
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ps3d_rt.errors import InputError
from ps3d_rt.model import ModelBundle, check_place, write_bundle
from ps3d_training.capability import require_training_packages
from ps3d_training.trained_model import Normalization, TrainedModel

PUBLISHED_INFERENCE: dict[str, Any] = {"overlap": 0.5, "min_relative_volume": 0.005}
"""As the published inference has them. Source: ParticleSeg3D, commit 1df85bb."""

NOTHING_KNOWN = Normalization()


def import_model(
    folder: Path,
    out: Path,
    *,
    folds: Sequence[str] | None = None,
    normalization: Normalization = NOTHING_KNOWN,
    settings: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> ModelBundle:
    """Turn a trained nnU-Net into a bundle; every fold becomes a member of the ensemble.

    Args:
        folder: holds ``plans.pkl`` (version 1) or ``plans.json`` (version 2) and ``fold_*``.
        out: bundle to write, ``NAME.ps3d``.
        folds: names of the folds to take, such as ``0``; None takes all.
        normalization: of its training data. What is not given is, for version 1, as published; for version 2 the sizes
            are needed, and gray values are scaled by each volume.
        settings: fields of :class:`ModelBundle`, such as ``licence``, an SPDX identifier, which is ``NOASSERTION``
            (unknown) otherwise, and ``mirror_axes``, which are those of the training otherwise.
        overwrite: replace a bundle that is there.

    Raises:
        InputError: if the folder holds no such model, or a size is needed and not given.
        Ps3dError: if ONNX Runtime and torch disagree by more than 1e-4 in a score.
    """
    require_training_packages()
    from ps3d_training import import_v1, import_v2  # noqa: PLC0415 - heavy

    check_place(out, overwrite=overwrite)
    readers = {import_v1.PLANS: import_v1.read_folder, import_v2.PLANS: import_v2.read_folder}
    found = [read for plans, read in readers.items() if (folder / plans).is_file()]
    if not found:
        raise InputError(
            f"{folder} holds neither {' nor '.join(readers)}. Give the folder of one trained configuration of "
            "nnU-Net: the one that holds fold_0."
        )
    model = found[0](folder, folds)
    known = normalization.over(model.normalization)
    if known.target_size_voxels is None or known.border_thickness_voxels is None:
        raise InputError(
            f"{folder} does not say how large the particles of its training were. Give --target-size and --border: "
            "their mean diameter and the thickness of the class border, in voxels."
        )
    mean, std = known.gray if isinstance(known.gray, tuple) else (None, None)
    bundle = ModelBundle(
        name=out.stem,
        patch=model.patch,
        target_size_voxels=known.target_size_voxels,
        border_thickness_voxels=known.border_thickness_voxels,
        members=tuple(f"fold_{fold}.onnx" for fold in model.checkpoints),
        gray_scheme="volume" if mean is None else "constants",
        gray_mean=mean,
        gray_std=std,
        lowpass=False,
        **(PUBLISHED_INFERENCE | {"mirror_axes": model.mirror_axes, "licence": "NOASSERTION"} | dict(settings or {})),
    )
    with tempfile.TemporaryDirectory() as scratch:
        files = {name: Path(scratch) / name for name in bundle.members}
        made = {
            path.stem: _write_member(model, checkpoint, path)
            for path, checkpoint in zip(files.values(), model.checkpoints.values(), strict=True)
        }
        versions = {name: version(name) for name in ("torch", "onnx")}
        bundle = replace(bundle, provenance=model.provenance | {"folds": made, "versions": versions})
        return write_bundle(out, bundle, files, overwrite=overwrite)


def _write_member(model: TrainedModel, checkpoint: Path, path: Path) -> dict[str, Any]:
    """Write the ONNX file of one fold and check it against torch; say what it was made of."""
    import torch  # noqa: PLC0415 - heavy

    from ps3d_training.to_bundle import check_onnx, write_onnx  # noqa: PLC0415 - heavy

    network = torch.nn.Sequential(model.load(checkpoint), torch.nn.Softmax(dim=1)).eval()
    write_onnx(network, model.patch, path)
    with checkpoint.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    return {
        "checkpoint": checkpoint.name,
        "sha256": digest,
        "onnx_to_torch_difference": check_onnx(path, network, model.patch),
    }

"""``ps3d-rt model import``: a model that nnU-Net trained, as a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ps3d_rt.errors import InputError

if TYPE_CHECKING:
    from ps3d_training.trained_model import Gray


def import_model(
    folder: Annotated[Path, typer.Argument(help="Results folder of nnU-Net v1 or v2: the one that holds fold_0.")],
    bundle: Annotated[Path, typer.Argument(help="Model bundle to write, NAME.ps3d.")],
    folds: Annotated[str | None, typer.Option(help="Folds to take, such as 0,2; all of them if not given.")] = None,
    target_size: Annotated[
        float | None, typer.Option(help="Mean particle diameter in its training data, voxels. v1: 60 if not given.")
    ] = None,
    border: Annotated[
        float | None, typer.Option(help="Thickness of the class border there, voxels. v1: 3 if not given.")
    ] = None,
    gray: Annotated[
        str | None,
        typer.Option(help="volume, or MEAN,STD of its training set. If not given, v1: the published; v2: volume."),
    ] = None,
    mirror: Annotated[bool, typer.Option(help="Average over mirror images, as the training allows.")] = True,
    licence: Annotated[str, typer.Option(help="SPDX identifier of the weights' licence.")] = "NOASSERTION",
    overwrite: Annotated[bool, typer.Option(help="Replace a bundle that is there.")] = False,
) -> None:
    """Write a model bundle from a trained nnU-Net, checked against torch. No code in its files is run.

    Example: ps3d-rt model import nnUNetTrainerV2__nnUNetPlansv2.1 published.ps3d
    """
    from ps3d_training import import_model as importer  # noqa: PLC0415 - heavy
    from ps3d_training.trained_model import Normalization  # noqa: PLC0415

    normalization = Normalization(
        target_size_voxels=target_size, border_thickness_voxels=border, gray=None if gray is None else _gray(gray)
    )
    written = importer.import_model(
        folder,
        bundle,
        folds=None if folds is None else folds.split(","),
        normalization=normalization,
        settings={"licence": licence} | ({} if mirror else {"mirror_axes": ()}),
        overwrite=overwrite,
    )
    typer.echo(written.path)


def _gray(text: str) -> Gray:
    if text == "volume":
        return "volume"
    try:
        mean, std = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"--gray is {text!r}; use volume, or two numbers: MEAN,STD without spaces.") from error
    return mean, std

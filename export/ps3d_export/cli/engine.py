"""``ps3d-rt export engine``: TensorRT engines built ahead of time."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def engine(
    model: Annotated[str, typer.Argument(help="Bundled model, or path of a .ps3d bundle.")],
    flavour: Annotated[str, typer.Option(help="tensorrt, or tensorrt-rtx: needs no GPU to build.")],
    device: Annotated[str, typer.Option(help="cuda:N; auto: the first GPU, or none.")] = "auto",
) -> None:
    """Build the TensorRT engines of a model and keep them in the cache, where `predict` finds them.

    An engine computes in the precision of its model: export that first. Prints what is known of each engine as JSON.

    Example: ps3d-rt export engine default-fp16.ps3d --flavour tensorrt-rtx
    """
    from ps3d_export.engine import export_engine  # noqa: PLC0415 - heavy
    from ps3d_rt.model import load_model  # noqa: PLC0415

    built = export_engine(load_model(model), flavour=flavour, device=device)
    typer.echo(json.dumps([{"engine": one.path.as_posix(), **one.manifest} for one in built], indent=2))

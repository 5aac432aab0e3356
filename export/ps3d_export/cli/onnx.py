"""``ps3d-rt export onnx``: a model in another precision, as a bundle of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def onnx(
    model: Annotated[str, typer.Argument(help="Bundled model, or path of a .ps3d bundle, in fp32.")],
    out: Annotated[Path, typer.Argument(help="Bundle to write, NAME.ps3d.")],
    precision: Annotated[str, typer.Option(help="fp32, fp16, or int8: calibrated on samples.")] = "fp16",
    rewrite: Annotated[bool, typer.Option(help="Rewrite the graph, the scores stay; int8 always does.")] = False,
    samples: Annotated[
        Path | None, typer.Option(help="Labelled samples to calibrate int8 on; not given: simulated ones.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a bundle that is there.")] = False,
) -> None:
    """Write a model once more, in another precision; `export gate` says whether it is as good.

    Input and output stay float32, norms and softmax compute in it.

    Example: ps3d-rt export onnx default default-fp16.ps3d --precision fp16
    """
    from ps3d_export.capability import require_onnx  # noqa: PLC0415 - heavy

    require_onnx()
    from ps3d_export.variant import export_variant  # noqa: PLC0415 - needs onnx
    from ps3d_rt.model import load_model  # noqa: PLC0415

    written = export_variant(
        load_model(model), out, precision=precision, rewrites=rewrite, samples=samples, overwrite=overwrite
    )
    typer.echo(written.path)

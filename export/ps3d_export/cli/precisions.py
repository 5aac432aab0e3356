"""``ps3d-rt export precisions``: what a model may be run in on a CPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def precisions(
    model: Annotated[str, typer.Argument(help="Bundled model, or path of a .ps3d bundle, in fp32; it is changed.")],
    calibration: Annotated[
        Path | None, typer.Option(help="Labelled samples to calibrate int8 on; not given: simulated ones.")
    ] = None,
    samples: Annotated[
        Path | None, typer.Option(help="Labelled samples to judge by; not given: simulated ones.")
    ] = None,
) -> None:
    """Add 8-bit networks to a model, and judge it in 8 bits and in bf16 on this CPU.

    `predict` takes the fastest of what passed, on each machine. What failed, or was not judged because this CPU does
    not compute in it, is used only where --precision names it. Prints the verdicts as JSON.

    Example: ps3d-rt export precisions mine.ps3d
    """
    from ps3d_export.capability import require_onnx  # noqa: PLC0415 - heavy

    require_onnx()
    from ps3d_export.precisions import add_precisions  # noqa: PLC0415 - needs onnx

    verdicts = add_precisions(model, calibration=calibration, samples=samples)
    told = {name: {"passed": verdict.passed, **verdict.measured} for name, verdict in verdicts.items()}
    typer.echo(json.dumps(told, indent=2))

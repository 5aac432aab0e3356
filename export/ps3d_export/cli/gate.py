"""``ps3d-rt export gate``: an engine against float32."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def gate(
    model: Annotated[str, typer.Argument(help="Bundled model, or path of a .ps3d bundle.")],
    engine: Annotated[str, typer.Option(help="As of predict.")] = "auto",
    device: Annotated[str, typer.Option(help="As of predict.")] = "auto",
    precision: Annotated[str, typer.Option(help="On a CPU also fp32, bf16, int8; on a GPU the model's own.")] = "auto",
    reference: Annotated[
        str | None, typer.Option(help="The fp32 model it was exported from; not given: it is looked for.")
    ] = None,
    samples: Annotated[
        Path | None, typer.Option(help="Labelled samples to judge by; not given: simulated ones.")
    ] = None,
) -> None:
    """Segment labelled samples with an engine and with float32, compare both, and keep the verdict.

    Passed: F1_instance falls by at most 0.005, and no score is NaN or infinite. The verdict goes into the manifest of
    a TensorRT engine, or into the bundle of an exported model; what failed is used only if it is named. Prints
    everything measured as JSON; the exit code is 1 if it failed.

    Example: ps3d-rt export gate default-int8.ps3d --engine openvino
    """
    from ps3d_export.gate import reason  # noqa: PLC0415 - heavy
    from ps3d_export.verdicts import judge_model  # noqa: PLC0415
    from ps3d_rt.errors import Ps3dError  # noqa: PLC0415

    verdict, kept = judge_model(
        model, engine=engine, device=device, precision=precision, reference=reference, samples=samples
    )
    content = {"passed": verdict.passed, "kept_in": [path.as_posix() for path in kept], **verdict.measured}
    typer.echo(json.dumps(content, indent=2))
    if not verdict.passed:
        raise Ps3dError(f"the accuracy gate is not passed: {reason(verdict)}")

"""``ps3d-rt compare``: outputs beside each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ps3d_rt.cli import options


def compare(
    outputs: Annotated[
        list[Path], typer.Argument(help="Folders that predict wrote; or one samples.csv: output, sample, role, mass.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for comparison.html and the tables.")] = Path("comparison"),
    edge_correction: options.EdgeCorrection = True,
    overwrite: options.Overwrite = False,
) -> None:
    """Compare samples: sizes, shapes, minerals and liberation, with intervals, a test, and what a separation did.

    The first, or the feed, is what the others are compared with. In samples.csv, outputs of one sample name are pooled,
    and with the roles concentrate and tailings, and the feed or masses, there are partition curves and recoveries.
    Prints what the tests say as JSON.

    Example: ps3d-rt compare result-a result-b --out comparison
    """
    from ps3d_rt.cli.progress import listening  # noqa: PLC0415 - what loads arrays is loaded on use
    from ps3d_rt.clock import Clock  # noqa: PLC0415
    from ps3d_rt.comparison import PAGE, listed  # noqa: PLC0415
    from ps3d_rt.comparison import compare as compared  # noqa: PLC0415
    from ps3d_rt.errors import InputError  # noqa: PLC0415

    if out.exists() and not overwrite:
        raise InputError(f"{out} exists; choose another folder with --out, or pass --overwrite.")
    if out.exists() and not (out / PAGE).is_file():
        raise InputError(f"{out} exists and is not a comparison; choose another folder with --out.")
    with listening() as on_event, Clock(on_event).stage("compare", 0):
        found = compared(listed(outputs), edge_correction=edge_correction)
        found.write(out, overwrite=overwrite)
    verdicts = [
        {"sample": sample.name, "different": test.different, "chance": round(test.chance, 4)}
        for sample, test in zip(found.samples[1:], found.tests, strict=True)
    ]
    printed = {"page": str(out / PAGE), "against": found.samples[0].name, "tests": verdicts}
    typer.echo(json.dumps(printed, indent=2))

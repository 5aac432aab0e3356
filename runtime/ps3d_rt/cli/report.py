"""``ps3d-rt report``: the report of a run once more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ps3d_rt.cli import options


def report(
    out: Annotated[Path, typer.Argument(help="Folder that predict wrote: labels, table and run.json.")],
    image: Annotated[Path | None, typer.Option(help="The scan, if it is not where predict found it.")] = None,
    dtype: options.RawDtype = None,
    sieve: options.Sieve = False,
    edge_correction: options.EdgeCorrection = True,
) -> None:
    """Write report.html of a run again, from its labels, table and run.json; print its path.

    The report that is there is replaced, nothing else is touched. Without the scan, particles are shown in white.

    Example: ps3d-rt report result --sieve
    """
    from ps3d_rt.output import report_again  # noqa: PLC0415 - loads the stages

    typer.echo(str(report_again(out, image, dtype=dtype, sieve=sieve, edge_correction=edge_correction)))

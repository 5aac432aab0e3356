"""``ps3d-rt report``: the report of a run once more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ps3d_rt.cli import options
from ps3d_rt.cli.expand import expanded
from ps3d_rt.cli.table_options import TableOptions


@expanded
def report(
    out: Annotated[Path, typer.Argument(help="Folder that predict wrote: labels, table and run.json.")],
    table_options: TableOptions,
    image: Annotated[Path | None, typer.Option(help="The scan, if it is not where predict found it.")] = None,
    dtype: options.RawDtype = None,
) -> None:
    """Write report.html and the CSV files of a run again, from its labels, table and run.json; print the report's path.

    Nothing else is touched. Without the scan, particles are shown in white.

    Example: ps3d-rt report result --sieve
    """
    from ps3d_rt.cli.progress import listening  # noqa: PLC0415
    from ps3d_rt.clock import Clock  # noqa: PLC0415
    from ps3d_rt.output import report_again  # noqa: PLC0415 - loads the stages

    sizes, files = table_options.sizes(), table_options.files()
    with listening() as on_event, Clock(on_event).stage("report", 0):
        page = report_again(out, image, dtype=dtype, sizes=sizes, files=files)
    typer.echo(str(page))

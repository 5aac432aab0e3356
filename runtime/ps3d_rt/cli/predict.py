"""``ps3d-rt predict``: a scan in, a folder with labels, table and report out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ps3d_rt.cli import options
from ps3d_rt.cli.expand import expanded
from ps3d_rt.cli.run_options import RunOptions


@expanded
def predict(
    scan: options.Scan,
    out: Annotated[Path, typer.Argument(help="Folder to write: labels, table, report.html, run.json.")],
    run_options: RunOptions,
    overwrite: options.Overwrite = False,
    log_json: Annotated[bool, options.about_output("--log-json", help="Progress as JSON lines on stderr.")] = False,
) -> None:
    """Segment a scan into particles: labels (OME-Zarr), table, report and run.json.

    Prints how many particles there are and how many were dropped, and the folder, as JSON. A run that was stopped goes
    on when it is started again.

    Example: ps3d-rt predict scan.tif result --spacing 0.01 --particle-size 0.29
    """
    # Loaded here, so that --help and a mistyped option answer at once.
    from ps3d_rt.cli.opened import opened  # noqa: PLC0415
    from ps3d_rt.cli.progress import listening  # noqa: PLC0415
    from ps3d_rt.output import check_output, predict_to_folder  # noqa: PLC0415

    check_output(out, overwrite=overwrite)
    with (
        listening(as_json=log_json) as on_event,
        opened(scan, run_options) as (volume, bundle, ready, config),
    ):
        run = predict_to_folder(volume, bundle, ready, config, out, overwrite=overwrite, on_event=on_event)
    dropped = run["dropped"]["particles"]
    typer.echo(f'{{"particles": {run["particles"]}, "dropped": {dropped}, "output": "{out.as_posix()}"}}')

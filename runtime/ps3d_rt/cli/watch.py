"""``ps3d-rt watch``: segment every scan that appears in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def watch(
    folder: Annotated[Path, typer.Argument(help="Folder that the scanner writes to; nothing in it is changed.")],
    out: Annotated[Path, typer.Argument(help="Folder that the results go to, one folder a scan.")],
    config: Annotated[Path | None, typer.Option(help="watch.toml: spacing, when a scan is complete, retries …")] = None,
    page: Annotated[
        str | None, typer.Option(help="Show a page at HOST:PORT; another host than this one needs PS3D_RT_TOKEN.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="End when all scans that are there are done.")] = False,
) -> None:
    """Segment every scan that appears in a folder, once each, until stopped; go on after any interruption.

    A scan is taken when it is complete. One that cannot be done is tried again, and then given up with the reason in
    OUT/quarantine.

    Example: ps3d-rt watch scans results --config watch.toml
    """
    from ps3d_rt.cli.watching import watch_folder  # noqa: PLC0415 - loads the stages

    watch_folder(folder, out, config, page=page, once=once)

"""``ps3d-rt serve``: the operator's page alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def serve(
    out: Annotated[Path, typer.Argument(help="Folder that watch writes to.")],
    page: Annotated[str, typer.Option(help="HOST:PORT; another host than this one needs PS3D_RT_TOKEN.")] = (
        "127.0.0.1:8765"
    ),
    config: Annotated[Path | None, typer.Option(help="watch.toml, if it puts the state in another folder.")] = None,
) -> None:
    """Show the page of a watched folder, whether or not its service runs, until stopped.

    Example: ps3d-rt serve results
    """
    from ps3d_rt.cli.watching import serve_page  # noqa: PLC0415 - loads the server

    serve_page(out, page, config)

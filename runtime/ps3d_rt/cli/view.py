"""``ps3d-rt view``: an output in napari, or a link for Neuroglancer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ps3d_rt.cli import options


def view(
    out: Annotated[Path, typer.Argument(help="Folder that predict wrote: labels, table and run.json.")],
    image: Annotated[Path | None, typer.Option(help="The scan, if it is not where predict found it.")] = None,
    dtype: options.RawDtype = None,
    color_by: Annotated[str | None, typer.Option(help="Column of the table, such as volume_mm3.")] = None,
    neuroglancer: Annotated[bool, typer.Option("--neuroglancer", help="Write a state for Neuroglancer.")] = False,
    address: Annotated[str, typer.Option(help="Where OUT is served, for Neuroglancer.")] = "http://127.0.0.1:9000",
) -> None:
    """Show scan, labels and table in napari; or write neuroglancer.json into OUT and print the link that opens it.

    Example: ps3d-rt view result --color-by volume_mm3
    """
    from ps3d_rt.output import open_output  # noqa: PLC0415
    from ps3d_rt.view.napari_layers import add_layers, open_viewer, run_viewer  # noqa: PLC0415
    from ps3d_rt.view.neuroglancer import STATE_NAME, link_to, serve_hint, state_of  # noqa: PLC0415

    with open_output(out, image, dtype=dtype) as output:
        if neuroglancer:
            state = state_of(output, address.rstrip("/"), color_by)
            (out / STATE_NAME).write_text(json.dumps(state) + "\n", encoding="utf-8")
            typer.echo(serve_hint(out, address), err=True)
            typer.echo(link_to(address.rstrip("/")))
            return
        viewer = open_viewer(f"{out} – ps3d-rt")
        add_layers(viewer, output, color_by)
        run_viewer()

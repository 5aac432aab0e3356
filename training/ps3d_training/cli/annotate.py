"""``ps3d-rt annotate``: patches of a scan to label, and napari to label them in."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ps3d_rt.cli import options

app = typer.Typer(help="Label patches of a scan, to train on them.", no_args_is_help=True)


@app.command()
def pick(
    scan: options.Scan,
    out: Annotated[Path, typer.Argument(help="Annotation folder; patches that it holds are kept.")],
    count: Annotated[int, typer.Option(help="How many patches.", min=1)] = 4,
    patch: Annotated[str, typer.Option(help="Voxels z,y,x of a patch.")] = "128,400,400",
    spacing: options.Spacing = None,
    particle_size: Annotated[
        str, options.about_scan(help="Rough mean diameter of the particles, mm, or auto. With --result, the result's.")
    ] = options.AUTO,
    result: Annotated[
        Path | None, typer.Option(help="Folder that predict made of the scan: its labels, and how sure they are.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="Whose labels to begin with, where there is no --result; none: no labels.")
    ] = "default",
    mirrors: Annotated[
        bool,
        typer.Option("--mirrors", help="Prefer patches whose labels change with their mirror images; takes longer."),
    ] = False,
    shape: options.RawShape = None,
    dtype: options.RawDtype = None,
) -> None:
    """Propose the patches worth a person's time, and cut them out with labels to begin with.

    They are unlike each other in gray values, texture and size, and preferably where the network is least sure.

    Example: ps3d-rt annotate pick ore.tif annotation --spacing 0.01 --particle-size 0.29
    """
    from ps3d_rt.errors import InputError  # noqa: PLC0415 - keeps --help fast
    from ps3d_rt.io.open import open_volume  # noqa: PLC0415
    from ps3d_rt.result import read_result  # noqa: PLC0415
    from ps3d_training.annotate import pick as picking  # noqa: PLC0415

    sides = options.sides(patch)
    if sides is None:
        raise InputError(f"--patch is {patch!r}; give voxels as z,y,x, such as 128,400,400.")
    wanted = picking.PickOptions(
        count=count,
        patch=sides,
        particle_size_mm=options.particle_size(particle_size),
        model=model,
        mirrors=mirrors,
    )
    with open_volume(scan, spacing_mm=options.spacing_mm(spacing), shape=options.sides(shape), dtype=dtype) as volume:
        for name, facts in picking.pick(volume, out, wanted, None if result is None else read_result(result)):
            sys.stderr.write(f"{name}: {json.dumps(asdict(facts))}\n")
    typer.echo(out)


@app.command("open")
def open_patch(
    folder: Annotated[Path, typer.Argument(help="Annotation folder, made by: ps3d-rt annotate pick.")],
    name: Annotated[str | None, typer.Argument(help="Patch; without it, the first that is not complete.")] = None,
) -> None:
    """Correct the labels of a patch in napari. Every step is saved as it is made.

    Example: ps3d-rt annotate open annotation
    """
    from ps3d_rt.view.napari_layers import open_viewer, run_viewer  # noqa: PLC0415 - needs an extra
    from ps3d_training.annotate.folder import find_patch  # noqa: PLC0415

    patch = find_patch(folder, name)
    viewer = open_viewer(f"{patch.name} – ps3d-rt annotate")
    from ps3d_training.annotate.plugin.panels import ReviewPanel, ScribblePanel  # noqa: PLC0415 - needs a screen

    review = ReviewPanel(viewer, folder, patch.name)
    viewer.window.add_dock_widget(review, name="Review and correct particles")
    viewer.window.add_dock_widget(ScribblePanel(viewer), name="Find particles from scribbles", tabify=True)
    run_viewer()

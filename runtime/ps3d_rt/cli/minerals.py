"""``ps3d-rt minerals``: which minerals the particles of an output are made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from ps3d_rt.cli import options
from ps3d_rt.errors import InputError


def minerals(
    out: Annotated[Path, typer.Argument(help="Folder that predict wrote: labels, table and run.json.")],
    phases: Annotated[
        str | None, typer.Option(help="File of phases, OUT/phases.json without; or auto:N to propose at most N.")
    ] = None,
    image: Annotated[Path | None, typer.Option(help="The scan, if it is not where predict found it.")] = None,
    unit: Annotated[
        Literal["gray", "contrast"], typer.Option(help="With auto:N: what ranges above the embedding are counted in.")
    ] = "gray",
    names: Annotated[
        str | None, typer.Option(help="With auto:N: minerals, such as quartz,pyrite; by attenuation they get phases.")
    ] = None,
    kilovolts: Annotated[int, typer.Option(help="With --names: tube voltage: 60, 80, 100, 120, 140 or 160.")] = 100,
    embedding: Annotated[
        float | None, typer.Option(help="Gray value of what the particles lie in; else what predict found.")
    ] = None,
    edge_correction: options.EdgeCorrection = True,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace minerals, or phases, that are there.")
    ] = False,
) -> None:
    """Find which minerals each particle of an output is made of, how free they are, and what the sample holds.

    Phases are gray values by name and range, counted from the embedding. --phases auto:N only proposes some: look at
    OUT/phases.json, name them, and start the command again without it. Then OUT/minerals gets tables, and the report
    a section. Prints the phases proposed, or the composition of the sample, as JSON.

    Example: ps3d-rt minerals result --phases auto:3 --names quartz,pyrite,galena
    """
    from ps3d_rt.cli.progress import listening  # noqa: PLC0415 - what loads arrays is loaded on use
    from ps3d_rt.core.minerals.phases import AutoPhases  # noqa: PLC0415
    from ps3d_rt.io.phases import NAME, phases_asked  # noqa: PLC0415
    from ps3d_rt.mineralogy.of_output import ReadOptions, minerals_of, propose, usual_by_name  # noqa: PLC0415

    if names is not None and not (phases or "").lower().startswith("auto:"):
        raise InputError("--names is for --phases auto:N; names of phases stand in the file.")
    asked = phases_asked(phases or out / NAME)
    with listening() as listener:
        how = ReadOptions(image=image, embedding=embedding, overwrite=overwrite, on_event=listener)
        if isinstance(asked, AutoPhases):
            wanted = [name.strip() for name in (names or "").split(",") if name.strip()]
            found = propose(out, asked.most, unit, usual_by_name(wanted, kilovolts), how)
            typer.echo(json.dumps(found.to_json(), indent=2))
            typer.echo(
                f"{out / NAME} is a proposal, and nothing was measured with it: look at the ranges, name the "
                f"phases, then run `ps3d-rt minerals {out}`.",
                err=True,
            )
            return
        result = minerals_of(out, asked, edge_correction=edge_correction, options=how)
    composition = {name: column.tolist() for name, column in result.frames["composition"].items()}
    typer.echo(json.dumps({"minerals": str(out / "minerals"), "composition": composition}, indent=2))

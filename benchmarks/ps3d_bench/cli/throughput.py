"""``ps3d-rt bench throughput``: how long a scan takes on this machine, over the particle size."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from ps3d_bench.capability import require
from ps3d_bench.environment import environment, write_result
from ps3d_rt.cli import options
from ps3d_rt.errors import InputError


def throughput(
    sizes: Annotated[str, typer.Option(help="Particle sizes, voxels across.")] = "15,20,30,40,60,90,120",
    shape: Annotated[str, typer.Option(help="Voxels of the scans, z,y,x, or one side.")] = "256,256,256",
    growth: Annotated[
        str | None,
        typer.Option(help="Sides of cubes, 60 voxels a particle, to see how seconds grow: 128,256,512."),
    ] = None,
    repeats: Annotated[int, typer.Option(help="Runs of each, of which the median counts.", min=1)] = 3,
    model: Annotated[str, typer.Option(help="Bundled model, or path of a .ps3d bundle.")] = "default",
    engine: Annotated[str, typer.Option(help="As of predict.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="As of predict; default: all cores.", min=1)] = None,
    cache: Annotated[Path, typer.Option(help="Folder that keeps the scans.")] = Path("bench-cache"),
    out: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Picture to write: .svg, .png …")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Run predict on synthetic scans of several particle sizes: seconds by stage, peak memory, patches.

    A fit through the runs says what a scan of 997 × 1256 × 1256 voxels would take; the picture shows it beside the
    times that were published for that scan.

    Example: ps3d-rt bench throughput --sizes 20,60 --shape 256 --plot throughput.svg
    """
    from ps3d_rt.cli.results import for_people  # noqa: PLC0415 - as below

    if plot is not None:
        require("matplotlib")
    from ps3d_bench import plot as picture  # noqa: PLC0415 - heavy
    from ps3d_bench.throughput import (  # noqa: PLC0415
        GROWTH_SIZE,
        as_table,
        extrapolate,
        growth_scans,
        measure,
        scans,
        slope,
    )
    from ps3d_rt.cli.options import sides  # noqa: PLC0415

    voxels = cast(tuple[int, int, int], sides(shape))  # None stands for no text
    options = ["--model", model, "--engine", engine, *(["--threads", str(threads)] if threads else [])]
    content: dict[str, Any] = {
        "benchmark": "throughput",
        "data": "simulated: ps3d_training.synth",
        **environment(["ps3d-rt", *sys.argv[1:]]),
        "runs": [],
    }
    for scan in scans(cache, voxels, whole_numbers(sizes, "--sizes")):
        row = measure(scan, repeats, options)
        content["runs"].append(row)
        typer.echo(f"{row['particle_size_voxels']} voxels, {row['shape']}: {row['seconds_median']} s", err=True)
    content["extrapolation"] = extrapolate(content["runs"])
    if growth is not None:
        rows = [
            measure(scan, repeats, options)
            for scan in growth_scans(cache, whole_numbers(growth, "--growth"), GROWTH_SIZE)
        ]
        content["growth"] = {"particle_size_voxels": GROWTH_SIZE, "log_log_slope": slope(rows), "runs": rows}
    if out is not None:
        write_result(out, content)
    if plot is not None:
        picture.draw(content, plot)
    typer.echo(as_table(content) if for_people(as_json=as_json) else json.dumps(content, indent=2))


def whole_numbers(text: str, option: str) -> list[int]:
    """Parse whole numbers above 0 with commas between.

    >>> whole_numbers("20,60", "--sizes")
    [20, 60]
    """
    words = text.split(",")
    if not all(word.isdecimal() and int(word) for word in words):
        raise InputError(f"{option} is {text!r}; give whole numbers above 0 with commas between, without spaces.")
    return [int(word) for word in words]

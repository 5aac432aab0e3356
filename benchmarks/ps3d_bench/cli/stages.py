"""``ps3d-rt bench stages``: every stage beside its peers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from ps3d_bench.capability import require
from ps3d_bench.environment import environment, write_result
from ps3d_rt.cli import options


def stages(
    side: Annotated[int, typer.Option(help="Side of the synthetic sample, voxels.", min=32)] = 256,
    repeats: Annotated[int, typer.Option(help="Turns of each, of which the median counts.", min=1)] = 5,
    cache: Annotated[Path, typer.Option(help="Folder that keeps the sample.")] = Path("bench-cache"),
    out: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Time every stage but the network beside the libraries one would take instead.

    All work on the same synthetic sample and must agree before they are timed; they take turns.

    Example: ps3d-rt bench stages --out stages.json
    """
    from ps3d_rt.cli.results import for_people  # noqa: PLC0415 - as below

    require("skimage")
    from ps3d_bench.race import as_table, judge  # noqa: PLC0415 - heavy
    from ps3d_bench.samples import load_cases  # noqa: PLC0415
    from ps3d_bench.stages import races, sample_spec  # noqa: PLC0415

    (case,) = load_cases(cache, [sample_spec(side)])
    content = {
        "benchmark": "stages",
        "data": "simulated: ps3d_training.synth",
        **environment(["ps3d-rt", *sys.argv[1:]], ["scikit-image"]),
        "sample": {"simulated": case.simulated, "came_out": case.came_out},
    }
    rows = []
    for race in races(case):
        typer.echo(f"{race.stage} …", err=True)
        rows += judge(race, repeats)
    content["stages"] = rows
    if out is not None:
        write_result(out, content)
    typer.echo(as_table(rows) if for_people(as_json=as_json) else json.dumps(content, indent=2))

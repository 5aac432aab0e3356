"""``ps3d-rt bench scaling``: how the network's speed grows with cores on this machine."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ps3d_bench.environment import environment, machine, write_result
from ps3d_rt.cli import options

BUSY = 0.5
"""Load of the last minute, in processes that want a core, from which on it is said."""


def scaling(
    model: Annotated[str, typer.Option(help="Bundled model, or path of a .ps3d bundle.")] = "default",
    precision: Annotated[str, typer.Option(help="As of predict; auto chooses for every number of cores.")] = "auto",
    seconds: Annotated[float, typer.Option(help="To time each number of cores.", min=0.01)] = 5,
    out: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Time the network on 1, 2, 4 … cores, pinned where the system allows it, and in one or more processes.

    Says what limits it with all cores: the cores, the memory, or how threads share the work.

    Example: ps3d-rt bench scaling --seconds 10
    """
    from ps3d_bench.scaling import as_table, curve, usable_cores, verdict  # noqa: PLC0415 - heavy
    from ps3d_rt.cli.results import for_people  # noqa: PLC0415

    load = machine()["load_average_1_min"]
    if load is not None and load > BUSY:
        typer.echo(f"warning: the machine is busy (load {load}); the curve is one of what is left.", err=True)
    rows = curve(model, precision, usable_cores(), seconds)
    limit = verdict(rows)
    content = {
        "benchmark": "scaling",
        **environment(["ps3d-rt", *sys.argv[1:]]),
        "rows": [asdict(row) for row in rows],
        "limit": limit,
    }
    if out is not None:
        write_result(out, content)
    table = f"{as_table(rows)}\n\nlimited by {limit}"
    typer.echo(table if for_people(as_json=as_json) else json.dumps(content, indent=2))

"""``ps3d-rt bench``: what a scan takes, and every stage beside its peers. One file a command."""

from __future__ import annotations

import typer

from ps3d_bench.cli.stages import stages
from ps3d_bench.cli.throughput import throughput

app = typer.Typer(help="Measure speed and memory on this machine.", no_args_is_help=True)
app.command()(throughput)
app.command()(stages)

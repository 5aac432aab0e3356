"""``ps3d-rt bench``: what a scan takes, how good the labels are, and every stage beside its peers. A file a command."""

from __future__ import annotations

import typer

from ps3d_bench.cli.accuracy import accuracy
from ps3d_bench.cli.scaling import scaling
from ps3d_bench.cli.stages import stages
from ps3d_bench.cli.throughput import throughput

app = typer.Typer(help="Measure speed, memory and accuracy on this machine.", no_args_is_help=True)
app.command()(accuracy)
app.command()(throughput)
app.command()(stages)
app.command()(scaling)

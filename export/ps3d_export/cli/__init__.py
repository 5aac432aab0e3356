"""``ps3d-rt export``: precision, engines and the accuracy gate. A file a command."""

from __future__ import annotations

import typer

from ps3d_export.cli.engine import engine
from ps3d_export.cli.gate import gate
from ps3d_export.cli.onnx import onnx
from ps3d_export.cli.precisions import precisions

app = typer.Typer(help="Export a model in another precision, build engines, judge them.", no_args_is_help=True)
app.command()(onnx)
app.command()(precisions)
app.command()(engine)
app.command()(gate)

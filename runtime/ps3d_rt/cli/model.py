"""``ps3d-rt model``: what models there are, what is in one, and whether it is whole."""

from __future__ import annotations

import json
from typing import Annotated

import typer

Model = Annotated[str, typer.Argument(help="Bundled model, or path of a .ps3d folder or file.")]


def model_app() -> typer.Typer:
    """Put the sub-commands together; other packages add theirs to the result."""
    app = typer.Typer(help="List, show, import and verify model bundles.", no_args_is_help=True)
    app.command("list")(list_models)
    app.command()(info)
    app.command()(verify)
    return app


def list_models() -> None:
    """Print the names of the models that come with ps3d-rt, one a line.

    Example: ps3d-rt model list
    """
    from ps3d_rt.model import bundled_models  # noqa: PLC0415 - keeps --help fast

    for name in bundled_models():
        typer.echo(name)


def info(model: Model = "default") -> None:
    """Print everything a bundle says about itself as JSON: patch, sizes, gray scheme, provenance, licence.

    Example: ps3d-rt model info default
    """
    from ps3d_rt.model import load_model  # noqa: PLC0415 - keeps --help fast

    bundle = load_model(model)
    typer.echo(json.dumps(bundle.to_json() | {"hash": bundle.hash, "path": str(bundle.path)}, indent=2))


def verify(model: Model = "default") -> None:
    """Check that every file of a bundle is there and unchanged; print its name and hash.

    Example: ps3d-rt model verify my-plant.ps3d
    """
    from ps3d_rt.model import load_model  # noqa: PLC0415 - keeps --help fast

    bundle = load_model(model)
    typer.echo(f"{bundle.name} {bundle.hash}")

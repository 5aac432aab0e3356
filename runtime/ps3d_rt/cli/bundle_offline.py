"""``ps3d-rt bundle-offline``: wheels for a machine without a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def bundle_offline(
    folder: Annotated[Path, typer.Argument(help="Folder to make, for the wheels.")],
    platform: Annotated[
        str | None, typer.Option(help="linux-x86_64, linux-aarch64, windows or macos-arm64; without it, like this one.")
    ] = None,
    python: Annotated[str | None, typer.Option(help="Version of Python there, such as 3.12; without it, this.")] = None,
    extra: Annotated[list[str] | None, typer.Option(help="Extra to take along; may be repeated.")] = None,
) -> None:
    """Gather all wheels that an installation needs, for a machine without a network; print the line that installs them.

    Needs a network itself: the packages come from pip's index, some 360 MB.

    Example: ps3d-rt bundle-offline wheels --platform windows --python 3.12 --extra serve
    """
    from ps3d_rt.offline import Wanted, gather_wheels, install_line  # noqa: PLC0415 - starts with pip

    wanted = Wanted(platform=platform, python=python, extras=tuple(extra or ()))
    wheels = gather_wheels(folder, wanted)
    facts = {"wheels": len(wheels), "bytes": sum(wheel.stat().st_size for wheel in wheels)}
    typer.echo(json.dumps({"folder": str(folder), **facts, "install": install_line(folder, wanted)}, indent=2))

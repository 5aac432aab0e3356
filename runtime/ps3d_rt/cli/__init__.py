"""The ``ps3d-rt`` command: one file a command; other packages add theirs through ``ps3d_rt.commands``."""

from __future__ import annotations

import logging
import sys
from importlib.metadata import entry_points
from typing import NoReturn

import typer

from ps3d_rt.cli.convert import convert
from ps3d_rt.cli.doctor import doctor
from ps3d_rt.cli.evaluate import evaluate
from ps3d_rt.cli.group import CommandGroup, LogHandler, set_level
from ps3d_rt.cli.measure import measure
from ps3d_rt.cli.model import model_app
from ps3d_rt.cli.plan import plan
from ps3d_rt.cli.predict import predict
from ps3d_rt.cli.report import report
from ps3d_rt.cli.stopping import stoppable
from ps3d_rt.cli.view import view
from ps3d_rt.errors import InterruptedRun, Ps3dError, cannot_write

COMMANDS = "ps3d_rt.commands"
"""Entry-point group: each entry is a Typer application or a plain command function; ``model.NAME`` goes under model."""


def build_app() -> typer.Typer:
    """Put the application together from our commands and those that other packages register."""
    app = typer.Typer(
        name="ps3d-rt",
        cls=CommandGroup,
        help="One label per particle, and a table, from micro-CT scans of crushed material.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
    )
    for command in (predict, plan, report, view, evaluate, measure, convert, doctor):
        app.command()(command)
    groups = {"": app, "model": model_app()}
    app.add_typer(groups["model"], name="model")
    for entry in sorted(entry_points(group=COMMANDS), key=lambda e: e.name):
        group, _, name = entry.name.rpartition(".")
        command = entry.load()
        if isinstance(command, typer.Typer):
            groups[group].add_typer(command, name=name)
        else:
            groups[group].command(name=name)(command)
    return app


def main() -> None:
    """Run ``ps3d-rt``; errors made by the user are one message and an exit code, not a traceback."""
    logging.basicConfig(handlers=[LogHandler()], level=logging.WARNING)
    set_level(logging.INFO)
    try:
        with stoppable():
            build_app()(prog_name="ps3d-rt")
    except Ps3dError as error:
        _fail(error)
    except OSError as error:
        known = cannot_write(error.filename2 or error.filename or "the output", error)
        if not isinstance(known, InterruptedRun) and not isinstance(error, PermissionError):
            raise  # a bug
        _fail(known)
    except KeyboardInterrupt:
        _fail(InterruptedRun("interrupted before anything was done."))


def _fail(error: Ps3dError) -> NoReturn:
    print(f"ps3d-rt: {error}", file=sys.stderr)  # noqa: T201 - the one place that speaks for all errors
    sys.exit(error.exit_code)

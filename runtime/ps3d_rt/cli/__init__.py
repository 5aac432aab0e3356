"""The ``ps3d-rt`` command: one file a command; other packages add theirs through ``ps3d_rt.commands``."""

from __future__ import annotations

import sys
import traceback
from importlib.metadata import entry_points
from typing import Annotated, Any, NoReturn

import typer

from ps3d_rt.cli.bundle_offline import bundle_offline
from ps3d_rt.cli.compare import compare
from ps3d_rt.cli.convert import convert
from ps3d_rt.cli.doctor import doctor
from ps3d_rt.cli.evaluate import evaluate
from ps3d_rt.cli.group import CommandGroup
from ps3d_rt.cli.logs import LINES, end_logging, start_logging
from ps3d_rt.cli.measure import measure
from ps3d_rt.cli.minerals import minerals
from ps3d_rt.cli.model import model_app
from ps3d_rt.cli.plan import plan
from ps3d_rt.cli.predict import predict
from ps3d_rt.cli.report import report
from ps3d_rt.cli.serve import serve
from ps3d_rt.cli.stopping import stoppable
from ps3d_rt.cli.view import view
from ps3d_rt.cli.watch import watch
from ps3d_rt.errors import InterruptedRun, Ps3dError, cannot_write, is_of_the_machine

MAKERS = ("model", "synth", "annotate", "train", "export", "bench")
"""Commands for those who make models and measure them; all others are for every day."""
COMMANDS = "ps3d_rt.commands"
"""Entry-point group: each entry is a Typer application or a plain command function; ``model.NAME`` goes under model."""


def build_app() -> typer.Typer:
    """Put the application together from our commands and those that other packages register."""
    app = typer.Typer(
        name="ps3d-rt",
        cls=CommandGroup,
        epilog="ps3d-rt demo shows what it does. ps3d-rt --install-completion lets Tab complete commands.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
    )
    app.callback()(root)
    ours = (
        predict,
        plan,
        report,
        view,
        measure,
        minerals,
        compare,
        evaluate,
        convert,
        doctor,
        watch,
        serve,
        bundle_offline,
    )
    commands: dict[str, Any] = {command.__name__.replace("_", "-"): command for command in ours} | {
        "model": model_app()
    }
    for entry in sorted(entry_points(group=COMMANDS), key=lambda e: e.name):
        group, _, name = entry.name.rpartition(".")
        if group:
            _add(commands[group], name, entry.load())
        else:
            commands[name] = entry.load()
    for name in sorted(commands, key=lambda name: (name != "demo", name in MAKERS)):  # the order of the help
        _add(app, name, commands[name], "For those who make models" if name in MAKERS else "Commands")
    return app


def _add(app: typer.Typer, name: str, command: Any, panel: str | None = None) -> None:
    if isinstance(command, typer.Typer):
        app.add_typer(command, name=name, rich_help_panel=panel)
    else:
        app.command(name=name, rich_help_panel=panel)(command)


def _print_version(chosen: bool) -> None:
    from ps3d_rt.versions import release  # noqa: PLC0415 - starts git

    if chosen:
        typer.echo(release())
        raise typer.Exit


def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version, and in a checkout its commit.",
            is_eager=True,
            callback=_print_version,
            expose_value=False,
        ),
    ] = False,
) -> None:
    """One label per particle, and a table, from micro-CT scans of crushed material."""


def main() -> None:
    """Run ``ps3d-rt``; errors made by the user are one message and an exit code, not a traceback."""
    start_logging()
    try:
        with stoppable():
            build_app()(prog_name="ps3d-rt")
    except Ps3dError as error:
        _fail(error)
    except OSError as error:
        if not is_of_the_machine(error):
            _fail_by_a_bug()
        _fail(cannot_write(error.filename2 or error.filename or "the output", error))
    except KeyboardInterrupt:
        _fail(InterruptedRun("interrupted before anything was done."))
    except Exception:  # noqa: BLE001 - whatever it is, it goes to the log too
        _fail_by_a_bug()
    finally:
        end_logging()


def _fail(error: Ps3dError) -> NoReturn:
    LINES.say(f"ps3d-rt: {error}", {"event": "Failed", "exit_code": error.exit_code, "text": str(error)})
    sys.exit(error.exit_code)


def _fail_by_a_bug() -> NoReturn:
    """Say all of what is being handled."""
    text = traceback.format_exc().rstrip()
    LINES.say(text, {"event": "Failed", "exit_code": 1, "text": text})
    sys.exit(1)

"""What all commands of ``ps3d-rt`` share: options, the look of the help, and how a stopped command ends."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ps3d_rt.cli.logs import LINES, set_level
from ps3d_rt.errors import InputError, InterruptedRun

_VALUES = {str: "TEXT", int: "N", float: "X", Path: "PATH"}
"""What the help calls the value of an option; a switch has none."""


class CommandGroup(TyperGroup):
    """The root of all commands, those of other packages included."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        _finish(self, _common_options())

    def main(self, *arguments: Any, **given: Any) -> Any:
        """Run a command line; where JSON lines are wanted, a mistyped one is one of them too.

        Raises:
            InputError: if an option or argument is refused, and JSON lines are wanted.
        """
        # It is looked for here, because what is refused may stand in front of it.
        if "--log-json" not in sys.argv:
            return super().main(*arguments, **given)
        LINES.as_json = True
        try:
            sys.exit(super().main(*arguments, **(given | {"standalone_mode": False})))
        except Exception as error:
            refused = getattr(error, "format_message", None)  # Typer has no public name for all that it refuses
            if refused is None:
                raise
            command = getattr(getattr(error, "ctx", None), "command_path", "ps3d-rt")
            raise InputError(f"{refused()} `{command} --help` lists what there is.") from error

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for.

        Raises:
            InterruptedRun: if it was stopped by a signal; what it has to say about going on is in the message.
        """
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            how = getattr(stop, "__notes__", ["start the same command again."])
            raise InterruptedRun(f"interrupted; {' '.join(how)}") from stop


def _finish(command: Any, common: Sequence[Any]) -> None:
    """Add the common options to every command below, and write its help as the docs do."""
    below = getattr(command, "commands", None)
    if below is None:
        command.params += common
        # A paragraph of a docstring is one line of text: the terminal is narrower than our source, or wider.
        command.help = re.sub(r"(?<!\n)\n(?!\n)", " ", command.help or "")
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            parameter.metavar = str(parameter.name).upper()
            shown = parameter.metavar if parameter.required else f"[{parameter.metavar}]"
            parameter.get_usage_pieces = lambda _, shown=shown: [shown]
        elif parameter.metavar is None:
            kind = parameter.type_descriptor.annotation
            parameter.metavar = "" if kind is bool else _VALUES.get(kind)
    for one in (below or {}).values():
        _finish(one, common)


def _common_options() -> list[Any]:
    """Make the options, as Typer makes those of any command."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def only(
        verbose: Verbose = False, quiet: Quiet = False, log_json: LogJson = False, log_file: LogFile = None
    ) -> None: ...

    return [option for option in typer.main.get_command(app).params if option.name in COMMON]


def _sets(level: int) -> Callable[[bool], None]:
    def set_if(chosen: bool) -> None:
        if chosen:
            set_level(level)

    return set_if


def _log_as_json(chosen: bool) -> None:
    LINES.as_json = chosen


def _open_log(path: Path | None) -> None:
    if path is not None:
        LINES.open_file(path)


COMMON = ("verbose", "quiet", "log_json", "log_file")
"""Names of the options that every command takes."""
_option = {"expose_value": False, "rich_help_panel": "What is said"}
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more.", callback=_sets(logging.DEBUG), **_option)]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", help="Say nothing but warnings and errors.", callback=_sets(logging.WARNING), **_option
    ),
]
LogJson = Annotated[
    bool, typer.Option("--log-json", help="Say it as JSON lines, with times.", callback=_log_as_json, **_option)
]
LogFile = Annotated[
    Path | None,
    typer.Option("--log-file", help="Write it to this file too, with times.", callback=_open_log, **_option),
]

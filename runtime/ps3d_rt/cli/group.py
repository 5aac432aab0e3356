"""What all commands of ``ps3d-rt`` have in common: ``-v`` and ``-q``, and how they end when they are stopped."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ps3d_rt.errors import InterruptedRun

PACKAGES = ("ps3d_rt", "ps3d_training", "ps3d_export", "ps3d_bench")
_READERS = ("tifffile", "nibabel", "pydicom", "olefile")


class CommandGroup(TyperGroup):
    """The root of all commands, those of other packages included."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        _add_verbosity(self, _verbosity())

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


def _add_verbosity(command: Any, options: Sequence[Any]) -> None:
    below = getattr(command, "commands", None)
    if below is None:
        command.params += options
        # A paragraph of a docstring is one line of text: the terminal is narrower than our source, or wider.
        command.help = re.sub(r"(?<!\n)\n(?!\n)", " ", command.help or "")
    for one in (below or {}).values():
        _add_verbosity(one, options)


def _verbosity() -> list[Any]:
    """Make the options, as Typer makes those of any command."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def only(verbose: Verbose = False, quiet: Quiet = False) -> None: ...

    return [option for option in typer.main.get_command(app).params if option.name in {"verbose", "quiet"}]


def _sets(level: int) -> Callable[[bool], None]:
    def set_if(chosen: bool) -> None:
        if chosen:
            set_level(level)

    return set_if


Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Say more.", expose_value=False, callback=_sets(logging.DEBUG)),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        help="Say nothing but warnings and errors.",
        expose_value=False,
        callback=_sets(logging.WARNING),
    ),
]


def set_level(level: int) -> None:
    """Choose what our packages say: INFO is what a person wants to know who waits; of libraries only warnings pass.

    What readers of files say of damaged ones is said in our words; theirs pass only if more is wanted.
    """
    for package in PACKAGES:
        logging.getLogger(package).setLevel(level)
    for reader in _READERS:
        logging.getLogger(reader).setLevel(logging.WARNING if level <= logging.DEBUG else logging.CRITICAL + 1)


def is_quiet() -> bool:
    """Whether only warnings are wanted."""
    return not logging.getLogger(PACKAGES[0]).isEnabledFor(logging.INFO)


class LogHandler(logging.Handler):
    """Writes what is logged to stderr, whatever that is at the moment, as a line of text or of JSON."""

    as_json = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        level, text = record.levelname.lower(), record.getMessage()
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        if self.as_json:
            line = json.dumps({"event": "Logged", "level": level, "text": text})
        else:
            line = text if record.levelno == logging.INFO else f"{level}: {text}"
        sys.stderr.write(line + "\n")
        sys.stderr.flush()

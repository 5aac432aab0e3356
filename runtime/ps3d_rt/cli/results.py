"""What a command has found, on stdout: a short table for people at a terminal, JSON for everything else."""

from __future__ import annotations

import json
import sys
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ps3d_rt.cli.progress import warn

Row = tuple[str, str, str]
"""Name, value, remark."""


def for_people(*, as_json: bool) -> bool:
    """Whether stdout is a terminal and --json was not given."""
    return not as_json and sys.stdout.isatty()


def print_result(facts: dict[str, Any], rows: Callable[[], Sequence[Row]], *, as_json: bool) -> None:
    """Print what was found.

    Args:
        facts: as JSON holds them.
        rows: makes the same for people.
        as_json: JSON was asked for.
    """
    if not for_people(as_json=as_json):
        typer.echo(json.dumps(facts, indent=2))
        return
    table = Table.grid(padding=(0, 2))
    for name, value, remark in rows():
        table.add_row(Text(name, style="bold"), Text(value, overflow="fold"), Text(remark, style="dim"))
    Console().print(table)


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table with a heading for people; all columns but the first and the last are numbers."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for place, head in enumerate(heads):
        table.add_column(Text(head), justify="left" if place in (0, len(heads) - 1) else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)


def open_page(page: Path) -> None:
    """Open a page in the browser; say so where there is none."""
    if not webbrowser.open(page.resolve().as_uri()):
        warn(f"no browser was found here; open {page} in one.")

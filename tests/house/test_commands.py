"""Every command explains itself, stands in docs/commands.md, and every example in the pages is one it takes."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from ps3d_rt.cli import build_app
from ps3d_rt.cli.group import COMMON

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
APP = typer.main.get_command(build_app())


def walk(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every command and sub-command that does something, by its full name."""
    if not hasattr(command, "commands"):
        yield name, command
    for part, below in getattr(command, "commands", {}).items():
        yield from walk(below, f"{name} {part}")


COMMANDS = dict(walk(APP, "ps3d-rt"))
ALL_TAKE = {"help", *COMMON}
"""Options of every command; what the page says of them it says once."""


def usage(name: str, command: Any) -> str:
    """``ps3d-rt measure LABELS OUT``; arguments that may be left out stand in brackets."""
    arguments = [(p.name.upper(), p.required) for p in command.params if p.param_type_name == "argument"]
    return " ".join([name, *(text if required else f"[{text}]" for text, required in arguments)])


def sections() -> dict[str, str]:
    """Heading → text of docs/commands.md."""
    text = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^## `(.+?)`\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))


def parse(line: str) -> None:
    """Let the command line take a line apart without running it; it raises what a user would see."""
    _, *words = shlex.split(line, comments=True)
    command = APP
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    command.make_context(line, words)


def test_the_commands_are_these():
    assert sorted(COMMANDS) == [
        "ps3d-rt annotate open",
        "ps3d-rt annotate pick",
        "ps3d-rt bench accuracy",
        "ps3d-rt bench scaling",
        "ps3d-rt bench stages",
        "ps3d-rt bench throughput",
        "ps3d-rt bundle-offline",
        "ps3d-rt compare",
        "ps3d-rt convert",
        "ps3d-rt demo",
        "ps3d-rt doctor",
        "ps3d-rt evaluate",
        "ps3d-rt export engine",
        "ps3d-rt export gate",
        "ps3d-rt export onnx",
        "ps3d-rt export precisions",
        "ps3d-rt measure",
        "ps3d-rt minerals",
        "ps3d-rt model import",
        "ps3d-rt model info",
        "ps3d-rt model list",
        "ps3d-rt model verify",
        "ps3d-rt plan",
        "ps3d-rt predict",
        "ps3d-rt report",
        "ps3d-rt serve",
        "ps3d-rt synth",
        "ps3d-rt train adapt",
        "ps3d-rt train default",
        "ps3d-rt train export",
        "ps3d-rt train prepare",
        "ps3d-rt train run",
        "ps3d-rt train statistics",
        "ps3d-rt train update",
        "ps3d-rt view",
        "ps3d-rt watch",
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_help_with_an_example_that_it_takes(name):
    help_text = COMMANDS[name].help
    assert not help_text.startswith("Example")
    (example,) = re.findall(r"^Example: (.+)$", help_text, re.MULTILINE)
    assert example.startswith(name)
    parse(example)
    for parameter in COMMANDS[name].params:
        assert parameter.help, parameter.name


def test_every_command_has_its_section_with_its_arguments():
    assert sorted(sections()) == sorted(usage(name, command) for name, command in COMMANDS.items())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_section_lists_every_option_and_its_default_and_no_other(name):
    options = [p for p in COMMANDS[name].params if p.param_type_name == "option" and p.name not in ALL_TAKE]
    rows = dict(re.findall(r"^\| `(--[\w-]+)` \| (.*?) \|", sections()[usage(name, COMMANDS[name])], re.MULTILINE))
    # Of a switch that is on, the form that turns it off is the one a user needs.
    assert rows.keys() == {(p.secondary_opts if p.default is True else p.opts)[0] for p in options}
    for option in options:
        if not isinstance(option.default, bool | None):
            assert str(option.default) in rows[option.opts[0]], option.name
        assert ("needed" in rows.get(option.opts[0], "")) == option.required, option.name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_what_the_head_of_the_page_says_of_all(name):
    head = (ROOT / "docs/commands.md").read_text(encoding="utf-8").partition("\n## ")[0]
    common = [p for p in COMMANDS[name].params if p.name in COMMON]
    assert [p.name for p in common] == [*COMMON]
    for option in common:
        for spelled in option.opts:
            assert f"`{spelled}" in head


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_command_lines_in_the_pages_are_taken(page):
    blocks = re.findall(r"^```\w*\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    for line in lines:
        if line.startswith("ps3d-rt "):
            parse(line)


def test_the_readme_and_ci_use_targets_that_the_makefile_has():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    readme = set(re.findall(r"\bmake (\w+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert {"demo", "test"} <= readme <= targets
    assert re.search(r"^make test\b", (ROOT / ".ci/run").read_text(encoding="utf-8"), re.MULTILINE)

"""Options of a command that stand in a dataclass, and how its help shows them."""

from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from ps3d_rt.cli.expand import expanded


@dataclass(frozen=True, kw_only=True)
class Size:
    side: Annotated[int, typer.Option(help="Voxels.", min=1)]
    deep: Annotated[bool, typer.Option("--deep/--flat", help="All axes.")] = True


def run(*arguments: str) -> Any:
    app, given = typer.Typer(), []

    @app.command()
    @expanded
    def make(name: Annotated[str, typer.Argument(help="A name.")], size: Size, often: int = 2) -> None:
        given.append((name, size, often))

    result = CliRunner().invoke(app, arguments)
    return result.exit_code, given


def test_the_fields_are_options_and_come_back_as_the_dataclass():
    assert run("ball", "--side", "7") == (0, [("ball", Size(side=7), 2)])
    assert run("--often", "3", "--flat", "--side", "1", "ball") == (0, [("ball", Size(side=1, deep=False), 3)])


@pytest.mark.parametrize("arguments", [["ball"], ["ball", "--side", "0"], ["--side", "7"], ["ball", "--size", "7"]])
def test_what_typer_refuses_is_refused(arguments):
    assert run(*arguments) == (2, [])


@pytest.mark.parametrize("command", [[], ["predict"], ["model", "info"], ["train", "run"]])
def test_h_is_help_everywhere(cli: Any, command: list[str]) -> None:
    code, out, _ = cli(*command, "-h")
    assert code == 0
    assert "Usage: ps3d-rt" in out
    assert out == cli(*command, "--help")[1]


def test_the_help_of_predict_comes_in_groups_on_80_columns(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = cli("predict", "--help")[1]
    groups = ["─ Scan ─", "--roi", "─ Model ─", "--mirror", "─ Speed and memory ─", "--memory", "─ Output ─"]
    places = [out.index(text) for text in [*groups, "--overwrite"]]
    assert places == sorted(places)
    assert max(map(len, out.splitlines())) <= 80
    assert "as JSON. A run that was stopped goes on when it is started again." in out, "paragraphs are filled"

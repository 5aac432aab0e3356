"""Options of a command that stand in a dataclass, and how its help shows them."""

from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from ps3d_rt.cli import options
from ps3d_rt.cli.expand import expanded
from ps3d_rt.errors import InputError


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
    assert "warnings, where the report is, and the time. A run that was stopped goes on" in out, "paragraphs are filled"


@pytest.mark.parametrize("text", ["10um", "10 µm", "10 μm", " 0.01mm", "1e-2", "1e4 nm", "10 Microns"])
def test_lengths_may_have_a_unit(text: str) -> None:
    assert options.spacing_mm(text) == [0.01] * 3
    assert options.particle_size(text) == 0.01
    assert options.spacing_mm(f"{text},{text},{text}") == [0.01] * 3


@pytest.mark.parametrize("text", ["0,01", "1,000", "10 px", "fine", "", "1.2.3", "10,20,30um", "nan", "1 0"])
def test_lengths_that_can_be_read_in_two_ways_or_in_none_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="in mm with a decimal point, such as"):
        options.spacing_mm(text)
    with pytest.raises(InputError, match="in mm with a decimal point, such as"):
        options.particle_size(text)


@pytest.mark.parametrize("text", ["auto", "AUTO", " Auto "])
def test_auto_may_be_written_in_any_case(text: str) -> None:
    assert options.particle_size(text) == "auto"

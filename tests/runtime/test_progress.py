"""What a person at a terminal sees of a run, what a log file holds, and how a result is printed."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ps3d_rt.cli import progress as module
from ps3d_rt.cli.logs import LINES, LogHandler, set_level
from ps3d_rt.cli.results import open_page, print_result
from ps3d_rt.cli.run_summary import run_facts, run_rows
from ps3d_rt.clock import Clock, Resumed
from ps3d_rt.events import StageAdvanced, StageDone, StageStarted, Warned

RUN = {
    "particles": 1234,
    "dropped": {"particles": 3, "volume_share": 0.004},
    "warnings": ["look at it"],
    "seconds": {"all": 75.0},
    "size_distribution": {
        "d50_by_volume_mm": 0.2812,
        "d50_by_volume_interval_mm": [0.27, 0.295],
        "d80_by_volume_mm": 1.35,
        "d80_by_volume_interval_mm": [None, None],
    },
}


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], io.StringIO]:
    """Put a terminal of 100 columns on stderr, of which all that was ever written is kept. Call it in the test."""

    def put() -> io.StringIO:
        written = io.StringIO()
        monkeypatch.setattr(written, "isatty", lambda: True, raising=False)
        monkeypatch.setattr(sys, "stderr", written)
        shown = Console(file=written, force_terminal=True, width=100, color_system=None)
        monkeypatch.setattr(module, "Console", lambda **_: shown)
        monkeypatch.setenv("TERM", "xterm")
        set_level(logging.INFO)
        return written

    return put


def test_a_resumed_stage_counts_only_what_it_does_itself(terminal: Callable[[], io.StringIO]) -> None:
    written = terminal()
    with module.listening() as on_event:
        on_event(StageStarted("network", 100, "patches", 1e6))
        on_event(StageAdvanced("network", 90, resumed=90))
        on_event(StageAdvanced("network", 100, resumed=90))
        on_event(Warned("a [thing] to know"))
        on_event(StageDone("network", 5.0))
    said = written.getvalue()
    assert "network: 5.0 s, 2.0 Mvoxel/s" in said, "ten patches of a million voxels in five seconds"
    assert "warning: a [thing] to know" in said
    assert " 90%" in said


def test_what_is_done_stays_above_the_bar_and_the_bar_goes(terminal: Callable[[], io.StringIO]) -> None:
    written = terminal()
    with module.listening() as on_event:
        for stage in ("network", "table"):
            on_event(StageStarted(stage, 1, "steps", 1e6))
            on_event(StageDone(stage, 2.0))
        on_event(StageStarted("brief", 1, "steps", 1e6))
        on_event(StageDone("brief", 0.01))
    lines = [line for line in written.getvalue().splitlines() if "Mvoxel/s" in line]
    assert [line.split(":")[0].rpartition("\x1b[2K")[2] for line in lines] == ["network", "table"]
    assert "brief:" not in written.getvalue()


def test_a_clock_tells_what_was_there_before(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Any] = []
    with Clock(heard.append).stage("network", 100, 10) as advance:
        advance(Resumed(6))
        advance(3)
    assert heard[1:3] == [StageAdvanced("network", 6, 6), StageAdvanced("network", 9, 6)]


def test_the_log_file_holds_all_with_times_whatever_is_shown(cli: Any, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "run.log"
    for _ in range(2):
        code, _, err = cli("measure", tmp_path / "none.tif", tmp_path / "out", "-q", "--log-file", log)
        assert code == 2
        assert "there is no such file" in err
    first, second = log.read_text(encoding="utf-8").splitlines()
    when, _, text = first.partition(" ")
    assert datetime.fromisoformat(when) <= datetime.fromisoformat(second.partition(" ")[0])
    assert text == err.strip()


def test_errors_are_json_lines_too(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = cli("measure", tmp_path / "none.tif", tmp_path / "out", "--log-json")
    line = json.loads(err.splitlines()[-1])
    assert (code, out, line["event"], line["exit_code"]) == (2, "", "Failed", 2)
    assert "there is no such file" in line["text"]
    assert datetime.fromisoformat(line["time"]).tzinfo is not None
    monkeypatch.setattr("ps3d_rt.model.bundled_models", lambda: 1 / 0)
    code, _, err = cli("model", "list", "--log-json")
    assert (code, json.loads(err)["exit_code"]) == (1, 1)
    assert "ZeroDivisionError" in json.loads(err)["text"]
    code, _, err = cli("model", "list")
    assert (code, err.splitlines()[0]) == (1, "Traceback (most recent call last):")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("measure", "--log-json", "--spacin", "3"), "--spacin"),
        (("predict", "--spacin", "3", "--log-json"), "--spacin"),
        (("predict", "scan.tif", "--log-json"), "OUT"),
        (("demo", "--size", "many", "--log-json"), "--size"),
        (("demo", "--size", "3", "--log-json"), "--size"),
        (("predct", "--log-json"), "predct"),
    ],
)
def test_what_was_mistyped_is_a_json_line_too(cli: Any, typed: tuple[str, ...], said: str) -> None:
    code, out, err = cli(*typed)
    line = json.loads(err)
    assert (code, out, line["event"], line["exit_code"]) == (2, "", "Failed", 2)
    assert said in line["text"]
    assert "--help" in line["text"]


def test_json_lines_change_nothing_of_how_a_command_ends(cli: Any, tmp_path: Path) -> None:
    assert cli("model", "list", "--log-json")[:2] == cli("model", "list")[:2]
    assert cli("predict", "--help", "--log-json")[0] == 0


def test_a_log_file_that_cannot_be_written_is_one_message(cli: Any, tmp_path: Path) -> None:
    code, _, err = cli("model", "list", "--log-file", tmp_path)
    assert (code, str(tmp_path) in err, "Traceback" in err) == (2, True, False)


def test_what_libraries_log_is_for_the_file_and_for_those_who_want_more(
    monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [LogHandler()])
    LINES.open_file(tmp_path / "run.log")
    try:
        for level, seen in ((logging.INFO, ""), (logging.DEBUG, "warning: odd\n")):
            set_level(level)
            logging.getLogger("some.library").warning("odd")
            assert capsys.readouterr().err == seen
    finally:
        LINES.close()
    assert (tmp_path / "run.log").read_text(encoding="utf-8").count("warning: odd") == 2


def test_the_version_has_the_commit_of_a_checkout(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ps3d_rt import versions  # noqa: PLC0415

    code, out, _ = cli("--version")
    assert (code, out.split()[0]) == (0, "ps3d-rt")
    assert versions._commit(tmp_path) is None
    (tmp_path / ".git").mkdir()  # no repository, or no git
    assert versions._commit(tmp_path) is None


def test_the_summary_has_sizes_with_intervals_warnings_and_the_report() -> None:
    rows = {name: (value, remark.replace("\u202f", " ")) for name, value, remark in run_rows(RUN, Path("out"))}
    assert rows["Particles"] == ("1\u202f234", "3 dropped, 0.4 % of the foreground")
    assert rows["D50 by volume"] == ("281\u202fµm", "95 %: 270 to 295 µm")
    assert rows["P80 (D80 by volume)"] == ("1.35\u202fmm", "too few particles for an interval")
    assert rows["Warnings"] == ("1", "look at them in the report")
    assert rows["Report"][0] == str(Path("out") / "report.html")
    assert run_facts(RUN, Path("out"))["d80_by_volume_mm"] == 1.35


def test_the_summary_says_when_a_scan_is_unlike_the_training_and_no_more() -> None:
    def said(**run: Any) -> tuple[Any, Any]:
        rows = {name: value for name, value, _ in run_rows(RUN | run, Path("out"))}
        return rows.get("Model"), run_facts(RUN | run, Path("out")).get("unlike_training")

    assert said() == (None, None)
    assert said(likeness={"unlike": False}) == (None, False)
    assert said(likeness={"unlike": True}) == ("the scan is unlike its training samples", True)


def test_people_get_rows_and_scripts_json(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def print_it(*, as_json: bool) -> str:
        print_result({"particles": 9}, lambda: [("Particles", "9", "none dropped")], as_json=as_json)
        return str(capsys.readouterr().out)

    assert json.loads(print_it(as_json=False)) == {"particles": 9}, "nobody looks: it is piped"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")  # without colours
    assert print_it(as_json=False).split() == ["Particles", "9", "none", "dropped"]
    assert json.loads(print_it(as_json=True)) == {"particles": 9}


def test_the_report_opens_in_a_browser_or_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    open_page(tmp_path / "report.html")
    assert opened == [(tmp_path / "report.html").as_uri()]
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("webbrowser.open", lambda address: False)
    open_page(tmp_path / "report.html")
    assert "no browser was found" in capsys.readouterr().err


def test_help_parts_the_commands_of_every_day_from_those_of_makers(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = cli("--help")
    everyday, makers = out.split("For those who make models")
    for command in ("demo", "predict", "plan", "report", "view", "measure", "evaluate", "convert", "doctor"):
        assert f"│ {command} " in everyday
    for command in ("bench", "export", "model", "train", "synth"):
        assert f"│ {command} " in makers
    assert "--install-completion" in makers
    assert "Usage: ps3d-rt demo [OPTIONS] [OUT]" in cli("demo", "--help")[1]
    assert "Usage: ps3d-rt predict [OPTIONS] SCAN OUT" in cli("predict", "--help")[1]

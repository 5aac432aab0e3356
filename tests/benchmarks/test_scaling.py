"""The curve over cores: which are timed, what is said of them, and that a process times what it is told."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

import ps3d_bench.cli  # noqa: F401 - its commands are modules and functions of one name
from ps3d_bench import scaling
from ps3d_bench.scaling import Row, Task, as_table, core_counts, curve, verdict
from ps3d_rt.errors import Ps3dError


def row(cores: int, patches: float, copies: float, processes: int = 1) -> Row:
    return Row(cores, processes, patches, copies, "int8", True)


@pytest.mark.parametrize(("usable", "counts"), [(1, [1]), (2, [1, 2]), (8, [1, 2, 4, 8]), (12, [1, 2, 4, 8, 12])])
def test_cores_double_up_to_all(usable: int, counts: list[int]) -> None:
    assert core_counts(usable) == counts


def test_every_number_of_cores_is_timed_and_all_of_them_in_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[tuple[int, ...]]] = []

    def together(tasks: list[Task]) -> Row:
        asked.append([task.cores for task in tasks])
        return row(sum(map(len, asked[-1])), 1.0, 1.0, len(tasks))

    monkeypatch.setattr(scaling, "_together", together)
    curve("default", "auto", [0, 2, 4, 6], 1.0)
    assert asked == [
        [(0,)],
        [(0, 2)],
        [(0, 2, 4, 6)],
        [(0, 2), (4, 6)],
        [(0,), (2,), (4,), (6,)],
    ]


@pytest.mark.parametrize(
    ("rows", "limit"),
    [
        ([row(1, 5, 10)], "cores: 1 do 1.00 times the work of one"),
        ([row(1, 5, 10), row(4, 18, 11)], "cores: 4 do 3.60 times the work of one"),
        ([row(1, 5, 10), row(4, 9, 15)], "memory: 4 do 1.80 times the work of one, and copy 1.50 times as fast"),
        (
            [row(1, 5, 10), row(4, 9, 36)],
            "how the work is shared among threads: 4 do 1.80 times the work of one, though copies grow 3.60 times",
        ),
        (
            [row(1, 5, 10), row(4, 9, 36), row(4, 15, 36, 2)],
            "threads of one process: 4 do 1.80 times the work of one, 2 processes 3.00",
        ),
    ],
)
def test_what_limits_is_said(rows: list[Row], limit: str) -> None:
    assert verdict(rows) == limit


def test_the_table_says_how_much_more_cores_do() -> None:
    assert as_table([row(1, 5, 10), row(2, 9.5, 12)]).splitlines()[-1] == "| 2 | 1 | 9.5 | 1.90 | 12 |"


def test_a_process_times_the_network_on_the_cores_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil  # noqa: PLC0415

    first = getattr(psutil.Process(), "cpu_affinity", lambda: [0])()[0]
    (found,) = curve("default", "fp32", [first], 0.01)
    assert (found.cores, found.processes, found.precision) == (1, 1, "fp32")
    assert found.patches_per_s > 0
    assert found.copy_gb_per_s > 0


def test_a_process_that_fails_is_an_error(capfd: pytest.CaptureFixture[Any]) -> None:
    with pytest.raises(Ps3dError, match="ended with exit code 1"):
        curve("no-such-model", "fp32", [0], 0.01)
    assert "there is no model 'no-such-model'" in capfd.readouterr().err


@pytest.mark.parametrize(("load", "warned"), [(0.2, False), (7.0, True), (None, False)])
def test_the_command_prints_the_curve_and_says_if_the_machine_is_busy(
    cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, load: float | None, warned: bool
) -> None:
    monkeypatch.setattr(scaling, "curve", lambda *_: [row(1, 5, 10), row(2, 9.5, 12)])
    monkeypatch.setattr(sys.modules["ps3d_bench.cli.scaling"], "machine", lambda: {"load_average_1_min": load})
    code, out, said = cli("bench", "scaling", "--out", tmp_path / "scaling.json", "--json")
    assert code == 0
    content = json.loads(out)
    assert content == json.loads((tmp_path / "scaling.json").read_text(encoding="utf-8"))
    assert content["limit"] == "cores: 2 do 1.90 times the work of one"
    assert [one["cores"] for one in content["rows"]] == [1, 2]
    assert ("warning: the machine is busy (load 7.0)" in said) == warned

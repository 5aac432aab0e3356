import pytest

from ps3d_bench.race import Race, Runner, as_table, judge
from ps3d_rt.errors import Ps3dError


def race(*runners: Runner) -> Race:
    return Race("adding", "2 numbers", 1_000_000, lambda a, b: 1 - abs(a - b), runners)


def test_runners_take_turns_after_all_were_checked():
    calls = []
    names = ("ours", "theirs")
    runners = [Runner(name, lambda name=name: calls.append(name) or 1.0) for name in names]
    rows = judge(race(*runners), repeats=2)
    assert calls == ["ours", "theirs"] * 3
    assert [row["runner"] for row in rows] == ["ours", "theirs"]
    assert [len(row["seconds"]) for row in rows] == [2, 2]
    assert rows[0]["times_ours"] == 1.0


def test_medians_and_rates_are_those_of_the_turns(monkeypatch):
    # A turn is two looks at the clock: ours takes 2 s, 1 s and 3 s, theirs 4 s each time.
    looks = iter([0, 2, 2, 6, 6, 7, 7, 11, 11, 14, 14, 18])
    monkeypatch.setattr("ps3d_bench.race.time.perf_counter", lambda: next(looks))
    ours, theirs = judge(race(Runner("ours", lambda: 1.0), Runner("theirs", lambda: 1.0)), repeats=3)
    assert ours["seconds"] == [2, 1, 3]
    assert (ours["seconds_median"], ours["mvoxels_per_s"]) == (2, 0.5)
    assert (theirs["seconds_median"], theirs["times_ours"]) == (4, 2.0)


def test_who_does_another_job_is_not_timed():
    calls = []
    wrong = Runner("wrong", lambda: calls.append(1) or 0.95, least_agreement=0.99)
    with pytest.raises(Ps3dError, match=r"wrong agrees with ours in 95\.0000% only"):
        judge(race(Runner("ours", lambda: 1.0), wrong), repeats=5)
    assert len(calls) == 1
    row = judge(race(Runner("ours", lambda: 1.0), Runner("near", lambda: 0.95, 0.9)), repeats=1)[1]
    assert row["agreement"] == pytest.approx(0.95)


def test_the_table_has_a_line_a_runner():
    rows = judge(race(Runner("ours", lambda: 1.0), Runner("theirs", lambda: 1.0)), repeats=1)
    lines = as_table(rows).splitlines()
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1
    assert "theirs" in lines[-1]

import os
import pickle
import random
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

import worker_tasks as tasks
from ps3d_rt.core.chunks import ChunkGrid, ChunkLabels
from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.journal import IDENTITY, Journal, _array
from ps3d_rt.workers import Workers


def content(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.name != "run.lock")


def same(one, two):
    if isinstance(one, np.ndarray | np.generic):
        return (
            type(one) is type(two)
            and one.dtype == two.dtype
            and np.array_equal(one, two, equal_nan=one.dtype.kind == "f")
        )
    if isinstance(one, tuple | list):
        return type(one) is type(two) and len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    return type(one) is type(two) and one == two


NUMBERS = st.sampled_from([">u2", "<u4", "u1", "i8", "f4", "f8", "?"]).map(np.dtype)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)
    | st.text() | st.binary() | st.sets(st.integers())
    | st_np.arrays(NUMBERS, st_np.array_shapes(min_dims=0, min_side=0, max_dims=3, max_side=4))
    | NUMBERS.flatmap(st_np.from_dtype)
    | st.builds(Box, *[st.tuples(*[st.integers(0, 9)] * 3)] * 2),
    lambda part: st.lists(part) | st.tuples(part, part) | st.dictionaries(st.text(), part),
    max_leaves=6,
)  # fmt: skip


@given(value=VALUES)
def test_what_is_recorded_is_what_is_loaded(tmp_path_factory, value):
    journal = Journal(tmp_path_factory.mktemp("run"))
    journal.record("stage/000001", value)
    assert same(journal.load("stage/000001"), value)


def test_dataclasses_of_core_and_their_arrays_are_loaded(tmp_path):
    part = ChunkLabels("labels", Box((0, 0, 0), (1, 2, 3)), np.arange(6, dtype=np.uint32).reshape(2, 3).T)
    grid = ChunkGrid((9, 9, 9), (4, 4, 4))
    assert len(grid.boxes) == 27
    journal = Journal(tmp_path)
    journal.record("a", [part, grid, {"x": part.ids[1:]}])
    found, again, rest = journal.load("a")
    assert (found.source, found.box) == ("labels", part.box)
    assert same(found.ids, part.ids)
    assert found.ids.flags.writeable
    assert (again, again.boxes) == (grid, grid.boxes)
    assert same(rest["x"], part.ids[1:])


def test_a_journal_knows_its_keys_and_replaces_records(tmp_path):
    journal = Journal(tmp_path)
    assert journal.keys() == []
    for key in ("network/0003-000128", "network/0003-000000", "scale", "net"):
        assert key not in journal
        journal.record(key, key)
        assert key in journal
    assert journal.keys() == ["net", "network/0003-000000", "network/0003-000128", "scale"]
    assert journal.keys("network/") == ["network/0003-000000", "network/0003-000128"]
    journal.record("scale", 2)
    assert journal.load("scale") == 2
    keys = journal.keys()
    assert [name for name in content(tmp_path) if "." in name] == [f"journal/{key}.pickle" for key in keys]


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "../a", "a/../b", ".", "a.b", "a\\b", "C:a", "ä", "a\n", "a b"]
)
def test_a_key_that_could_lead_elsewhere_is_refused(tmp_path, key):
    journal = Journal(tmp_path / "run")
    for use in (partial(journal.record, value=1), journal.load, journal.__contains__):
        with pytest.raises(ValueError, match="is not a key"):
            use(key)
    assert not (tmp_path / "run").exists()


@dataclass
class Ours:
    """A dataclass, but none of core."""

    value: int


@pytest.mark.parametrize(
    "value",
    [
        np.array([1, "x"], object),
        np.zeros(2, [("a", "i4")]),
        np.zeros(2, [("a", "O")]),
        np.array(["text"]),
        np.array(["2020-01-01"], "M8[D]"),
        np.ma.masked_array([1, 2], [True, False]),
        np.dtype("i4"),
        Path("x"),
        Ours(1),
        InputError("x"),
        print,
    ],
    ids=repr,
)
def test_what_could_not_be_loaded_is_not_recorded(tmp_path, value):
    journal = Journal(tmp_path)
    with pytest.raises(TypeError, match="the record of a could not be read back"):
        journal.record("a", (1, value))
    assert content(tmp_path) == []


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def dotted(path):
    """A pickle that calls ``ps3d_rt.core.grid`` ``path`` with "touch", through STACK_GLOBAL."""
    name, argument = path.encode(), b"echo"
    return (
        b"\x80\x05\x8c\x11ps3d_rt.core.grid\x8c" + bytes([len(name)]) + name
        + b"\x93\x8c" + bytes([len(argument)]) + argument + b"\x85R."
    )  # fmt: skip


@pytest.mark.parametrize(
    "make",
    [
        lambda mark: pickle.dumps(Call(os.system, f"echo > {mark}")),
        lambda mark: pickle.dumps(Call(open, str(mark), "w"), protocol=0),
        lambda mark: pickle.dumps(Call(eval, f"open({str(mark)!r}, 'w')")),
        lambda mark: pickle.dumps({"deep": [np.arange(3), Call(exec, f"open({str(mark)!r}, 'w')")]}),
        lambda mark: pickle.dumps(np.array([Call(os.mkdir, str(mark))], object)),
        lambda mark: pickle.dumps(np.arange(3)),
        lambda mark: pickle.dumps(np.dtype("O")),
        lambda mark: pickle.dumps(Ours(1)),
        lambda mark: dotted("dataclass.__globals__"),
        lambda mark: dotted("np"),
        lambda mark: dotted("Box.of_shape"),
        lambda mark: dotted("dataclass"),
        lambda mark: dotted("product"),
    ],
)
def test_a_tampered_record_runs_nothing(tmp_path, make):
    journal = Journal(tmp_path)
    journal.record("a", 1)
    mark = tmp_path / "mark"
    (tmp_path / "journal/a.pickle").write_bytes(make(mark))
    with pytest.raises(InputError, match=r"a\.pickle .* remove .* and start the same command again .* not allowed"):
        journal.load("a")
    assert not mark.exists()


@pytest.mark.parametrize("dtype", ["O", "|O", "V8", "i4,O", "(2,)O", "M8[D]", "U3"])
def test_a_tampered_array_is_of_numbers_or_none(tmp_path, dtype):
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal/a.pickle").write_bytes(pickle.dumps(Call(_array, dtype, (1,), bytes(16))))
    with pytest.raises(InputError, match="are not allowed"):
        Journal(tmp_path).load("a")
    (tmp_path / "journal/a.pickle").write_bytes(pickle.dumps(Call(_array, "<i8", (99,), bytes(16))))
    with pytest.raises(InputError, match="cannot reshape"):
        Journal(tmp_path).load("a")


def test_a_record_that_is_cut_off_is_an_error_at_any_length(tmp_path):
    journal = Journal(tmp_path)
    journal.record("a", {"box": Box((0, 0, 0), (1, 1, 1)), "ids": np.arange(9), "name": "x" * 9})
    path = tmp_path / "journal/a.pickle"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="is not a whole record"):
            journal.load("a")
    with pytest.raises(InputError, match="is not a whole record"):
        journal.load("b")


def test_a_record_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    journal = Journal(tmp_path)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        journal.record("a", 1)
    assert "a" not in journal
    assert journal.keys() == []
    monkeypatch.undo()
    journal.record("a", 1)
    assert content(tmp_path) == ["journal", "journal/a.pickle"]


def test_a_record_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "journal").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        Journal(tmp_path).record("a/b", 1)


def test_a_map_runs_what_has_no_record_and_keeps_the_order(tmp_path):
    journal, ran = Journal(tmp_path), []

    def task(item):
        ran.append(item)
        if item == "d" and len(ran) == 4:
            raise InputError("stop here")
        return item * 2

    with pytest.raises(InputError, match="stop here"):
        list(journal.map(map, "stage", task, "abcdef"))
    assert journal.keys() == ["stage/000000", "stage/000001", "stage/000002"]
    (tmp_path / "journal/stage/000001.pickle").unlink()
    ran.clear()
    assert list(journal.map(map, "stage", task, "abcdef")) == ["aa", "bb", "cc", "dd", "ee", "ff"]
    assert ran == ["b", "d", "e", "f"]
    ran.clear()
    assert list(journal.map(map, "stage", task, "abcdef")) == ["aa", "bb", "cc", "dd", "ee", "ff"]
    assert ran == []
    assert list(journal.map(map, "other", task, "ab")) == ["aa", "bb"]


def test_a_worker_records_before_the_result_is_taken(tmp_path):
    with Workers(threads=1) as workers:
        results = Journal(tmp_path).map(workers.map, "stage", lambda item: item, range(2))
        assert next(results) == 0
        end = time.monotonic() + 5
        while "stage/000001" not in Journal(tmp_path):
            assert time.monotonic() < end
            time.sleep(0.01)


def test_a_map_on_processes_records_there(tmp_path):
    with Workers(processes=2) as workers:
        journal = Journal(tmp_path)
        assert list(journal.map(workers.map, "stage", tasks.square, range(5))) == [0, 1, 4, 9, 16]
    assert list(journal.map(map, "stage", None, range(5))) == [0, 1, 4, 9, 16]


def test_a_folder_is_new_then_continued_then_begun_afresh(tmp_path):
    folder = tmp_path / "deep" / "run"
    spec = {"shape": (3, 4, 5), "zoom": 0.1, "model": "ä"}
    with Journal.open(folder, spec) as journal:
        assert not journal.resumed
        journal.record("a/b", 1)
        (folder / "arrays").mkdir()
        (folder / "arrays/0").write_text("data")
    with Journal.open(folder, dict(reversed(spec.items()))) as journal:
        assert journal.resumed
        assert journal.load("a/b") == 1
    assert content(folder) == ["arrays", "arrays/0", IDENTITY, "journal", "journal/a", "journal/a/b.pickle"]
    with Journal.open(folder, {**spec, "zoom": 0.2}) as journal:
        assert not journal.resumed
        assert content(folder) == [IDENTITY]
    with Journal.open(folder, {**spec, "zoom": 0.2}) as journal:
        assert journal.resumed


def test_emptying_that_is_interrupted_leaves_nothing_to_continue(tmp_path, monkeypatch):
    with Journal.open(tmp_path, {"n": 1}) as journal:
        journal.record("a", 1)
        (tmp_path / "data").write_text("1")

    def stop(path, **_):
        if Path(path).exists():
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "unlink", stop)
    monkeypatch.setattr("shutil.rmtree", stop)
    with pytest.raises(KeyboardInterrupt), Journal.open(tmp_path, {"n": 2}):
        pass
    monkeypatch.undo()
    assert "data" in content(tmp_path)
    with Journal.open(tmp_path, {"n": 1}) as journal:
        assert not journal.resumed
        assert content(tmp_path) == [IDENTITY]


def test_a_start_that_was_interrupted_is_no_obstacle(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", stop)
    with pytest.raises(KeyboardInterrupt), Journal.open(tmp_path, {}):
        pass
    monkeypatch.undo()
    with Journal.open(tmp_path, {}) as journal:
        assert not journal.resumed
    assert content(tmp_path) == [IDENTITY]


@pytest.mark.parametrize(
    "foreign", [{"holiday.jpg": "x"}, {IDENTITY: "{}", "a": "x"}, {IDENTITY: ""}, {"run.lock": "", "a": "x"}]
)
def test_a_folder_of_somebody_else_is_left_alone(tmp_path, foreign):
    for name, text in foreign.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match="not the work of a run"), Journal.open(tmp_path, {}):
        pass
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == foreign


def test_a_file_in_the_place_of_the_folder_is_left_alone(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="choose another"), Journal.open(tmp_path / "file", {}):
        pass
    with pytest.raises(InputError, match="choose another"), Journal.open(tmp_path / "file/run", {}):
        pass
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.parametrize("spec", [{}, {"other": 1}])
def test_two_runs_cannot_share_a_folder(tmp_path, spec):
    with Journal.open(tmp_path, {}) as journal:
        journal.record("a", 1)
        with pytest.raises(InputError, match="another run is writing to"), Journal.open(tmp_path, spec):
            pass
        caught = []

        def from_a_thread():
            try:
                with Journal.open(tmp_path, spec):
                    pass
            except InputError as error:
                caught.append(error)

        thread = threading.Thread(target=from_a_thread)
        thread.start()
        thread.join()
        assert len(caught) == 1
        other = subprocess.run([sys.executable, tasks.__file__, tmp_path], capture_output=True, text=True, check=False)
        assert "another run is writing to" in other.stderr
        assert journal.load("a") == 1
    with Journal.open(tmp_path, {}) as journal:
        assert journal.resumed


def test_an_error_in_the_block_frees_the_folder(tmp_path):
    with pytest.raises(KeyError), Journal.open(tmp_path, {}):
        raise KeyError
    with Journal.open(tmp_path, {}) as journal:
        assert journal.resumed


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill asks nothing there")
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bytes(tmp_path):
    def start(folder):
        return subprocess.Popen([sys.executable, tasks.__file__, folder], stderr=subprocess.DEVNULL)

    def runs():
        return (killed / "runs").read_text().split() if (killed / "runs").exists() else []

    def files(folder):
        paths = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "pids"]
        return {path.relative_to(folder): path.read_bytes() for path in paths if path.name != "runs"}

    killed, kills, draw = tmp_path / "killed", 0, random.Random(7)
    while True:
        child, more = start(killed), len(runs()) + draw.choice([0, 1, 5, 10])
        tasks.wait_until(lambda: child.poll() is not None or len(runs()) >= more, 20)  # noqa: B023 - called at once
        time.sleep(draw.uniform(0, 0.03))
        child.kill()
        if child.wait() == 0:
            break
        kills += 1
    assert kills >= 4
    pids = [int(path.name) for path in (killed / "pids").iterdir()]
    tasks.wait_until(lambda: not any(map(tasks.alive, pids)))
    assert start(tmp_path / "whole").wait(30) == 0
    assert files(killed) == files(tmp_path / "whole")
    assert set(runs()) == set(map(str, range(tasks.TASKS)))
    assert len(runs()) <= tasks.TASKS + 2 * kills, "a kill costs the tasks in work and no more"

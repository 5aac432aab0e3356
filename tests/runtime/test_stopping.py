"""Real signals to the real command: it stops within a call of the engine, keeps its work, and goes on from there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ps3d_rt.model import ModelBundle, write_bundle

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals to one process")

COMMAND = """
import ps3d_rt.plan
from ps3d_rt.cli import main
ps3d_rt.plan.WORK_SHARD = (16, 64, 64)  # several slabs in a scan that takes no time
if __name__ == "__main__":
    main()
"""
HELD = """
import os
import time
from pathlib import Path
from threading import Lock
import ps3d_rt.plan
from ps3d_rt.cli import main
from ps3d_rt.engines.base import Engine
from ps3d_rt.engines.shared import SharedEngine
from ps3d_rt.errors import InterruptedRun
from ps3d_rt.io.zarr_store import ZarrStore
from ps3d_rt.workers import check_stop
ps3d_rt.plan.WORK_SHARD = (16, 64, 64)
PLACE, HOLD_AT, folder = os.environ["HELD"].split(":")
done, counting = 0, Lock()

def is_counted(*given):
    # A shared engine passes the call on to the one it holds, which is counted.
    return type(given[0]) is not SharedEngine if PLACE == "engine" else given[1] == PLACE

def held(step):
    # Every step leaves a file; from a certain one on, each lasts until the run is asked to end: no test need hurry.
    def slow(*given):
        global done
        if is_counted(*given):
            with counting:
                done += 1
                mine = done
            Path(folder, f"{os.getpid()}-{mine}").touch()
            end = time.monotonic() + 60
            while mine >= int(HOLD_AT) and time.monotonic() < end:
                try:
                    check_stop()
                except InterruptedRun:
                    break
                time.sleep(0.01)
        return step(*given)
    return slow

if PLACE == "engine":
    Engine.infer = held(Engine.infer)
else:
    ZarrStore.write = held(ZarrStore.write)
if __name__ == "__main__":
    main()
"""
SIZE = ("--spacing", "0.01", "--particle-size", "0.08")
Json = dict[str, Any]


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise, in which a network of random weights finds particles of all sorts."""
    path = tmp_path_factory.mktemp("scan") / "ore.npy"
    np.save(path, np.random.default_rng(0).integers(0, 30000, (72, 128, 128)).astype(np.uint16))
    return path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, tiny_networks: tuple[Path, Path]) -> ModelBundle:
    """The network of random weights."""
    draft = ModelBundle(
        name="tiny", patch=(16, 16, 16), target_size_voxels=8, border_thickness_voxels=1, members=("a.onnx",)
    )
    path = tmp_path_factory.mktemp("model") / "tiny.ps3d"
    return write_bundle(path, replace(draft, overlap=0.5), {"a.onnx": tiny_networks[0]})


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory, scan: Path, bundle: ModelBundle) -> Callable[..., Command]:
    """Start ``ps3d-rt predict SCAN OUT`` with progress as JSON lines."""
    script = tmp_path_factory.mktemp("script") / "ps3d_rt_command.py"
    script.write_text(COMMAND)

    def start(out: Path, *options: str) -> Command:
        words = [sys.executable, script, "predict", scan, out, "--model", bundle.path, "--log-json", *(options or SIZE)]
        return Command([str(word) for word in words])

    return start


@pytest.fixture
def held(tmp_path: Path, scan: Path, bundle: ModelBundle) -> Callable[..., tuple[Command, Path]]:
    """Start the same command, held back at a step of some kind: the engine, or writing an array of the store.

    Gives a folder too, with a file for every such step that began.
    """
    script, steps = tmp_path / "held_command.py", tmp_path / "steps"
    script.write_text(HELD)
    steps.mkdir()

    def start(place: str, hold_at: int, *options: str) -> tuple[Command, Path]:
        words = [sys.executable, script, "predict", scan, tmp_path / "out", "--model", bundle.path, "--log-json"]
        return Command([str(word) for word in (*words, *SIZE, *options)], HELD=f"{place}:{hold_at}:{steps}"), steps

    return start


@pytest.fixture(scope="module")
def want(tmp_path_factory: pytest.TempPathFactory, command: Callable[..., Command]) -> dict[str, bytes]:
    """The output of a run that nobody stopped."""
    out = tmp_path_factory.mktemp("want") / "out"
    assert command(out).end() == 0
    return content(out)


class Command:
    """A command that runs; Ctrl-C reaches it even if these tests run in the background, where a shell ignores it."""

    def __init__(self, words: list[str], **variables: str) -> None:
        self.process = subprocess.Popen(
            words,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no thread holds a lock
        )
        self.events: list[Json] = []
        self.words: list[str] = []

    def lines(self) -> Iterator[Json]:
        """Yield the events that come from now on; how it failed and lines in plain words are kept apart."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if not line.startswith("{"):
                self.words.append(line)
                continue
            self.events.append(json.loads(line))
            if self.events[-1]["event"] == "Failed":
                self.words.append(self.events[-1]["text"])
            yield self.events[-1]

    def run_to(self, reached: Callable[[Json], bool]) -> None:
        """Wait for an event."""
        assert any(reached(event) for event in self.lines()), self.words

    def end(self) -> int:
        """Wait for the end: the exit code."""
        for _ in self.lines():
            pass
        self.process.communicate()
        return self.process.returncode

    def done(self, stage: str) -> int:
        """Units of a stage that it said were done."""
        return max((e["done"] for e in self.events if e["event"] == "StageAdvanced" and e["stage"] == stage), default=0)

    def total(self, stage: str) -> int:
        """Units of a stage."""
        return next(e["total"] for e in self.events if e["event"] == "StageStarted" and e["stage"] == stage)


def in_stage(stage: str, done: int) -> Callable[[Json], bool]:
    """The event that at least ``done`` units of a stage are done."""
    return lambda event: event["event"] == "StageAdvanced" and event["stage"] == stage and event["done"] >= done


def content(folder: Path) -> dict[str, bytes]:
    """Every file by its name, but for those with seconds in them."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in {"run.json", "report.html"})
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    ("workers", "stop"),
    [
        ("1", lambda process: os.killpg(process.pid, signal.SIGINT)),
        ("1", lambda process: process.send_signal(signal.SIGTERM)),
        ("2", lambda process: os.killpg(process.pid, signal.SIGINT)),
        ("2", lambda process: os.killpg(process.pid, signal.SIGTERM)),
    ],
    ids=["ctrl-c", "sigterm", "ctrl-c, two processes", "sigterm, two processes"],
)
def test_a_signal_stops_the_network_and_the_same_command_ends_with_the_same_bytes(
    tmp_path: Path, command: Callable[..., Command], want: dict[str, bytes], workers: str, stop: Any
) -> None:
    out = tmp_path / "out"
    stopped = command(out, *SIZE, "--workers", workers)
    stopped.run_to(in_stage("network", 1300))
    stop(stopped.process)
    assert stopped.end() == 4
    assert stopped.done("network") < stopped.total("network"), "it did not go on to the end of the sweep"
    assert "Stopping" in [event["event"] for event in stopped.events]
    assert len(stopped.words) == 1, stopped.words
    assert "start the same command again" in stopped.words[0]
    assert not out.exists()
    assert list((tmp_path / ".out.run/journal/network").iterdir()), "finished slabs are kept"

    again = command(out, *SIZE, "--workers", workers)
    assert again.end() == 0, again.words
    assert "RunResumed" in [event["event"] for event in again.events]
    assert content(out) == want
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(("workers", "number"), [(1, signal.SIGINT), (2, signal.SIGTERM)])
def test_after_a_signal_the_engine_is_not_called_again(
    held: Callable[..., tuple[Command, Path]], workers: int, number: signal.Signals
) -> None:
    stopped, steps = held("engine", 3, "--workers", str(workers))
    while len(list(steps.glob("*-3"))) < workers:
        assert stopped.process.poll() is None
        time.sleep(0.01)
    os.killpg(stopped.process.pid, number)
    assert stopped.end() == 4
    assert len(list(steps.iterdir())) == 3 * workers, "the call in work is the last one"
    assert "no part was done yet" in stopped.words[-1]
    assert [path.name for path in steps.parent.glob(".out*")] == []


def test_after_a_signal_no_task_of_a_chunk_begins(held: Callable[..., tuple[Command, Path]]) -> None:
    stopped, steps = held("fragments", 5, "--chunk", "32", "--threads", "2")
    while not list(steps.glob("*-6")):
        assert stopped.process.poll() is None
        time.sleep(0.01)
    stopped.process.send_signal(signal.SIGTERM)
    assert stopped.end() == 4
    assert len(list(steps.iterdir())) == 6, "the two in work are the last ones"
    assert "what is done lies in" in stopped.words[-1]


@pytest.mark.parametrize("stage", ["particles", "table"])
def test_a_signal_stops_the_stages_after_the_network(
    tmp_path: Path, command: Callable[..., Command], want: dict[str, bytes], stage: str
) -> None:
    out, options = tmp_path / "out", (*SIZE, "--chunk", "32", "--threads", "1")
    stopped = command(out, *options)
    stopped.run_to(in_stage(stage, 1))
    stopped.process.send_signal(signal.SIGTERM)
    assert stopped.end() == 4
    assert stopped.done(stage) < stopped.total(stage)
    again = command(out, *options)
    assert again.end() == 0, again.words
    assert content(out) == want


def test_a_signal_stops_the_search_for_the_particle_size(tmp_path: Path, command: Callable[..., Command]) -> None:
    stopped = command(tmp_path / "out", "--spacing", "0.01", "--particle-size", "auto")
    stopped.run_to(lambda event: event["event"] == "SizeTried")
    stopped.process.send_signal(signal.SIGINT)
    assert stopped.end() == 4
    assert stopped.words[-1].startswith("interrupted; start the same command again")
    assert not [event for event in stopped.events if event["event"] == "SizeEstimated"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_second_signal_ends_a_run_at_once_and_without_a_word_of_pythons(
    tmp_path: Path, command: Callable[..., Command], want: dict[str, bytes], workers: str
) -> None:
    out, options = tmp_path / "out", (*SIZE, "--workers", workers)
    stopped = command(out, *options)
    stopped.run_to(in_stage("network", 1300))
    stopped.process.send_signal(signal.SIGINT)
    stopped.run_to(lambda event: event["event"] == "Stopping")
    with suppress(ProcessLookupError):  # the first one may have done
        stopped.process.send_signal(signal.SIGINT)
    assert stopped.end() == 4
    assert not [word for word in stopped.words if "Traceback" in word or "Exception" in word]
    if workers == "1":
        assert command(out, *options).end() == 0
        assert content(out) == want


SCRIPT = """
import signal, sys
import numpy as np
import ps3d_rt
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores Ctrl-C
    def tell(event):
        print(type(event).__name__, getattr(event, "done", ""), file=sys.stderr, flush=True)
    try:
        ps3d_rt.predict(np.load(sys.argv[1]), spacing=0.01, particle_size=0.08, model=sys.argv[2], progress=tell)
    except KeyboardInterrupt:
        print("KeyboardInterrupt", file=sys.stderr)
        sys.exit(7)
"""


def test_in_python_it_is_a_keyboard_interrupt_before_the_sweep_is_done(
    tmp_path: Path, scan: Path, bundle: ModelBundle
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    process = Command([sys.executable, str(tmp_path / "script.py"), str(scan), str(bundle.path)]).process
    assert process.stderr is not None
    heard = []
    for line in process.stderr:
        heard.append(line.split())
        if heard[-1][0] == "StageAdvanced" and int(heard[-1][1]) >= 100:
            break
    process.send_signal(signal.SIGINT)
    rest = process.communicate()[1].split("\n")
    assert process.returncode == 7
    assert "KeyboardInterrupt" in rest
    assert not [line for line in rest if "StageDone" in line]

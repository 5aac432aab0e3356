"""The hot folder: each scan once, whatever is killed, full or broken."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake_engine import FakeEngine, fake_bundle
from ps3d_rt.batch.engine_pool import EnginePool
from ps3d_rt.errors import InputError, InterruptedRun
from ps3d_rt.events import SampleFailed, StageAdvanced, StageStarted, Warned
from ps3d_rt.predict_options import PredictOptions
from ps3d_rt.watch import service as watch_service
from ps3d_rt.watch import states
from ps3d_rt.watch.arrivals import Arrivals
from ps3d_rt.watch.config import Arrival, Scan, Tries, WatchConfig
from ps3d_rt.watch.metrics import metrics
from ps3d_rt.watch.queue import Queue
from ps3d_rt.watch.service import Service, name_for
from ps3d_rt.watch.states import State
from ps3d_rt.watch.status import StatusWriter, read_json

SUPPORT = Path(__file__).parents[1] / "support"
QUICK = Arrival(poll_seconds=0.05, stable_seconds=0, header_seconds=0)
CONFIG = WatchConfig(
    scan=Scan(spacing=0.01, particle_size=0.12), arrival=QUICK, retry=Tries(tries=2, backoff_seconds=0), free_gib=0
)


def write_scan(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    grid = np.indices((16, 16, 16))
    ball = ((grid - 8) ** 2).sum(0) <= 25
    noise = np.random.default_rng(seed).normal(0, 100, ball.shape)
    np.save(path, (np.where(ball, 30000, 9000) + noise).astype(np.uint16))
    return path


@pytest.fixture
def service(tmp_path: Path) -> Any:
    """A service on ``in`` and ``out`` with a list of what it said."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    options = PredictOptions(model=fake_bundle(16))
    pool = EnginePool(options, lambda bundle, _: FakeEngine(bundle.patch, threshold=1.0))
    with Queue(tmp_path / "out" / ".watch") as queue, pool:
        heard: list[Any] = []
        service = Service(tmp_path / "in", tmp_path / "out", CONFIG, queue, pool, heard.append)
        service.heard = heard  # type: ignore[attr-defined]
        service.arrivals = Arrivals(service.folder, QUICK, queue.knows)
        yield service


def test_a_scan_is_done_once_and_one_that_is_bad_ends_in_quarantine_where_it_was(service: Any) -> None:
    write_scan(service.folder / "a.npy")
    (service.folder / "b.npy").write_bytes(b"junk")
    service.run(once=True)
    assert service.queue.counts() == {
        State.QUEUED: 0,
        State.RUNNING: 0,
        State.DONE: 1,
        State.FAILED: 1,
        State.REMOVED: 0,
    }
    assert service.queue.times_done() == {"a": 1}
    assert service.queue.named("a").facts["particles"] == 1
    assert "is not a NumPy file" in (service.out / "quarantine" / "b.txt").read_text()
    assert (service.folder / "b.npy").read_bytes() == b"junk"
    assert len([event for event in service.heard if isinstance(event, SampleFailed)]) == 2, "tried twice"
    text = metrics(service.queue, service.out)
    assert 'ps3d_rt_scans{state="done"} 1\n' in text
    assert "ps3d_rt_voxels_total 4096\n" in text
    assert 'ps3d_rt_failures_total{kind="input"} 2\n' in text
    assert "ps3d_rt_voxels_per_second 0\n" in text, "nothing runs"
    for line in text.splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) [a-z0-9_]+ .+|[a-z0-9_]+(\{[a-z]+="[^"]*"\})? [\d.e+-]+', line), line


def test_nothing_is_begun_while_the_share_of_the_output_is_gone(service: Any) -> None:
    write_scan(service.folder / "a.npy")
    service.look()
    service.look()
    service.out.rename(service.out.with_name("elsewhere"))
    service.out.mkdir()  # where it was mounted
    assert not service.step()
    assert not service.step()
    told = [event.text for event in service.heard if isinstance(event, Warned)]
    assert len(told) == 1
    assert "it is waited for" in told[0]
    assert service.queue.counts()[State.QUEUED] == 1, "and it is not to blame"
    service.out.rmdir()
    service.out.with_name("elsewhere").rename(service.out)
    assert service.step()
    assert service.queue.counts()[State.DONE] == 1


def test_a_bug_in_a_look_is_logged_and_the_next_look_comes(service: Any, caplog: Any, monkeypatch: Any) -> None:
    looks = iter([RuntimeError("a bug"), None])

    def look(now: float) -> list[Any]:
        if (error := next(looks)) is not None:
            raise error
        return []

    monkeypatch.setattr(service.arrivals, "look", look)
    service.look()
    service.look()
    assert "a bug" in caplog.text
    assert service._looks == 2


def test_how_fast_the_stage_is_that_runs_and_what_is_left_of_it(service: Any) -> None:
    write_scan(service.folder / "a.npy")
    service.look()
    service.look()
    entry = service.queue.take()
    clock = iter([0.0, 10.0, 14.0])
    status = StatusWriter(service.queue, entry, lambda event: None, clock=lambda: next(clock))
    status(StageStarted("network", 10, "patches", 500.0))
    status(StageAdvanced("network", 4, resumed=4))
    assert "ps3d_rt_voxels_per_second 0\n" in metrics(service.queue, service.out), "what was done before took no time"
    status(StageAdvanced("network", 8, resumed=4))
    assert read_json(service.queue, "now")["seconds_left"] == pytest.approx(14 / 4 * 2)
    assert f"ps3d_rt_voxels_per_second {500 / (14 / 4)}\n" in metrics(service.queue, service.out)


def test_a_scan_that_is_mended_is_taken_again(service: Any) -> None:
    (service.folder / "a.npy").write_bytes(b"junk")
    service.run(once=True)
    write_scan(service.folder / "a.npy")
    service.run(once=True)
    assert [entry.name for entry in service.queue.entries(State.DONE)] == ["a-2"]


def test_a_run_that_was_complete_when_the_process_died_is_not_done_again(
    service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scan(service.folder / "a.npy")
    service.look()
    monkeypatch.setattr(Service, "_note", lambda *given: None)
    service.step()
    monkeypatch.undo()
    written = (service.out / "a" / "run.json").read_bytes()
    assert service.queue.counts()[State.RUNNING] == 1
    (service.out / ".a.run").mkdir()  # it was killed before it removed that
    service.run(once=True)
    assert not (service.out / ".a.run").exists()
    assert (service.out / "a" / "run.json").read_bytes() == written
    assert service.queue.times_done() == {"a": 1}


def test_a_run_in_the_midst_of_which_the_process_died_is_done_at_the_next_start(service: Any) -> None:
    write_scan(service.folder / "a.npy")
    service.look()
    assert service.queue.take().name == "a"
    service.run(once=True)
    (entry,) = service.queue.entries(State.DONE)
    assert entry.progress.crashes == 1


def test_a_low_disk_is_waited_for_and_told_once(service: Any) -> None:
    write_scan(service.folder / "a.npy")
    service.look()
    room = [5, 5, 2**40]
    service.config = WatchConfig(scan=CONFIG.scan, free_gib=1)
    service.free_bytes = lambda path: room.pop(0) if len(room) > 1 else room[0]
    assert [service.step() for _ in range(3)] == [False, False, True]
    (warned,) = [event.text for event in service.heard if isinstance(event, Warned) and "GiB" in event.text]
    assert "no scan is begun until there is room" in warned
    assert service.queue.counts()[State.DONE] == 1


def test_a_disk_that_fills_in_the_midst_blames_no_scan(service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scan(service.folder / "a.npy")
    service.look()
    room = [2**40, 0, 2**40]
    service.config = WatchConfig(scan=CONFIG.scan, free_gib=1)
    service.free_bytes = lambda path: room.pop(0) if len(room) > 1 else room[0]

    def full(*given: Any, **options: Any) -> None:
        raise InterruptedRun("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(watch_service, "attempt", full)
        service.step()
    (entry,) = service.queue.entries(State.QUEUED)
    assert entry.progress.failures == 0
    service.step()
    assert service.queue.counts()[State.DONE] == 1


def test_ctrl_c_puts_the_scan_back(service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scan(service.folder / "a.npy")
    service.look()

    def stop(*given: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(watch_service, "attempt", stop)
    with pytest.raises(KeyboardInterrupt):
        service.step()
    assert service.queue.entries(State.QUEUED)[0].progress.crashes == 0


def test_priority_comes_first_pause_holds_and_a_removed_scan_is_let_alone(service: Any) -> None:
    for number, name in enumerate("abc"):
        write_scan(service.folder / f"{name}.npy", number)
    service.look()
    queue = service.queue
    ids = {entry.name: entry.id for entry in queue.entries(State.QUEUED)}
    queue.set_priority(ids["c"], 5)
    queue.change(ids["a"], states.removed)
    queue.set("paused", "1")
    assert queue.take() is None
    queue.set("paused", "0")
    assert [queue.take().name, queue.take().name, queue.take()] == ["c", "b", None]
    service.look()
    assert queue.counts()[State.QUEUED] == 0


def test_a_scan_that_changed_after_it_was_taken_is_taken_again(service: Any) -> None:
    write_scan(service.folder / "a.npy")
    service.look()
    write_scan(service.folder / "a.npy", 7)
    service.step()
    service.look()
    service.step()
    assert [entry.name for entry in service.queue.entries(State.DONE)] == ["a-2"]
    assert service.queue.named("a").progress.state is State.REMOVED


def test_a_clock_that_was_set_back_holds_nothing(service: Any) -> None:
    service.queue.add("x", "1", "x")
    (entry,) = service.queue.entries(State.QUEUED)
    later = states.Retries(backoff_seconds=3600)
    service.queue.take()
    service.queue.change(entry.id, lambda was: states.failed(was, "oh", later, time.time()))
    assert service.queue.take() is None
    service.queue.change(entry.id, states.retried)
    service.queue.take()
    service.queue.change(entry.id, lambda was: states.failed(was, "oh", later, time.time() + 1e6))
    assert service.queue.take().name == "x"


def test_a_queue_that_is_none_says_so(tmp_path: Path) -> None:
    (tmp_path / "queue.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(InputError, match="cannot be used as a queue"):
        Queue(tmp_path)


def arrivals(folder: Path, **rules: Any) -> Arrivals:
    return Arrivals(folder, Arrival(**({"stable_seconds": 10, "header_seconds": 50} | rules)), lambda *_: False)


def test_a_scan_is_complete_when_nothing_of_it_changes_any_more(tmp_path: Path) -> None:
    path = write_scan(tmp_path / "a.npy")
    watched = arrivals(tmp_path)
    assert watched.look(0) == []
    assert watched.look(9) == []
    write_scan(path, 1)
    assert watched.look(11) == []
    assert [scan.path for scan in watched.look(21)] == [path]


def test_a_file_shorter_than_its_header_says_is_waited_for_and_then_left_to_fail(tmp_path: Path) -> None:
    path = write_scan(tmp_path / "a.npy")
    path.write_bytes(path.read_bytes()[:2000])
    watched = arrivals(tmp_path)
    watched.look(0)
    assert watched.look(59) == []
    assert str(path) in watched.waiting
    assert len(watched.look(60)) == 1


def test_a_marker_and_the_number_of_slices_are_waited_for(tmp_path: Path) -> None:
    path = write_scan(tmp_path / "a.npy")
    watched = arrivals(tmp_path, stable_seconds=0, marker="{name}.done")
    assert watched.look(0) == []
    assert "a.done" in watched.waiting[str(path)]
    (tmp_path / "a.done").touch()
    assert len(watched.look(1)) == 1
    folder = tmp_path / "more" / "s"
    folder.mkdir(parents=True)
    for z in range(2):
        (folder / f"{z}.png").touch()
    watched = arrivals(tmp_path / "more", stable_seconds=0, header_seconds=0, slices=3)
    assert watched.look(0) == []
    assert "2 of 3 slices" in watched.waiting[str(folder)]
    (folder / "2.png").touch()
    assert len(watched.look(1)) == 1


def test_equal_names_in_two_folders_stay_apart() -> None:
    names = [name_for(Path("in"), Path("in") / place) for place in ("a.tif", "x/a.tif", "x/y/a.tif")]
    assert names == ["a", "x__a", "x__y__a"]


DRIVER = f"""
import sys
sys.path.insert(0, {str(SUPPORT)!r})
from pathlib import Path
from fake_engine import FakeEngine, fake_bundle
from ps3d_rt.batch.engine_pool import EnginePool
from ps3d_rt.predict_options import PredictOptions
from ps3d_rt.watch.config import Arrival, Scan, Tries, WatchConfig
from ps3d_rt.watch.queue import Queue
from ps3d_rt.watch.service import Service
folder, out = map(Path, sys.argv[1:])
out.mkdir(exist_ok=True)
arrival = Arrival(poll_seconds=0.05, stable_seconds=0, header_seconds=0)
config = WatchConfig(
    scan=Scan(spacing=0.01, particle_size=0.12), arrival=arrival, retry=Tries(crashes=100), free_gib=0
)
pool = EnginePool(PredictOptions(model=fake_bundle(16)), lambda b, o: FakeEngine(b.patch, threshold=1.0))
with Queue(out / ".watch") as queue, pool:
    Service(folder, out, config, queue, pool, lambda event: print(event, flush=True)).run(once=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
def test_whenever_it_is_killed_each_scan_is_done_once_and_none_in_part(tmp_path: Path) -> None:
    names = [f"s{number}" for number in range(3)]
    for number, name in enumerate(names):
        write_scan(tmp_path / "in" / f"{name}.npy", number)
    draw = random.Random(4)
    for kill in (True, False):
        command = [sys.executable, "-c", DRIVER, str(tmp_path / "in"), str(tmp_path / "out")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(draw.randrange(8, 25) if kill else 0):
                if not process.stdout.readline():
                    break
            if kill:
                process.send_signal(signal.SIGKILL)
            process.communicate()
        assert kill or process.returncode == 0
    with Queue(tmp_path / "out" / ".watch") as queue:
        assert queue.times_done() == dict.fromkeys(names, 1)
        assert queue.counts()[State.DONE] == 3
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*names, ".watch"}
    for name in names:
        assert json.loads((tmp_path / "out" / name / "run.json").read_text())["particles"] == 1


def test_the_command_refuses_an_output_inside_the_folder_and_ends_when_all_is_done(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    code, _, err = cli("watch", tmp_path / "in", tmp_path / "in" / "out")
    assert (code, "choose another output" in err) == (2, True)
    (tmp_path / "watch.toml").write_text("[arrival]\npoll_seconds = 0.05\n")
    code, _, err = cli("watch", tmp_path / "in", tmp_path / "out", "--config", tmp_path / "watch.toml", "--once")
    assert code == 0, err
    assert (tmp_path / "out" / ".watch" / "watch.log").exists()

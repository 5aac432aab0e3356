"""States of a scan, watch.toml, and the lock: what follows what, without a scan."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ps3d_rt.errors import InputError
from ps3d_rt.watch import lock, states
from ps3d_rt.watch.config import WatchConfig, parse_config, read_config
from ps3d_rt.watch.lock import only_instance
from ps3d_rt.watch.states import NotAllowedError, Progress, Retries, State

RUNNING = Progress(state=State.RUNNING)
RETRIES = Retries(tries=2, crashes=2, backoff_seconds=10, longest_seconds=30)


def test_a_failure_waits_and_the_last_one_ends_it() -> None:
    first = states.failed(RUNNING, "oh", RETRIES, now=100)
    assert first == Progress(state=State.QUEUED, failures=1, not_before=110, reason="oh")
    assert states.failed(states.started(first), "no", RETRIES, now=0).state is State.FAILED


def test_a_process_that_ends_again_and_again_is_blamed_on_the_scan() -> None:
    once = states.crashed(RUNNING, RETRIES)
    assert (once.state, once.crashes) == (State.QUEUED, 1)
    twice = states.crashed(states.started(once), RETRIES)
    assert twice.state is State.FAILED
    assert "ended 2 times" in (twice.reason or "")


def test_a_stop_is_nobodys_fault_and_a_retry_starts_afresh() -> None:
    assert states.stopped(RUNNING) == Progress()
    worn = Progress(state=State.FAILED, failures=3, crashes=1, not_before=9e9, reason="oh")
    assert states.retried(worn) == Progress()


STEPS: dict[str, Any] = {
    "started": states.started,
    "done": states.done,
    "failed": lambda was: states.failed(was, "oh", RETRIES, 0),
    "stopped": states.stopped,
    "crashed": lambda was: states.crashed(was, RETRIES),
    "retried": states.retried,
    "removed": states.removed,
    "replaced": states.replaced,
}


@given(st.lists(st.sampled_from(sorted(STEPS))))
def test_whatever_happens_a_scan_that_is_done_stays_done(names: list[str]) -> None:
    progress, was_done = Progress(), False
    for name in names:
        try:
            progress = STEPS[name](progress)
        except NotAllowedError:
            continue
        assert not was_done, f"{name} was allowed after it was done"
        was_done = progress.state is State.DONE


def test_a_config_says_what_it_says_and_the_rest_is_default(tmp_path: Path) -> None:
    (tmp_path / "watch.toml").write_text('free_gib = 2\n[scan]\nspacing = [1, 2, 3]\n[arrival]\nmarker = "{name}.ok"\n')
    config = read_config(tmp_path / "watch.toml")
    assert (config.free_gib, config.scan.spacing, config.arrival.marker) == (2, (1, 2, 3), "{name}.ok")
    assert config.scan.options().spacing == (1, 2, 3)
    assert config.retry == WatchConfig().retry


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"scan": {"spacin": 1}}, "spacin"),
        ({"scan": {"particle_size": "huge"}}, "particle_size"),
        ({"arrival": {"poll_seconds": "often"}}, "poll_seconds"),
        ({"arrival": {"poll_seconds": 0}}, "poll_seconds is 0"),
        ({"arrival": {"stable_seconds": float("nan")}}, "stable_seconds is nan"),
        ({"arrival": {"stable_seconds": float("inf")}}, "stable_seconds is inf"),
        ({"arrival": {"marker": "../x"}}, "marker"),
        ({"retry": {"tries": 0}}, "tries is 0"),
        ({"retry": []}, "retry"),
    ],
)
def test_a_key_that_cannot_be_is_named(content: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_config(content, "watch.toml")


@pytest.mark.parametrize("data", [b"a = ", b"\xff\xfe", b"a = " + b"[" * 5000])
def test_a_file_that_is_no_toml_is_an_input_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "watch.toml").write_bytes(data)
    with pytest.raises(InputError, match="is not TOML"):
        read_config(tmp_path / "watch.toml")


def test_there_is_one_instance_and_the_second_says_who(tmp_path: Path) -> None:
    holder = (
        "import sys; from pathlib import Path; from ps3d_rt.watch.lock import only_instance\n"
        "with only_instance(Path(sys.argv[1])): print('in', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", holder, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        process.stdout.readline()
        while not lock.read_heartbeat(tmp_path):
            pass
        with pytest.raises(InputError, match=f"process {process.pid}"), only_instance(tmp_path):
            pass
        process.kill()
        process.wait()
        with only_instance(tmp_path):  # the lock goes with its process
            pass


@pytest.mark.parametrize("beats", [True, False])
def test_a_heart_that_beats_on_another_machine_keeps_us_away(tmp_path: Path, beats: bool) -> None:
    def write(number: int) -> None:
        (tmp_path / lock.HEARTBEAT).write_text(json.dumps({"host": "elsewhere", "pid": 7, "number": number}))

    write(1)
    if beats:
        with pytest.raises(InputError, match="process 7 on elsewhere"), only_instance(tmp_path, 0, lambda _: write(2)):
            pass
    else:
        with only_instance(tmp_path, 60, lambda _: None):
            pass

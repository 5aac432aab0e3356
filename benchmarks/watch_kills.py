"""A hot folder with 30 scans that are written slowly, killed (SIGKILL) ten times: is each done once, and none in part?

    python benchmarks/watch_kills.py [--scans 30] [--kills 10]

The scans are simulated, and are written by a thread in pieces while the service runs. Every kill comes at a random
moment of a run of the service, which is then started again.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from ps3d_bench.command import installed_command
from ps3d_bench.environment import environment, write_result
from ps3d_rt.output import report_again
from ps3d_rt.watch.queue import Queue
from ps3d_rt.watch.states import State

ROOT = Path(__file__).resolve().parents[1]
SIDE = 40
CONFIG = """free_gib = 0.1
[scan]
spacing = 0.01
particle_size = 0.12
[arrival]
poll_seconds = 0.5
stable_seconds = 2
header_seconds = 600
[retry]
crashes = 100
"""


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=int, default=30)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/watch_kills.json")
    chosen = parser.parse_args(arguments)
    draw = random.Random(chosen.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        (folder / "watch.toml").write_text(CONFIG)
        writer = Thread(target=_write_slowly, args=(folder / "in", chosen.scans))
        writer.start()
        kills = [_kill(folder, draw) for _ in range(chosen.kills)]
        writer.join()
        start = time.perf_counter()
        last = _service(folder)
        _, said = last.communicate()
        assert last.returncode == 0, said.decode()
        facts = _found(folder, chosen.scans)
        facts["last_run_seconds"] = round(time.perf_counter() - start, 1)
    result = {
        "benchmark": "watch_kills",
        **environment(["python", "benchmarks/watch_kills.py", *arguments]),
        "data": f"simulated: one ball in scans of {SIDE} voxels a side",
        "scans": chosen.scans,
        "kills": sum(kill["killed"] for kill in kills),
        **facts,
        "every_kill": kills,
    }
    write_result(chosen.out, result)
    print(json.dumps(facts))


def _service(folder: Path) -> subprocess.Popen[bytes]:
    words = ["watch", folder / "in", folder / "out", "--config", folder / "watch.toml", "--once"]
    command = [installed_command(), *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _kill(folder: Path, draw: random.Random) -> dict[str, Any]:
    """Start the service, and kill it some time after its first scan has begun or, now and then, before."""
    run = _service(folder)
    assert run.stderr is not None
    lines = draw.randrange(0, 40)
    for _ in range(lines):
        if not run.stderr.readline():
            break
    time.sleep(draw.uniform(0, 0.5))
    alive = run.poll() is None
    run.send_signal(signal.SIGKILL)
    run.communicate()
    with Queue(folder / "out" / ".watch") as queue:
        counts = {state.value: count for state, count in queue.counts().items()}
    print(json.dumps(counts), file=sys.stderr, flush=True)
    return {"after_lines": lines, "killed": alive, **counts}


def _write_slowly(folder: Path, many: int) -> None:
    grid = np.indices((SIDE,) * 3)
    for number in range(many):
        ball = ((grid - SIDE // 2) ** 2).sum(0) <= (6 + number % 8) ** 2
        noise = np.random.default_rng(number).normal(0, 200, ball.shape)
        buffer = BytesIO()
        np.save(buffer, (np.where(ball, 30000, 9000) + noise).astype(np.uint16))
        data = buffer.getvalue()
        with (folder / f"s{number:02}.npy").open("wb", buffering=0) as file:
            for start in range(0, len(data), len(data) // 4 + 1):
                file.write(data[start : start + len(data) // 4 + 1])
                time.sleep(0.25)


def _found(folder: Path, many: int) -> dict[str, Any]:
    with Queue(folder / "out" / ".watch") as queue:
        times, counts = queue.times_done(), queue.counts()
    outputs = [path for path in (folder / "out").iterdir() if not path.name.startswith(".")]
    for path in outputs:
        report_again(path)  # opens labels, table and run.json, and reads them
    return {
        "done": counts[State.DONE],
        "done_once": sum(times.get(f"s{number:02}") == 1 for number in range(many)),
        "in_other_states": sum(counts[state] for state in State if state is not State.DONE),
        "outputs": len(outputs),
        "left_of_runs": len(list((folder / "out").glob(".*.run"))),
        "of_one_particle": sum(json.loads((path / "run.json").read_text())["particles"] == 1 for path in outputs),
    }


if __name__ == "__main__":
    main(sys.argv[1:])

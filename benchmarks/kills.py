"""A run with two workers is killed (SIGKILL) at random moments and started again: is the output the same every time?

    python benchmarks/kills.py [--kills 20] [--side 192]

The scan is simulated. A run that nobody disturbs comes first: its files are what every other run must end with, byte by
byte (labels and tables; run.json and report.html hold dates and seconds). Then, for every kill, a new run is started,
killed at a moment drawn evenly from the length of the undisturbed run, and started again until it is complete. Every
second kill hits a worker process instead of the run itself.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ps3d_bench.command import installed_command
from ps3d_bench.environment import environment, write_result

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    where = environment(["python", "benchmarks/kills.py", *arguments])
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scan = simulated_scan(folder, options.side)
        start = time.perf_counter()
        code, _ = _finish(_start(scan, folder / "want"))
        seconds = time.perf_counter() - start
        assert code == 0, "the undisturbed run failed"
        want = content(folder / "want")
        trials: list[dict[str, Any]] = []
        # A moment may come too late on a machine whose speed changes: such a trial is listed, and does not count.
        while sum(trial["killed"] for trial in trials) < options.kills:
            out = folder / f"out-{len(trials)}"
            moment = draw.uniform(0.5, seconds)
            trials.append(_trial(scan, out, moment, draw, worker=len(trials) % 2 == 1, want=want))
            print(json.dumps(trials[-1]), file=sys.stderr, flush=True)
            shutil.rmtree(out)
    facts = {
        "trials": len(trials),
        "kills": sum(trial["killed"] for trial in trials),
        "resumed": sum(trial["resumed"] for trial in trials),
        "identical": sum(trial["identical"] for trial in trials),
        "processes_left": sum(trial["processes_left"] for trial in trials),
    }
    scan_facts = {"data": "simulated: ps3d-rt synth", "side_voxels": options.side, "undisturbed_seconds": seconds}
    write_result(options.out, {"benchmark": "kills", **where, **scan_facts, **facts, "every_trial": trials})
    print(json.dumps(facts))


def _trial(
    scan: Path, out: Path, moment: float, draw: random.Random, *, worker: bool, want: dict[str, bytes]
) -> dict[str, Any]:
    run = _start(scan, out)
    time.sleep(moment)
    family = _workers(run.pid)
    target = draw.choice(family) if worker and family else run.pid
    killed = run.poll() is None
    if killed:
        os.kill(target, signal.SIGKILL)
    _, error = _finish(run)
    again = 0
    while not out.exists():
        assert again < 3, error
        _, error = _finish(_start(scan, out))
        again += 1
    left = [pid for pid in family if _alive(pid)]
    run_facts = json.loads((out / "run.json").read_text(encoding="utf-8"))
    return {
        "seconds": round(moment, 2),
        "target": "worker" if target != run.pid else "run",
        "killed": killed,
        "exit_code": run.returncode,
        "started_again": again,
        "resumed": run_facts["resumed"],
        "identical": content(out) == want,
        "processes_left": len(left),
    }


def content(folder: Path) -> dict[str, bytes]:
    """Files of an output by name, but for those that hold dates and seconds."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in {"run.json", "report.html"})
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def simulated_scan(folder: Path, side: int) -> Path:
    """Make a scan; its path."""
    command = [
        installed_command(),
        "synth",
        folder / "scan",
        "--seed",
        "920000",
        "--shape",
        side,
        "--particle-size",
        "20",
    ]
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    return folder / "scan" / "images" / "synth_920000.zarr"


def _start(scan: Path, out: Path) -> subprocess.Popen[bytes]:
    words = ["predict", scan, out, "--particle-size", "0.2", "--spacing", "0.01", "--workers", "2", "--chunk", "64"]
    return subprocess.Popen([installed_command(), *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _finish(run: subprocess.Popen[bytes]) -> tuple[int, str]:
    _, error = run.communicate()
    return run.returncode, error.decode()


def _workers(pid: int) -> list[int]:
    """Worker processes of ``pid`` (Linux): children of any of its threads, but for Python's resource tracker."""
    listings = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(child) for listing in listings for child in listing.read_text().split()]
    return [child for child in children if "resource_tracker" not in Path(f"/proc/{child}/cmdline").read_text()]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[-1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--side", type=int, default=192, help="of the scan, voxels")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/kills.json")
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])

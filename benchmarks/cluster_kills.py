"""A run on two workers of a Dask cluster, which are killed (SIGKILL) three times: are its bytes those of a local run?

    python benchmarks/cluster_kills.py [--side 256]

The scan is simulated. Scheduler and workers are processes of this machine, on loopback; nannies start a killed worker
again. The first kill comes while the network runs, the second while particles are put together, the third while boxes
are measured or written.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from kills import content, simulated_scan
from ps3d_bench.command import installed_command
from ps3d_bench.environment import environment, write_result
from ps3d_rt.cluster import find_cluster
from ps3d_rt.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
KILLED_IN = ("network", "particles", "table")
"""Stages; a worker is killed when a third of the stage is done."""
WORKERS = 2


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    where = environment(["python", "benchmarks/cluster_kills.py", *arguments])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scan = simulated_scan(folder, options.side)
        seconds = {"local": _predict(scan, folder / "local", [])}
        with _cluster(folder) as (address, nannies):
            on_cluster = ["--cluster", address]
            seconds["cluster"] = _predict(scan, folder / "cluster", on_cluster)
            kills: list[dict[str, Any]] = []
            seconds["cluster, with kills"] = _predict(scan, folder / "killed", on_cluster, nannies, kills)
        want, record = content(folder / "local"), json.loads((folder / "killed/run.json").read_text(encoding="utf-8"))
        facts = {
            "data": "simulated: ps3d-rt synth",
            "side_voxels": options.side,
            "workers": WORKERS,
            "engine": record["engine"],
            "particles": record["particles"],
            "files": len(want),
            "seconds": seconds,
            "kills": kills,
            "warned_of": sum("was lost" in text for text in record["warnings"]),
            "identical": content(folder / "cluster") == want,
            "identical_with_kills": content(folder / "killed") == want,
        }
    write_result(options.out, {"benchmark": "cluster_kills", **where, **facts})
    print(json.dumps(facts))


def _predict(
    scan: Path,
    out: Path,
    options: list[str],
    nannies: Sequence[psutil.Process] = (),
    kills: list[dict[str, Any]] | None = None,
) -> float:
    """Run the command, and kill workers on the way; the seconds that it takes."""
    words = [
        "predict",
        scan,
        out,
        "--particle-size",
        "0.2",
        "--spacing",
        "0.01",
        "--chunk",
        "64",
        "--log-json",
        *options,
    ]
    start, left = time.perf_counter(), list(KILLED_IN if nannies else ())
    command = [installed_command(), *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as run:
        totals: dict[str, int] = {}
        for line in run.stderr or ():
            event = json.loads(line)
            if event.get("event") == "StageStarted":
                totals[event["stage"]] = event["total"]
            stage = event.get("stage")
            if left and stage == left[0] and 3 * event.get("done", 0) > totals[stage] and kills is not None:
                kills.append({"stage": left.pop(0), "done": event["done"], "of": totals[stage]})
                _worker_of(nannies[len(kills) % len(nannies)]).kill()
    assert run.returncode == 0, f"exit code {run.returncode}"
    return round(time.perf_counter() - start, 1)


def _worker_of(nanny: psutil.Process) -> psutil.Process:
    """Give the process that works, once there is one again."""
    while not (found := [child for child in nanny.children() if "resource_tracker" not in " ".join(child.cmdline())]):
        time.sleep(0.1)
    return found[0]


@contextmanager
def _cluster(folder: Path) -> Iterator[tuple[str, list[psutil.Process]]]:
    about = folder / "scheduler.json"
    alone = ["--nthreads", "1", "--memory-limit", "0", "--local-directory", str(folder)]
    started = [_dask("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(about))]
    started += [_dask("worker", "--scheduler-file", str(about), *alone) for _ in range(WORKERS)]
    try:
        while not about.exists():
            time.sleep(0.1)
        address = json.loads(about.read_text(encoding="utf-8"))["address"]
        while _workers_at(address) < WORKERS:
            time.sleep(0.1)
        yield address, [psutil.Process(process.pid) for process in started[1:]]
    finally:
        for process in started:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
            process.wait()


def _workers_at(address: str) -> int:
    try:
        return find_cluster(address, 1).workers
    except InputError:  # there is none yet
        return 0


def _dask(program: str, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"distributed.cli.dask_{program}", "--no-dashboard", *options]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=256, help="of the cubic scan, voxels")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/cluster_kills.json")
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])

"""What 1, 10 and 100 workers of a Dask cluster give for scans of 10^10 and 10^12 voxels: a simulation, nothing is run.

    python benchmarks/cluster_plan.py

Times of tasks are those of a scan of 512³ on one machine (results/limits.json) and of merges of 10^7 particles
(results/memory.json, on busy cores, so too long by some factor). What a cluster adds is assumed, and said in the
result: how long the scheduler takes over a task, and what all workers together get out of the shared disk.

A stage is a list of equal tasks. One passes the scheduler, reads and writes at the disk, and computes at a worker;
scheduler and disk serve one task after the other. Results are taken by the run, which merges them one by one. What is
busiest is what saturates: where workers are not, more of them do not help.
"""

from __future__ import annotations

import argparse
import heapq
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any

from ps3d_bench.environment import environment, write_result

RESULTS = Path(__file__).resolve().parent / "results"
SCANS, WORKERS = (10**10, 10**12), (1, 10, 100)
CHUNK, BOX, SWEEP = 256**3, 64 * 512 * 512, 2**31
"""Voxels of a task: a chunk, a box of the scan, and a sweep of the network if there are enough."""
MESSAGES_S = 1e-3
"""Of the scheduler for a task, with ours to submit it and to take its result."""
DISK_BYTES_S = 1e9
"""Of the shared disk, all workers together: NFS over 10 Gbit/s."""
SEAM = 1.2
"""Patches on seams between sweeps are computed twice."""


@dataclass(frozen=True)
class Stage:
    """Equal tasks."""

    name: str
    tasks: int
    seconds: float
    """That a worker computes for one."""
    disk_bytes: float
    """That one reads and writes."""
    merge_seconds: float = 0.0
    """That the run takes over each result, or over all of them if there is one task."""


def stages(voxels: int, workers: int, per_voxel: dict[str, float], merges: dict[str, float]) -> list[Stage]:
    """Cut a scan as a run does, with a network grid of as many voxels; particles as dense as in the scan measured."""
    sweeps = max(workers, ceil(voxels / SWEEP))
    seam = SEAM if sweeps > 1 else 1.0
    chunks, boxes, particles = ceil(voxels / CHUNK), ceil(voxels / BOX), voxels * merges["particles_a_voxel"]
    compute = per_voxel["particles"] / 4
    return [
        Stage("network", sweeps, per_voxel["network"] * seam * voxels / sweeps, 2.5 * voxels / sweeps),
        *(Stage(f"particles {k + 1} of 4", chunks, compute * CHUNK, 2.0 * CHUNK) for k in range(4)),
        Stage("joining fragments", 1, 0.0, 0.0, particles * merges["seconds_a_particle_joined"]),
        Stage("table", boxes, per_voxel["table"] * BOX, 3.0 * BOX, particles / boxes * merges["seconds_a_particle"]),
        Stage("labels", boxes, per_voxel["labels"] * BOX, 1.0 * BOX),
    ]


def simulate(stage: Stage, workers: int) -> dict[str, float]:
    """Give the seconds of a stage, and for how many of them each part is busy."""
    free = [0.0] * workers
    scheduler = disk = run = end = 0.0
    for _ in range(stage.tasks):
        scheduler += MESSAGES_S
        start = max(heapq.heappop(free), scheduler)
        disk = max(disk, start) + stage.disk_bytes / DISK_BYTES_S
        done = max(start, disk) + stage.seconds
        heapq.heappush(free, done)
        run = max(run, done) + stage.merge_seconds
        end = max(end, run)
    return {
        "seconds": end,
        "workers": stage.tasks * stage.seconds / workers,
        "disk": stage.tasks * stage.disk_bytes / DISK_BYTES_S,
        "merges": stage.tasks * stage.merge_seconds,
        "scheduler": stage.tasks * MESSAGES_S,
    }


def plan(voxels: int, workers: int, per_voxel: dict[str, float], merges: dict[str, float]) -> dict[str, Any]:
    """Add up the stages of a run."""
    found = {stage.name: simulate(stage, workers) for stage in stages(voxels, workers, per_voxel, merges)}
    busy = {part: sum(times[part] for times in found.values()) for part in ("workers", "disk", "merges", "scheduler")}
    seconds = sum(times["seconds"] for times in found.values())
    return {
        "voxels": voxels,
        "workers": workers,
        "hours": round(seconds / 3600, 2),
        "busy_share": {part: round(time / seconds, 3) for part, time in busy.items()},
        "hours_a_stage": {name: round(times["seconds"] / 3600, 3) for name, times in found.items()},
        "busiest": max(busy, key=lambda part: busy[part]),
    }


def measured() -> tuple[dict[str, float], dict[str, float]]:
    """Read seconds a voxel, and seconds a particle of the serial merges."""
    run = json.loads((RESULTS / "limits.json").read_text(encoding="utf-8"))["runs"][0]
    memory = json.loads((RESULTS / "memory.json").read_text(encoding="utf-8"))
    voxels = run["shape"][0] * run["shape"][1] * run["shape"][2]
    per_voxel = {stage: run["stages_seconds"][stage] / voxels for stage in ("network", "particles", "table", "labels")}
    pieces, sums = memory["pieces"], memory["sums"]
    return per_voxel, {
        "particles_a_voxel": run["particles"] / voxels,
        "seconds_a_particle_joined": pieces["seconds"] / pieces["particles"],
        "seconds_a_particle": sums["seconds"] / sums["particles"],
    }


def main(arguments: Sequence[str]) -> None:
    """Simulate all, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS / "cluster_plan.json")
    options = parser.parse_args(arguments)
    per_voxel, merges = measured()
    runs = [plan(voxels, workers, per_voxel, merges) for voxels in SCANS for workers in WORKERS]
    facts = {
        "benchmark": "cluster_plan",
        "data": "simulated: a model of a cluster, fed with measured seconds",
        **environment(["python", "benchmarks/cluster_plan.py", *arguments]),
        "assumed": {"messages_s_a_task": MESSAGES_S, "disk_bytes_s": DISK_BYTES_S, "seam_factor": SEAM},
        "measured": {"seconds_a_voxel": per_voxel, **merges},
        "stages_of_the_largest": [asdict(stage) for stage in stages(SCANS[-1], WORKERS[-1], per_voxel, merges)],
        "runs": runs,
    }
    write_result(options.out, facts)
    for run in runs:
        print(json.dumps({name: run[name] for name in ("voxels", "workers", "hours", "busiest", "busy_share")}))


if __name__ == "__main__":
    main(sys.argv[1:])

"""How the network's speed grows with cores on this machine, and what it is limited by.

For 1, 2, 4 … cores a process is pinned to as many, where the system allows it, and timed: patches a second of the
engine, GB/s of copies in memory. With all cores it is also tried whether several processes, as ``predict --workers``
has them, do more than one. Run on a machine that does nothing else.

    python -m ps3d_bench.scaling TASK        is what each process runs
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import psutil

from ps3d_rt.engines import DeviceLimits, open_engine
from ps3d_rt.engines.precision import draw_patch
from ps3d_rt.errors import Ps3dError
from ps3d_rt.model import load_model

GOOD = 0.8
"""If cores reach this share of the speed of one, times their number, more cores would help."""
COPIED_BYTES = 2**26
"""Beyond the caches of most CPUs."""


@dataclass(frozen=True)
class Task:
    """What one process times."""

    model: str
    precision: str
    cores: tuple[int, ...]
    """To be pinned to; as many threads run."""
    seconds: float
    """For patches, and again for copies."""


@dataclass(frozen=True)
class Row:
    """What was measured with some cores."""

    cores: int
    processes: int
    patches_per_s: float
    copy_gb_per_s: float
    precision: str
    pinned: bool


def usable_cores() -> list[int]:
    """Number the cores that this process may use."""
    ask = getattr(psutil.Process(), "cpu_affinity", None)  # macOS has none
    return list(range(psutil.cpu_count() or 1)) if ask is None else ask()


def core_counts(usable: int) -> list[int]:
    """Double from one core up to all.

    >>> core_counts(6)
    [1, 2, 4, 6]
    """
    return [*(2**k for k in range(usable.bit_length()) if 2**k < usable), usable]


def curve(model: str, precision: str, cores: Sequence[int], seconds: float) -> list[Row]:
    """Time 1, 2, 4 … of these cores in one process, then all of them in 2, 4 … processes."""
    rows = [_together([Task(model, precision, tuple(cores[:count]), seconds)]) for count in core_counts(len(cores))]
    for processes in core_counts(len(cores))[1:]:
        share = len(cores) // processes
        parts = [tuple(cores[k * share : (k + 1) * share]) for k in range(processes)]
        rows.append(_together([Task(model, precision, part, seconds) for part in parts]))
    return rows


def verdict(rows: Sequence[Row]) -> str:
    """Say what limits the network with all cores: cores, memory, or how threads share the work.

    >>> one, two = Row(1, 1, 5.0, 10.0, "int8", True), Row(2, 1, 9.5, 12.0, "int8", True)
    >>> verdict([one, two])
    'cores: 2 do 1.90 times the work of one'
    """
    one = rows[0]
    alone = [row for row in rows if row.processes == 1]
    most, best = alone[-1], max(rows, key=lambda row: row.patches_per_s)
    gain, copies = most.patches_per_s / one.patches_per_s, most.copy_gb_per_s / one.copy_gb_per_s
    told = f"{most.cores} do {gain:.2f} times the work of one"
    if best.processes > 1 and best.patches_per_s * GOOD > most.patches_per_s:
        return (
            f"threads of one process: {told}, {best.processes} processes {best.patches_per_s / one.patches_per_s:.2f}"
        )
    if gain >= GOOD * most.cores:
        return f"cores: {told}"
    if copies < GOOD * most.cores:
        return f"memory: {told}, and copy {copies:.2f} times as fast"
    return f"how the work is shared among threads: {told}, though copies grow {copies:.2f} times"


def _together(tasks: Sequence[Task]) -> Row:
    """Run tasks at the same time, a process each; all begin when the last is ready."""
    command = [sys.executable, "-m", "ps3d_bench.scaling"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with ExitStack() as stack:
        running = [
            stack.enter_context(subprocess.Popen([*command, json.dumps(asdict(task))], **pipes)) for task in tasks
        ]
        for process in running:
            if process.stdout is None or process.stdout.readline() != "ready\n":
                raise Ps3dError(f"a process to be timed ended with exit code {process.wait()}; it said why above.")
        for process in running:
            if process.stdin is not None:
                process.stdin.write("go\n")
                process.stdin.flush()
        found = [json.loads(process.communicate()[0]) for process in running]
    return Row(
        cores=sum(len(task.cores) for task in tasks),
        processes=len(tasks),
        patches_per_s=round(sum(row["patches_per_s"] for row in found), 3),
        copy_gb_per_s=round(sum(row["copy_gb_per_s"] for row in found), 2),
        precision=found[0]["precision"],
        pinned=all(row["pinned"] for row in found),
    )


def time_task(task: Task) -> dict[str, Any]:
    """Time one task in this process; it says that it is ready on stdout, and begins with a line on stdin."""
    pinned = False
    with suppress(AttributeError, OSError, ValueError):  # macOS pins nothing
        psutil.Process().cpu_affinity(list(task.cores))
        pinned = True
    bundle, threads = load_model(task.model), len(task.cores)
    limits = DeviceLimits(threads=threads)
    with open_engine(bundle, device="cpu", precision=task.precision, limits=limits) as engine:
        patch = draw_patch(bundle.patch, bundle.target_size_voxels, scheme=bundle.gray_scheme)
        patches = np.repeat(patch[None, None], engine.spec.batch, axis=0)
        engine.infer(patches)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        calls, start = 0, time.perf_counter()
        while not calls or time.perf_counter() - start < task.seconds:
            engine.infer(patches)
            calls += 1
        rate = calls * len(patches) / (time.perf_counter() - start)
        return {
            "patches_per_s": rate,
            "copy_gb_per_s": _copy_gb_per_s(threads, task.seconds),
            "precision": engine.spec.precision,
            "pinned": pinned,
        }


def _copy_gb_per_s(threads: int, seconds: float) -> float:
    """Copy in as many threads as the engine has; a byte that is read and written counts twice."""

    def copies(_: int) -> int:
        source, target, count = np.ones(COPIED_BYTES, np.uint8), np.empty(COPIED_BYTES, np.uint8), 0
        while not count or time.perf_counter() - start < seconds:
            np.copyto(target, source)
            count += 1
        return count

    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        count = sum(pool.map(copies, range(threads)))
    return 2 * count * COPIED_BYTES / 1e9 / (time.perf_counter() - start)


def as_table(rows: Sequence[Row]) -> str:
    """Write the rows as a Markdown table."""
    one = rows[0].patches_per_s
    lines = ["| cores | processes | patches/s | times one core | copies, GB/s |", "|--:|--:|--:|--:|--:|"]
    lines += [
        f"| {row.cores} | {row.processes} | {row.patches_per_s:.3g} | {row.patches_per_s / one:.2f} "
        f"| {row.copy_gb_per_s:.3g} |"
        for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    print(json.dumps(time_task(Task(**asked | {"cores": tuple(asked["cores"])}))))

"""What worker processes do in tests, for they cannot import a test; and how tests see whether they live.

As a script: ``worker_tasks.py FOLDER``, a journaled run on two processes.
"""

import os
import random
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

from ps3d_rt.core.grid import Box
from ps3d_rt.errors import CapabilityError
from ps3d_rt.journal import Journal
from ps3d_rt.workers import Workers, check_stop, report_progress

TASKS = 40


class AwkwardError(Exception):
    """An error that pickles and does not come back."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def alive(pid):
    """Whether a process runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return Path("/proc/self").exists() is False
    return state != "Z"  # dead, and its new parent has not asked for the body


def wait_until(condition, seconds=5.0):
    """Wait for something that happens elsewhere."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def square(item):
    return item * item


def slow_first(item):
    time.sleep(0.3 if item == 0 else 0.0)
    return item


def where(_item):
    time.sleep(0.1)
    return os.getpid()


def count_to(item):
    for k in range(item):
        report_progress((item, k))
    return item


def advance(item):
    """Report as many steps, one by one."""
    for _ in range(item):
        report_progress(1)
    return item


AT_WORK = {"now": 0, "most": 0}
"""Tasks of :func:`be_counted` in this process."""


def be_counted(_item):
    AT_WORK["now"] += 1
    AT_WORK["most"] = max(AT_WORK.values())
    time.sleep(0.02)
    AT_WORK["now"] -= 1


def work_until_stopped(folder, item):
    """Return at once for item 0; the others leave a file when they begin and when they are stopped."""
    if item == 0:
        return
    (folder / f"began-{item}").touch()
    try:
        while True:
            time.sleep(0.01)
            check_stop()
    finally:
        (folder / f"ended-{item}").touch()


def report_pid_and_wait(item):
    report_progress(os.getpid())
    time.sleep(0.3)
    return item


def fail_at_3(item):
    if item == 3:
        raise CapabilityError("no such device")
    return item


def throw(error):
    raise error


def fail_awkwardly(item):
    raise AwkwardError(item, 2)


def die(item):
    if item == 2:
        os._exit(9)
    return item


def note_end(folder, item):
    """Fail at item 0; the others take a moment and leave a file at their end."""
    if item == 0:
        raise ValueError("item 0")
    time.sleep(0.2)
    (folder / str(item)).touch()


def note_pid_and_hang(folder, item):
    """Return at once for item 0."""
    if item == 0:
        return
    (folder / f"pid-{os.getpid()}").touch()
    time.sleep(60)


def in_pieces(item):
    """Something that cannot leave its process."""
    return lambda: item


def make_part(folder, item):
    """Write an array slowly, in two steps, as a shard that a kill may cut; return its sum and its box."""
    (folder / "pids" / str(os.getpid())).touch()
    with (folder / "runs").open("a") as file:
        file.write(f"{item}\n")
    values = np.random.default_rng(item).integers(0, 100, 1000)
    with (folder / "parts" / f"{item}.npy").open("wb") as file:
        file.write(values[:500].tobytes())
        file.flush()
        time.sleep(random.uniform(0, 0.02))
        file.write(values[500:].tobytes())
    return values.sum(), Box((item, 0, 0), (item + 1, 1, 1))


def main(folder):
    with Journal.open(folder, {"tasks": TASKS}) as journal, Workers(processes=2) as workers:
        for name in ("parts", "pids"):
            (folder / name).mkdir(exist_ok=True)
        parts = list(journal.map(workers.map, "parts", partial(make_part, folder), range(TASKS)))
        (folder / "result").write_text(repr(parts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

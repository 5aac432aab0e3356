"""Tasks on a Dask cluster: the bytes of a local run, whatever dies on the way."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cluster_run
import ps3d_rt
import ps3d_rt.plan
import worker_tasks
from cluster_run import SLOW, content, free_port
from ps3d_rt import cluster
from ps3d_rt.clock import Resumed
from ps3d_rt.cluster import Cluster, ClusterWorkers, _Progress, cluster_workers, find_cluster, task_name
from ps3d_rt.cluster_worker import Order, Terms, do, software
from ps3d_rt.core.grid import Box, Sweep
from ps3d_rt.devices.several import LimitedTask
from ps3d_rt.errors import CapabilityError, InputError, InterruptedRun
from ps3d_rt.events import RunResumed, StageAdvanced, Warned
from ps3d_rt.journal import Journal
from ps3d_rt.run_folder import work_of
from ps3d_rt.stages.boxes import BoxTask
from ps3d_rt.stages.growth import grow_chunk
from ps3d_rt.stages.labels import _coarsen
from ps3d_rt.stages.segment import segment
from worker_tasks import advance, be_counted, fail_at_3, fail_awkwardly, square, wait_until, work_until_stopped

distributed = pytest.importorskip("distributed", reason="distributed (Dask) is not installed: ps3d-rt[cluster]")

SUPPORT = Path(cluster_run.__file__).parent


def start(program: str, *options: object) -> subprocess.Popen[bytes]:
    """Start ``dask scheduler`` or ``dask worker``, which finds what the tests import."""
    paths = os.pathsep.join([str(SUPPORT), *(path for path in sys.path if path)])
    command = [sys.executable, "-m", f"distributed.cli.dask_{program}", "--no-dashboard", *map(str, options)]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": paths}, stderr=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def address() -> str:
    return f"tcp://127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def processes(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[subprocess.Popen[bytes]]]:
    """A scheduler and two workers; they may be killed."""
    scratch = tmp_path_factory.mktemp("scratch")
    port = address.rpartition(":")[2]
    started = [start("scheduler", "--host", "127.0.0.1", "--port", port)]
    alone = ("--nthreads", 1, "--no-nanny", "--memory-limit", 0, "--local-directory", scratch)
    started += [start("worker", address, *alone) for _ in range(2)]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scan") / "ore.zarr"
    cluster_run.write_scan(path)
    return path


@pytest.fixture(scope="module")
def want(scan: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run in this process writes."""
    out = tmp_path_factory.mktemp("local") / "out"
    shard = ps3d_rt.plan.WORK_SHARD
    assert cluster_run.run(scan, out, None)["particles"] > 3
    ps3d_rt.plan.WORK_SHARD = shard
    return content(out)


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of :mod:`cluster_run` makes shards small, for this process too."""
    monkeypatch.setattr(ps3d_rt.plan, "WORK_SHARD", ps3d_rt.plan.WORK_SHARD)


@pytest.fixture
def slow(scan: Path) -> Iterator[Path]:
    """Make the engine wait, so that a sweep is still at work when its worker dies."""
    file = scan.parent / SLOW
    file.touch()
    yield file
    file.unlink(missing_ok=True)


def test_a_worker_that_is_killed_costs_its_task_and_no_byte(
    scan: Path, slow: Path, want: dict[str, bytes], address: str, processes: list[Any], tmp_path: Path
) -> None:
    heard: list[Any] = []

    def kill_a_worker(event: Any) -> None:
        heard.append(event)
        if isinstance(event, StageAdvanced) and event.stage == "network" and processes[1].poll() is None:
            processes[1].kill()
            slow.unlink(missing_ok=True)

    wait_until(lambda: find_cluster_or_none(address) == 2, seconds=60)
    run = cluster_run.run(scan, tmp_path / "out", address, on_event=kill_a_worker)
    assert content(tmp_path / "out") == want
    assert run["parameters"]["workers"] == 2
    [lost] = [event.text for event in heard if isinstance(event, Warned) and "was lost" in event.text]
    assert lost in run["warnings"]
    network = [event for event in heard if isinstance(event, StageAdvanced) and event.stage == "network"]
    assert network[0].done < network[-1].done == run["patches"]["computed"] + run["patches"]["skipped"]


def find_cluster_or_none(address: str) -> int | None:
    try:
        return find_cluster(address, 1).workers
    except InputError:
        return None


def test_a_scheduler_that_is_killed_interrupts_the_run_which_goes_on_at_another(
    scan: Path, slow: Path, want: dict[str, bytes], address: str, processes: list[Any], tmp_path: Path
) -> None:
    out, heard = tmp_path / "out", []

    def kill_the_scheduler(event: Any) -> None:
        if isinstance(event, StageAdvanced) and event.stage == "network" and event.done > 100:
            processes[0].kill()

    with pytest.raises(InterruptedRun, match=r"scheduler at tcp://.* is lost; start the same command again") as lost:
        cluster_run.run(scan, out, address, on_event=kill_the_scheduler)
    assert lost.value.exit_code == 4
    assert not out.exists()
    assert Journal(work_of(out)).keys("network"), "slabs were done, and are not lost"
    slow.unlink()
    with scheduler_here(address):
        run = cluster_run.run(scan, out, address, workers=2, on_event=heard.append)
    assert run["resumed"]
    assert any(isinstance(event, RunResumed) for event in heard)
    assert content(out) == want


def scheduler_here(address: str, threads: int = 1, workers: int = 1) -> Any:
    """A scheduler and its workers as threads of this process."""
    port = int(address.rpartition(":")[2])
    return distributed.LocalCluster(
        processes=False, n_workers=workers, threads_per_worker=threads, protocol="tcp://", host="127.0.0.1",
        scheduler_port=port, dashboard_address=":0", memory_limit=0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterWorkers]:
    mark = tmp_path_factory.mktemp("run") / "identity.json"
    mark.touch()
    here = f"tcp://127.0.0.1:{free_port()}"
    with scheduler_here(here, threads=4), cluster_workers(Cluster(here, 1), mark, pytest.fail) as found:
        yield found


def test_results_come_in_the_order_of_the_items(workers: ClusterWorkers) -> None:
    assert list(workers.map(square, range(40))) == [item * item for item in range(40)]
    assert not workers._news


def test_an_error_comes_as_it_was_raised_and_says_where(workers: ClusterWorkers) -> None:
    with pytest.raises(CapabilityError, match="no such device") as raised:
        list(workers.map(fail_at_3, range(10)))
    assert "On the worker" in raised.value.__notes__[0]
    assert list(workers.map(square, [3])) == [9]
    with pytest.raises(Exception, match="AwkwardError: 1 and 2"):
        list(workers.map(fail_awkwardly, [1]))


def test_reports_arrive_before_the_result(workers: ClusterWorkers) -> None:
    heard: list[Any] = []
    for number in workers.map(advance, [3], heard.append):
        heard.append(("result", number))
    assert heard == [1, 1, 1, ("result", 3)]


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_worker_runs_no_more_tasks_at_a_time_than_its_memory_holds(workers: ClusterWorkers, at_once: int) -> None:
    worker_tasks.AT_WORK["most"] = 0
    list(workers.map(be_counted, range(8), at_once=at_once))
    assert 1 <= worker_tasks.AT_WORK["most"] <= at_once


def test_a_map_that_is_given_up_leaves_no_task_running(workers: ClusterWorkers, tmp_path: Path) -> None:
    found = workers.map(partial(work_until_stopped, tmp_path), [0, 1])
    next(found)
    wait_until((tmp_path / "began-1").exists)
    found.close()
    wait_until((tmp_path / "ended-1").exists)


def test_what_a_lost_worker_had_reported_is_not_counted_again() -> None:
    heard: list[Any] = []
    progress = _Progress(heard.append)
    progress.hear("sweep", "first", [4, 4])
    progress.hear("other", "one", [Resumed(3)])
    progress.hear("sweep", "second", [Resumed(6), 4, 4])
    assert heard == [4, 4, Resumed(3), 2, 4]


@pytest.mark.parametrize(
    ("task", "item", "name"),
    [
        (partial(segment, None), Sweep(Box((0, 64, 0), (9, 99, 9))), "segment-z0-y64-x0"),
        (
            partial(grow_chunk, None),
            ("002-grow/000001", BoxTask(Box((64, 0, 8), (65, 1, 9)), ())),
            "growth-grow-chunk-z64-y0-x8",
        ),
        (LimitedTask(partial(_coarsen, None, 1), None, 1), Box((0, 0, 0), (1, 1, 1)), "labels-coarsen-z0-y0-x0"),
        (square, 3, "worker_tasks-square"),
    ],
)
def test_tasks_are_named_after_stage_and_chunk(task: Any, item: Any, name: str) -> None:
    assert task_name(task, item) == name


def order(mark: Path, **versions: str) -> Order:
    return Order(pickle.dumps((square, 3)), Terms(mark, software() | versions, "topic"), None)


def test_a_worker_that_does_not_share_the_disk_or_the_software_is_named(
    workers: ClusterWorkers, tmp_path: Path
) -> None:
    client = workers._client
    with pytest.raises(InputError, match=r"does not see .*nowhere; .* under the same paths"):
        client.submit(do, order(tmp_path / "nowhere" / "identity.json"), key="unseen").result()
    mark = tmp_path / "identity.json"
    mark.touch()
    with pytest.raises(CapabilityError, match=r"has numpy [\d.]+, the machine of the run has 0\.1; .*same environment"):
        client.submit(do, order(mark, numpy="0.1"), key="older").result()
    assert client.submit(do, order(mark), key="same").result() == 9


def test_an_address_where_nobody_answers_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_SECONDS_TO_CONNECT", 0.1)
    with pytest.raises(InputError, match=r"no Dask scheduler answers at tcp://127.0.0.1:9; start one"):
        find_cluster("tcp://127.0.0.1:9", 1)
    with pytest.raises(InputError, match=r"no Dask scheduler answers at nonsense://x; start one"):
        find_cluster("nonsense://x", 1)


def test_a_cluster_of_this_machine_needs_no_scheduler() -> None:
    assert find_cluster("local:3", 1) == Cluster("local:3", 3)
    assert find_cluster("local:3", 8) == Cluster("local:3", 8)


def test_a_scheduler_without_workers_says_what_to_do() -> None:
    here = f"tcp://127.0.0.1:{free_port()}"
    with scheduler_here(here, workers=0):
        with pytest.raises(InputError, match=f"no worker; .*dask worker {here}"):
            find_cluster(here, 1)
        assert find_cluster(here, 8) == Cluster(here, 8)


def test_a_run_in_memory_takes_no_cluster() -> None:
    with pytest.raises(InputError, match=r"cluster is local:2, .*predict_to_folder"):
        ps3d_rt.predict(np.zeros((9, 9, 9)), spacing=1, cluster="local:2")

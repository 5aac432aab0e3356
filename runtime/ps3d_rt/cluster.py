"""Tasks on the workers of a Dask cluster, on this machine or on many: the map of :class:`ps3d_rt.workers.Workers`.

A task travels as bytes, as it does to a worker process, and its result stays with the worker until it is taken: memory
here holds one result more than a map of one process. Dask gives the task of a lost worker to another one. What the
journal holds by then is not done again, be it a task or a slab of a sweep, so the same values come to the same places.

A scheduler that is lost interrupts the run, which goes on with the same command.
"""

from __future__ import annotations

import logging
import pickle
import re
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from uuid import uuid4

from ps3d_rt.clock import Resumed
from ps3d_rt.cluster_worker import Order, Terms, do, software
from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError, InterruptedRun, not_installed
from ps3d_rt.events import ignore
from ps3d_rt.workers import OnProgress

logger = logging.getLogger(__name__)

_LOCAL = re.compile(r"local:([1-9]\d*)")
_SECONDS_TO_CONNECT = 10
_SECONDS_DEAF = 0.5
"""Longest wait in the main thread, for the sake of Ctrl-C."""
_SECONDS_KNOWN = 1.0
"""How long a count of the workers holds."""
_SECONDS_ALONE = 10.0
"""How long no worker may be there before somebody is told."""


@dataclass(frozen=True)
class Cluster:
    """Where the tasks of a run go."""

    address: str
    """Of a Dask scheduler, such as ``tcp://head:8786``, or ``local:N``: N worker processes for this run alone."""
    workers: int
    """That the network's sweeps are cut for. More may help later, and fewer do it all."""

    @property
    def processes_here(self) -> int:
        """Worker processes that the run starts on this machine."""
        return processes_here(self.address)


def processes_here(address: str | None) -> int:
    """Count the worker processes that an address asks this machine for.

    >>> processes_here("local:4"), processes_here("tcp://head:8786"), processes_here(None)
    (4, 0, 0)
    """
    local = _LOCAL.fullmatch(address or "")
    return int(local[1]) if local else 0


def find_cluster(address: str, workers: int) -> Cluster:
    """Make sure that a cluster is there.

    Args:
        address: as :attr:`Cluster.address`.
        workers: to cut the sweeps for; 1: as many as there are.

    Raises:
        InputError: if nobody answers at the address, or there is no worker and ``workers`` is 1.
        CapabilityError: if ``distributed`` is not installed.
    """
    here = processes_here(address)
    if here:
        _distributed()
        return Cluster(address, max(workers, here))
    with _connected(address) as client:
        found = workers if workers > 1 else len(client.nthreads())
    if not found:
        raise InputError(
            f"the Dask scheduler at {address} has no worker; start some (dask worker {address}), or pass --workers N "
            "if N of them come later."
        )
    return Cluster(address, found)


def _distributed() -> Any:
    try:
        import distributed  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise not_installed("distributed (Dask) does not load", "ps3d-rt[cluster]") from error
    return distributed


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    distributed = _distributed()
    for name in ("distributed", "distributed.client"):  # what is amiss is told by us, once
        logging.getLogger(name).setLevel(logging.CRITICAL)
    processes = processes_here(address)
    if processes:
        with (
            distributed.LocalCluster(
                n_workers=processes,
                threads_per_worker=1,
                memory_limit=0,
                dashboard_address=":0",
                silence_logs=logging.CRITICAL,
            ) as cluster,
            distributed.Client(cluster, set_as_default=False) as client,
        ):
            yield client
        return
    try:
        client = distributed.Client(address, timeout=_SECONDS_TO_CONNECT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"no Dask scheduler answers at {address}; start one (dask scheduler), or give its address, such as "
            f"tcp://head:8786, or local:N – {error}"
        ) from error
    with client:
        yield client


@contextmanager
def cluster_workers(cluster: Cluster, mark: Path, warn: Callable[[str], object]) -> Iterator[ClusterWorkers]:
    """Work on a cluster, for the length of a ``with`` block.

    Args:
        cluster: which.
        mark: a file of the run's folder, which all workers must see.
        warn: told what a person must know, in the thread that takes results.

    Raises:
        InputError: if nobody answers there any more.
    """
    with _connected(cluster.address) as client:
        logger.info("dashboard of the cluster: %s", client.dashboard_link)
        yield ClusterWorkers(client, cluster.address, Terms(mark, software(), f"ps3d-rt-{uuid4().hex}"), warn)


class ClusterWorkers:
    """Maps tasks over the workers of a cluster."""

    def __init__(self, client: Any, address: str, terms: Terms, warn: Callable[[str], object]) -> None:
        """Hear of the cluster through an open client."""
        self._client, self._address, self._terms, self._warn = client, address, terms, warn
        self._numbers = count()
        self._news: dict[str, SimpleQueue[tuple[Any, ...]]] = {}
        """Of the map that a task belongs to, by the task's key."""
        self._lost: SimpleQueue[str] = SimpleQueue()
        self._threads: dict[str, int] = {}
        self._counted_at = self._seen_at = time.monotonic()
        client.subscribe_topic(terms.topic, self._hear)
        client.subscribe_topic("all", self._notice)

    def map(
        self,
        task: Callable[[Any], Any],
        items: Iterable[Any],
        on_progress: OnProgress | None = None,
        *,
        at_once: int | None = None,
    ) -> Iterator[Any]:
        """Map as :meth:`ps3d_rt.workers.Workers.map` does.

        Args:
            task: what to do, as for worker processes.
            items: taken from as the work goes on.
            on_progress: called with what tasks report, which are units that are done, in the thread that takes results.
            at_once: tasks that may run at a time in each worker's process.

        Raises:
            InterruptedRun: if the scheduler is lost, or a task has outlasted too many workers.
            Exception: what a task raised, as soon as it did.
        """
        left = iter(items)
        pending: deque[Any] = deque()
        news: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
        progress = _Progress(on_progress or ignore)
        try:
            while True:
                for item in islice(left, self._room(pending, at_once)):
                    pending.append(self._submit(task, item, at_once, news))
                if not pending:
                    return
                while not (pending[0].done() or any(map(_failed, pending))):
                    self._pass_on(news, progress)
                while not news.empty():
                    self._pass_on(news, progress)
                for future in filter(_failed, pending):
                    self._take(future)
                if pending[0].done():
                    # The result gets no name here: it must not stay in memory while the next one is awaited.
                    yield self._take(pending.popleft())
        finally:
            self._give_up(pending)

    def _room(self, pending: deque[Any], at_once: int | None) -> int:
        """Count the tasks that may be sent: all threads work, and as many results may wait with the workers."""
        now = time.monotonic()
        if not self._threads or now - self._counted_at > _SECONDS_KNOWN:
            with self._scheduler():
                self._threads, self._counted_at = self._client.nthreads(), now
            self._seen_at = now if self._threads else self._seen_at
        most = max(1, sum(threads if at_once is None else min(at_once, threads) for threads in self._threads.values()))
        # A short task more waits at each worker, so that none is idle; a long one would wait there while others are.
        ahead = 0 if at_once == 1 else len(self._threads)
        running = sum(not future.done() for future in pending)
        return max(0, min(most + ahead - running, 2 * most + ahead - len(pending)))

    def _submit(
        self, task: Callable[[Any], Any], item: Any, at_once: int | None, news: SimpleQueue[tuple[Any, ...]]
    ) -> Any:
        work = pickle.dumps((task, item), protocol=5)
        key = f"{task_name(task, item)}-{next(self._numbers)}-{self._terms.topic[-8:]}"
        self._news[key] = news
        with self._scheduler():
            future = self._client.submit(do, Order(work, self._terms, at_once), key=key)
        future.add_done_callback(lambda _: news.put(()))
        return future

    def _take(self, future: Any) -> Any:
        """Bring a result here, or raise what its task raised."""
        try:
            found = future.result()
        except _distributed().KilledWorker as error:
            raise InterruptedRun(
                f"several workers of {self._address} ended while they worked on {future.key}; look at their logs, and "
                "at their memory, then start the same command again."
            ) from error
        except Exception as error:
            if future.status == "error":
                raise
            raise self._scheduler_lost() from error
        finally:
            self._news.pop(future.key, None)
        return found

    def _pass_on(self, news: SimpleQueue[tuple[Any, ...]], progress: _Progress) -> None:
        """Wait for one piece of news, or a moment."""
        with suppress(Empty):
            while True:
                self._warn(f"the worker {self._lost.get_nowait()} was lost; what it was at is given to others.")
        with suppress(Empty):
            if report := news.get(timeout=_SECONDS_DEAF):
                progress.hear(*report)
            return
        if self._client.status != "running":
            raise self._scheduler_lost()
        if time.monotonic() - self._seen_at > _SECONDS_ALONE:
            self._look_for_workers()

    def _look_for_workers(self) -> None:
        with self._scheduler():
            self._threads = self._client.nthreads()
        now = time.monotonic()
        if self._threads:
            self._seen_at = now
        else:
            self._warn(f"no worker is connected to {self._address}; the run waits for one.")
            self._seen_at = now + 60 * _SECONDS_ALONE  # told again in ten minutes

    def _hear(self, event: tuple[float, tuple[str, str, bytes]]) -> None:
        key, attempt, values = event[1]
        if key in self._news:
            self._news[key].put((key, attempt, pickle.loads(values)))

    def _notice(self, event: tuple[float, Any]) -> None:
        told = event[1]
        if isinstance(told, dict) and told.get("action") == "remove-worker" and not told.get("expected"):
            self._lost.put(str(told.get("worker")))

    def _give_up(self, pending: Iterable[Any]) -> None:
        """Have the tasks that run end where they next call ``check_stop``."""
        left = [future for future in pending if not future.done()]
        if left and self._client.status == "running":
            with suppress(OSError, TimeoutError):
                self._client.cancel(left)

    @contextmanager
    def _scheduler(self) -> Iterator[None]:
        """Ask the scheduler something."""
        try:
            yield
        except (OSError, TimeoutError, RuntimeError) as error:
            raise self._scheduler_lost() from error

    def _scheduler_lost(self) -> InterruptedRun:
        return InterruptedRun(
            f"the Dask scheduler at {self._address} is lost; start the same command again when one answers there."
        )


@dataclass(frozen=True)
class OneAtATime:
    """One task at a time on every worker: it takes all cores, or the GPU."""

    workers: ClusterWorkers

    def map(
        self,
        task: Callable[[Any], Any],
        items: Iterable[Any],
        on_progress: OnProgress | None = None,
        *,
        at_once: int | None = None,
    ) -> Iterator[Any]:
        """Map as :meth:`ClusterWorkers.map` does."""
        return self.workers.map(task, items, on_progress, at_once=1)


@dataclass
class _Progress:
    """Passes on what tasks report; what a lost worker had reported of a task is not counted again."""

    listen: OnProgress
    attempts: dict[str, str] = field(default_factory=dict)
    passed: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    known: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Units of the present attempt that those before it had reported."""

    def hear(self, key: str, attempt: str, values: list[int | Resumed]) -> None:
        if self.attempts.setdefault(key, attempt) != attempt:
            self.attempts[key], self.known[key] = attempt, self.passed[key]
        for value in values:
            units = value.units if isinstance(value, Resumed) else value
            again = min(units, self.known[key])
            self.known[key] -= again
            self.passed[key] += units - again
            if units > again:
                self.listen(value if not again else units - again)


def task_name(task: Callable[[Any], Any], item: Any) -> str:
    """Name a task on the dashboard: the stage, what is done, and the first voxel of the chunk.

    >>> from functools import partial
    >>> from ps3d_rt.stages.particles import survey
    >>> task_name(partial(survey, None, (9, 9, 9), 1), Box((0, 64, 0), (64, 128, 64)))
    'particles-survey-z0-y64-x0'
    """
    while (inner := getattr(task, "func", None) or getattr(task, "task", None)) is not None:
        task = inner
    stage, function = getattr(task, "__module__", "").rpartition(".")[2], getattr(task, "__name__", "task")
    words = dict.fromkeys([stage, *function.strip("_").split("_")])
    return "-".join([*filter(None, words), *_place(item)])


def _place(item: Any) -> list[str]:
    """Find the box that a task owns; a journal hands out pairs of key and item."""
    item = item[-1] if isinstance(item, tuple) and item else item
    for name in ("write", "chunk", "box"):
        item = getattr(item, name, item)
    return [f"{axis}{n}" for axis, n in zip("zyx", item.start, strict=True)] if isinstance(item, Box) else []


def _failed(future: Any) -> bool:
    return future.status in {"error", "cancelled", "lost"}

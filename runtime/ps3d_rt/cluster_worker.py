"""What a worker of a Dask cluster does with a task of ours."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Condition, Lock
from typing import Any
from uuid import uuid4

from ps3d_rt.errors import CapabilityError, InputError
from ps3d_rt.versions import versions
from ps3d_rt.workers import portable, run_here

_SECONDS_BETWEEN_REPORTS = 0.5
"""A scheduler hears thousands of messages a second, of all workers together."""


@dataclass(frozen=True)
class Terms:
    """What all tasks of a run ask of a worker."""

    mark: Path
    """A file of the run's folder; a worker that does not see it does not share the disk."""
    software: dict[str, str]
    """Packages that can change a result → their versions."""
    topic: str
    """Of the events that carry progress."""


@dataclass(frozen=True)
class Order:
    """One task."""

    work: bytes
    """The task and its item, pickled."""
    terms: Terms
    at_once: int | None
    """Tasks that may run in the worker's process at a time; None: as many as it has threads."""


def do(order: Order) -> Any:
    """Do a task: what a worker is sent.

    Raises:
        InputError: if the worker does not see the run's folder.
        CapabilityError: if it has other versions of the software.
        Exception: what the task raised, with the worker's name in a note.
    """
    from distributed import get_worker  # noqa: PLC0415 - an extra; where this runs, it is there

    worker = get_worker()
    given_up = _GivenUp(worker, str(worker.get_current_task()))
    try:
        _check(order.terms, worker.name)
        with _TURNS.taken(order.at_once), _Reports.sent(worker, given_up.key, order.terms.topic) as reports:
            task, item = _loaded(order.work)
            return run_here(task, item, reports.add, given_up)
    except Exception as error:  # noqa: BLE001 - it is raised where the result is awaited
        raise portable(error, f"On the worker {worker.name}") from None


def software() -> dict[str, str]:
    """Give the versions that all workers of a run must share: those of packages, not that of the system."""
    return {name: version for name, version in versions().items() if name != "system"}


@lru_cache(maxsize=1)
def _software_here() -> dict[str, str]:
    return software()


def _check(terms: Terms, name: object) -> None:
    if not terms.mark.is_file():
        raise InputError(
            f"the worker {name} does not see {terms.mark.parent}; scan, model and output of a run on a cluster must "
            "lie on disks that all its workers reach under the same paths."
        )
    here = _software_here()
    for package in sorted(terms.software.keys() | here.keys()):
        ours, theirs = (found.get(package, "none") for found in (terms.software, here))
        if ours != theirs:
            raise CapabilityError(
                f"the worker {name} has {package} {theirs}, the machine of the run has {ours}; labels may depend on "
                "it: start the workers from the same environment."
            )


_LOADING = Lock()


def _loaded(work: bytes) -> Any:
    """Unpickle a task and its item; one at a time, so that an engine or a scan is opened once a process."""
    with _LOADING:
        return pickle.loads(work)


class _Turns:
    """Lets no more tasks run in this process than each of them allows."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._running = 0

    @contextmanager
    def taken(self, at_once: int | None) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: at_once is None or self._running < at_once)
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()


_TURNS = _Turns()


@dataclass(frozen=True)
class _GivenUp:
    """Whether the run has ended, or lost this worker: then the task ends where it next calls ``check_stop``."""

    worker: Any
    key: str

    def is_set(self) -> bool:
        known = self.worker.state.tasks.get(self.key)
        return known is None or known.state == "cancelled" or self.worker.status.name in {"closing", "closed", "failed"}


@dataclass
class _Reports:
    """Sends what a task reports, a few times a second."""

    worker: Any
    key: str
    topic: str
    attempt: str = field(default_factory=lambda: uuid4().hex)
    """Tells a task that is done again, after a worker was lost, from the one before it."""
    waiting: list[Any] = field(default_factory=list)
    sent_at: float = field(default_factory=time.monotonic)

    @classmethod
    @contextmanager
    def sent(cls, worker: Any, key: str, topic: str) -> Iterator[_Reports]:
        """Send what is left before the result goes."""
        reports = cls(worker, key, topic)
        yield reports
        reports.send()

    def add(self, value: object) -> None:
        self.waiting.append(value)
        if time.monotonic() - self.sent_at > _SECONDS_BETWEEN_REPORTS:
            self.send()

    def send(self) -> None:
        if self.waiting:
            self.worker.log_event(self.topic, (self.key, self.attempt, pickle.dumps(self.waiting, protocol=5)))
        self.waiting, self.sent_at = [], time.monotonic()

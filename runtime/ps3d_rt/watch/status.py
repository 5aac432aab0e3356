"""What runs now, kept in the queue's file: the page and monitoring read it there, from any process."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ps3d_rt.events import Event, Listener, RunStarted, StageAdvanced, StageStarted
from ps3d_rt.watch.queue import Entry, Queue

EVERY_SECONDS = 1.0


@dataclass
class StatusWriter:
    """A listener that keeps how far the run is, once a second at most."""

    queue: Queue
    entry: Entry
    then: Listener
    """Hears every event as well."""
    clock: Callable[[], float] = time.monotonic
    _facts: dict[str, Any] = field(default_factory=dict)
    _begun: float = 0.0
    _voxels_per_unit: float = 0.0
    _written: float = float("-inf")

    def __call__(self, event: Event) -> None:
        """Hear an event."""
        now = self.clock()
        if isinstance(event, RunStarted):
            self._facts |= {"shape": list(event.shape), "engine": event.engine}
        elif isinstance(event, StageStarted):
            self._facts |= {"stage": event.stage, "done": 0, "total": event.total, "unit": event.unit}
            self._facts |= {"seconds_left": None, "voxels_per_second": None}
            self._voxels_per_unit = event.voxels_per_unit
            self._begun = now
        elif isinstance(event, StageAdvanced):
            fresh = event.done - event.resumed
            each = (now - self._begun) / fresh if fresh > 0 else 0.0
            self._facts |= {
                "done": event.done,
                "seconds_left": each * (self._facts.get("total", 0) - event.done) if fresh > 0 else None,
                "voxels_per_second": self._voxels_per_unit / each if each > 0 else None,
            }
        if now - self._written >= EVERY_SECONDS:
            self._written = now
            write_now(self.queue, {"scan": self.entry.id, "name": self.entry.name, **self._facts})
        self.then(event)


def write_now(queue: Queue, facts: Mapping[str, Any]) -> None:
    """Keep what happens now; no facts: nothing runs."""
    queue.set("now", json.dumps({**facts, "at": time.time()}))


def read_json(queue: Queue, key: str) -> dict[str, Any]:
    """Read a setting that is an object; empty if it was never set."""
    found = json.loads(queue.setting(key) or "{}")
    return found if isinstance(found, dict) else {}


def add_totals(queue: Queue, run: Mapping[str, Any]) -> None:
    """Count a run that is done: voxels, and seconds a stage."""
    totals = read_json(queue, "totals")
    z, y, x = run["scan"]["shape"]
    totals["voxels"] = totals.get("voxels", 0) + z * y * x
    seconds = totals.setdefault("seconds", {})
    for stage, taken in (run.get("seconds") or {}).items():
        seconds[stage] = round(seconds.get(stage, 0) + taken, 3)
    queue.set("totals", json.dumps(totals))


def count_failure(queue: Queue, kind: str) -> None:
    """Count a failure: ``crash``, or a kind of :class:`ps3d_rt.batch.run.Failure`."""
    failures = read_json(queue, "failures")
    queue.set("failures", json.dumps(failures | {kind: failures.get(kind, 0) + 1}))

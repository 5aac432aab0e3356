"""What the page shows, as JSON, read from the queue of a hot folder."""

from __future__ import annotations

import json
import time
from typing import Any

from ps3d_rt.watch.queue import Entry, Queue
from ps3d_rt.watch.states import State
from ps3d_rt.watch.status import read_json

MOST = 500
"""Scans of a state that are listed; the counts are of all."""


def state_of(queue: Queue) -> dict[str, Any]:
    """Give all that the page shows."""
    now = read_json(queue, "now")
    return {
        "now": now,
        "age_seconds": max(0.0, time.time() - now["at"]) if "at" in now else None,  # the clock may be set back
        "paused": queue.setting("paused") == "1",
        "counts": {state.value: count for state, count in queue.counts().items()},
        "waiting": [{"path": path, "why": why} for path, why in list(_waiting(queue).items())[:MOST]],
        **{state.value: [_row(entry) for entry in queue.entries(state, MOST)] for state in _LISTED},
    }


_LISTED = (State.RUNNING, State.QUEUED, State.FAILED, State.DONE, State.REMOVED)


def _waiting(queue: Queue) -> dict[str, str]:
    found = json.loads(queue.setting("waiting") or "{}")
    return found if isinstance(found, dict) else {}


def _row(entry: Entry) -> dict[str, Any]:
    progress = entry.progress
    return {
        "id": entry.id,
        "name": entry.name,
        "path": entry.path,
        "bytes": entry.bytes,
        "priority": entry.priority,
        "failures": progress.failures,
        "reason": progress.reason,
        "not_before": progress.not_before or None,
        "changed": entry.changed,
        **entry.facts,
    }

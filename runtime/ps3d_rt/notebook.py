"""Progress in a notebook: one bar, redrawn in place; without widgets, so that a saved notebook still shows its end."""

from __future__ import annotations

import sys
import time
from html import escape
from importlib import import_module
from typing import Any

from ps3d_rt.events import (
    Event,
    Listener,
    RunDone,
    SizeMismatch,
    StageAdvanced,
    StageDone,
    StageStarted,
    Warned,
    ignore,
)

_EVERY_SECONDS = 0.2


def notebook_progress() -> Listener:
    """Give a listener that draws a bar where Jupyter runs; one that ignores all elsewhere."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None or shell.__class__.__name__ != "ZMQInteractiveShell":
        return ignore
    return _Bar()


class _Bar:
    """A bar of the stage that runs, and below it what a person must know."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._stage: StageStarted | None = None
        self._advanced = StageAdvanced("", 0)
        self._since = self._drawn = 0.0
        self._notes: list[str] = []
        self._done = ""

    def __call__(self, event: Event) -> None:
        now = time.perf_counter()
        if isinstance(event, StageStarted):
            self._stage, self._since, self._advanced = event, now, StageAdvanced(event.stage, 0)
        elif isinstance(event, StageAdvanced):
            self._advanced = event
            if now - self._drawn < _EVERY_SECONDS:
                return
        elif isinstance(event, StageDone):
            return  # the next one follows at once
        elif isinstance(event, Warned):
            self._notes.append(event.text)
        elif isinstance(event, SizeMismatch):
            self._notes.append(f"particles are {event.found_mm:.3g} mm wide, not {event.given_mm:.3g} mm")
        elif isinstance(event, RunDone):
            self._stage, self._done = None, f"{event.particles} particles in {event.seconds:.1f} s"
        self._drawn = now
        self._draw(now - self._since)

    def _draw(self, seconds: float) -> None:
        shown = import_module("IPython.display")  # it is there where this runs
        page = shown.HTML(self._html(seconds))
        if self._handle is None:
            self._handle = shown.display(page, display_id=True)
        else:
            self._handle.update(page)

    def _html(self, seconds: float) -> str:
        notes = "".join(f"<br>⚠ {escape(note)}" for note in self._notes)
        if self._stage is None:
            return f"<div>{escape(self._done)}{notes}</div>"
        total, done, fresh = self._stage.total, self._advanced.done, self._advanced.done - self._advanced.resumed
        left = f", {seconds * (total - done) / fresh:.0f} s left" if fresh and done < total else ""
        share = f"{done / total:.0%}" if total > 1 else ""
        bar = f'<progress value="{done}" max="{total}"></progress>' if total > 1 else "<progress></progress>"
        return f"<div>{escape(self._stage.stage)} {bar} {share}{left}{notes}</div>"

"""Listeners: a bar on a terminal, plain lines in a log, JSON lines for machines. All on stderr."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ps3d_rt.cli.group import LogHandler, is_quiet
from ps3d_rt.cli.stopping import STOPPING, announced_by
from ps3d_rt.events import (
    Event,
    Listener,
    RunDone,
    RunResumed,
    RunStarted,
    SizeEstimated,
    SizeMismatch,
    SizeTried,
    StageAdvanced,
    StageDone,
    StageStarted,
    Warned,
)

_LOG_EVERY_SECONDS = 10.0


@contextmanager
def listening(*, as_json: bool = False) -> Iterator[Listener]:
    """Give the listener that fits where stderr goes and how much is wanted there."""
    if as_json:
        with _logs_as_json(), announced_by(lambda: _write_json({"event": "Stopping"})):
            yield _heard_when_quiet(_json_line)
    elif is_quiet():
        yield _heard_when_quiet(_Log())
    elif sys.stderr.isatty():
        columns = ("[progress.description]{task.description}", BarColumn(), TextColumn("{task.fields[rate]}"))
        with (
            Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress,
            announced_by(lambda: _announce_below(progress)),
        ):
            yield _Bar(progress)
    else:
        yield _Log()


def _heard_when_quiet(listener: Listener) -> Listener:
    """Pass on warnings only, if no more is wanted."""
    if not is_quiet():
        return listener
    return lambda event: listener(event) if isinstance(event, Warned | SizeMismatch) else None


@contextmanager
def _logs_as_json() -> Iterator[None]:
    ours = [handler for handler in logging.getLogger().handlers if isinstance(handler, LogHandler)]
    for handler in ours:
        handler.as_json = True
    try:
        yield
    finally:
        for handler in ours:
            handler.as_json = False


def _announce_below(progress: Progress) -> None:
    """Leave the bars as they are: they would be drawn over the line."""
    progress.stop()
    progress.console.print(STOPPING, highlight=False)


def warn(*sentences: str) -> None:
    """Say on stderr what a person must know, outside a run."""
    for sentence in sentences:
        sys.stderr.write(f"warning: {sentence}\n")


def _json_line(event: Event) -> None:
    _write_json({"event": type(event).__name__, **asdict(event)})


def _write_json(facts: dict[str, Any]) -> None:
    sys.stderr.write(json.dumps(facts) + "\n")
    sys.stderr.flush()


def _sentence(event: Event) -> str | None:  # noqa: PLR0911 - a line for each kind of event
    """Put an event into words for a log; None for those that need no line."""
    match event:
        case RunStarted(name, shape, normalized, patches, engine, workers):
            size = " × ".join(map(str, shape))
            many = f", {workers} processes" if workers > 1 else ""
            return f"{name}: {size} voxels → {' × '.join(map(str, normalized))}, {patches} patches, {engine}{many}"
        case RunResumed(folder):
            return f"going on where an earlier run stopped ({folder})"
        case Warned(text):
            return f"warning: {text}"
        case SizeTried() | SizeEstimated() | SizeMismatch():
            return _about_size(event)
        case StageDone(stage, seconds):
            return f"{stage}: {seconds:.1f} s"
        case RunDone(particles, seconds, dropped, share):
            less = f"; {dropped} dropped, {share:.2%} of the foreground" if dropped else "; none dropped"
            return f"{particles} particles in {seconds:.1f} s{less}"
    return None


def _about_size(event: SizeTried | SizeEstimated | SizeMismatch) -> str:
    match event:
        case SizeTried(assumed, found, particles):
            what = "nothing whole" if found is None else f"{particles} particles, {found:.3g} mm on average"
            return f"particle size: {assumed:.3g} mm assumed, {what} found"
        case SizeEstimated(size, resumed=True):
            return f"particle size: {size:.3g} mm, estimated before the run was stopped"
        case SizeEstimated(size, patches, seconds):
            return f"particle size: {size:.3g} mm ({patches} patches, {seconds:.1f} s)"
        case SizeMismatch(given, found):
            return (
                f"warning: the run was told that particles are {given:.3g} mm wide, those found are {found:.3g} mm on "
                f"average; run again with --particle-size {found:.3g}"
            )


def _rate(start: StageStarted, done: int, seconds: float) -> str:
    return f"{done * start.voxels_per_unit / max(seconds, 1e-9) / 1e6:.1f} Mvoxel/s"


class _Bar:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._stage: StageStarted | None = None
        self._task = TaskID(0)
        self._since = 0.0

    def __call__(self, event: Event) -> None:
        if isinstance(event, StageStarted):
            self._stage, self._since = event, time.perf_counter()
            self._task = self._progress.add_task(event.stage, total=event.total, rate="")
        elif isinstance(event, StageAdvanced) and self._stage is not None:
            rate = _rate(self._stage, event.done, time.perf_counter() - self._since)
            self._progress.update(self._task, completed=event.done, rate=rate)
        elif isinstance(event, StageDone) and self._stage is not None:
            rate = _rate(self._stage, self._stage.total, event.seconds)
            self._progress.update(self._task, completed=self._stage.total, rate=rate)
        elif (line := _sentence(event)) is not None:
            self._progress.console.print(line, highlight=False)


class _Log:
    def __init__(self) -> None:
        self._stage: StageStarted | None = None
        self._since = self._said = 0.0

    def __call__(self, event: Event) -> None:
        line = _sentence(event)
        now = time.perf_counter()
        if isinstance(event, StageStarted):
            self._stage, self._since, self._said = event, now, now
        elif isinstance(event, StageAdvanced) and self._stage is not None and now - self._said > _LOG_EVERY_SECONDS:
            self._said = now
            line = f"{event.stage}: {event.done}/{self._stage.total} {self._stage.unit}, "
            line += _rate(self._stage, event.done, now - self._since)
        if line is not None:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

"""Listeners: a bar on a terminal, plain lines in a log, JSON lines for machines. All on stderr, and in the log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
)
from rich.text import Text

from ps3d_rt.cli.logs import LINES, is_quiet
from ps3d_rt.cli.stopping import announced_by, say_stopping
from ps3d_rt.events import (
    Event,
    Listener,
    RunDone,
    RunResumed,
    RunStarted,
    SampleFailed,
    SamplesKept,
    SampleStarted,
    SizeEstimated,
    SizeMismatch,
    SizeTried,
    StageAdvanced,
    StageDone,
    StageStarted,
    Warned,
)

_LOG_EVERY_SECONDS = 10.0
_LEAST_SECONDS = 0.1
"""A stage that took less needs no line on a terminal."""


@contextmanager
def listening() -> Iterator[Listener]:
    """Return the listener that fits stderr, a terminal or not, and the verbosity."""
    if sys.stderr.isatty() and not is_quiet() and not LINES.as_json:
        with _progress() as progress, announced_by(lambda: _announce_below(progress)):
            yield _Bar(progress)
    else:
        yield _Lines()


def _progress() -> Progress:
    return Progress(
        SpinnerColumn(),
        "{task.description}",
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        _Times(),
        console=Console(stderr=True),
        transient=True,
        expand=True,
    )


class _Times(ProgressColumn):
    """How long a stage has taken, and will take; rich draws it some times a second, whatever the stage does."""

    def render(self, task: Task) -> Text:
        """Write both as hours, minutes and seconds."""
        taken, left = task.elapsed, task.time_remaining
        return Text(_clock_time(taken or 0) + (f", {_clock_time(left)} left" if left else ""))


def _clock_time(seconds: float) -> str:
    """Write a time span as on a clock.

    >>> _clock_time(75.9), _clock_time(7500)
    ('1:15', '2:05:00')
    """
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _announce_below(progress: Progress) -> None:
    """Stop the bars first: they would be drawn over the line."""
    progress.stop()
    say_stopping()


def warn(*sentences: str) -> None:
    """Print a warning outside a run."""
    for sentence in sentences:
        LINES.say(f"warning: {sentence}", {"event": "Warned", "text": sentence})


def _sentence(event: Event) -> str | None:  # noqa: PLR0911 - a line for each kind of event
    """Put an event into words for a log; None for those that need no line."""
    match event:
        case RunStarted(name, shape, normalized, patches, engine, workers):
            size = " × ".join(map(str, shape))
            many = f", {workers} processes" if workers > 1 else ""
            return f"{name}: {size} voxels → {' × '.join(map(str, normalized))}, {patches} patches, {engine}{many}"
        case RunResumed(folder):
            return f"going on where an earlier run stopped ({folder})"
        case Warned(text, _):
            return f"warning: {text}"
        case SampleStarted() | SampleFailed() | SamplesKept():
            return _about_samples(event)
        case SizeTried() | SizeEstimated() | SizeMismatch():
            return _about_size(event)
        case StageDone(stage, seconds):
            return f"{stage}: {seconds:.1f} s"
        case RunDone(particles, seconds, dropped, share):
            less = f"; {dropped} dropped, {share:.2%} of the foreground" if dropped else "; none dropped"
            return f"{particles} particles in {seconds:.1f} s{less}"
    return None


def _about_samples(event: SampleStarted | SampleFailed | SamplesKept) -> str:
    match event:
        case SampleStarted(name, number, of):
            return f"sample {number} of {of}: {name}"
        case SampleFailed(name, error):
            return f"warning: {name} failed: {error}"
        case SamplesKept(samples):
            return f"{samples} done before, with the same scans and options"


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
    """Write how fast a stage is; nothing if it does not go through the scan, or nothing is done yet."""
    rate = done * start.voxels_per_unit / max(seconds, 1e-9) / 1e6
    return f"{rate:.{1 if rate >= 1 else 3}f} Mvoxel/s" if rate else ""


def _say(event: Event, line: str | None, progress: Progress | None = None) -> None:
    """Put an event where lines go: above the bars of a terminal, if there are any."""
    facts = {"event": type(event).__name__, **asdict(event)}
    seen = isinstance(event, Warned | SizeMismatch | SampleFailed) or not is_quiet()
    if progress is None:
        LINES.say(line, facts, seen=seen)
    else:
        LINES.say(line, facts, seen=seen, screen=lambda text: progress.console.print(Text(text), soft_wrap=True))


class _Bar:
    """The bar of a stage; lines of what is done stay above it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._stages: dict[str, tuple[StageStarted, TaskID, float]] = {}
        self._resumed: dict[str, int] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, StageStarted):
            # Without a count the bar moves to and fro.
            task = self._progress.add_task(event.stage, total=event.total if event.total > 1 else None, rate="")
            self._stages[event.stage] = event, task, time.perf_counter()
        elif isinstance(event, StageAdvanced):
            self._advance(event)
        elif isinstance(event, StageDone):
            start, task, _ = self._stages.pop(event.stage)
            self._progress.remove_task(task)
            rate = _rate(start, start.total - self._resumed.pop(event.stage, 0), event.seconds)
            self._say(event, ", ".join(filter(None, (_sentence(event), rate))), shown=event.seconds >= _LEAST_SECONDS)
        else:
            self._say(event, _sentence(event))

    def _advance(self, event: StageAdvanced) -> None:
        start, task, since = self._stages[event.stage]
        if event.resumed != self._resumed.get(event.stage, 0):
            self._resumed[event.stage] = event.resumed
            self._progress.reset(task, completed=event.done)  # what took no time says nothing of the time left
        rate = _rate(start, event.done - event.resumed, time.perf_counter() - since)
        self._progress.update(task, completed=event.done, rate=rate)

    def _say(self, event: Event, line: str | None, *, shown: bool = True) -> None:
        _say(event, line if shown else None, self._progress)


class _Lines:
    """A line for every event that needs one, and from time to time how far a stage is."""

    def __init__(self) -> None:
        self._stage: StageStarted | None = None
        self._since = self._said = 0.0

    def __call__(self, event: Event) -> None:
        line, now = _sentence(event), time.perf_counter()
        if isinstance(event, StageStarted):
            self._stage, self._since, self._said = event, now, now
        elif isinstance(event, StageAdvanced) and self._stage is not None and now - self._said > _LOG_EVERY_SECONDS:
            self._said = now
            if event.done < self._stage.total:  # else it is done, which is the next line
                line = _how_far(self._stage, event, now - self._since)
        _say(event, line)


def _how_far(start: StageStarted, event: StageAdvanced, seconds: float) -> str:
    """Say how much of a stage is done, how fast, and when it will be.

    >>> _how_far(StageStarted("network", 200, "patches", 1e6), StageAdvanced("network", 150, resumed=100), 25.0)
    'network: 150 of 200 patches, 75 %, 2.0 Mvoxel/s, 0:25 left'
    """
    fresh = event.done - event.resumed
    left = f"{_clock_time(seconds * (start.total - event.done) / fresh)} left" if fresh else ""
    how_many = f"{event.done} of {start.total} {start.unit}"
    share = f"{event.done / start.total:.0%}".replace("%", " %")
    return f"{event.stage}: " + ", ".join(filter(None, (how_many, share, _rate(start, fresh, seconds), left)))

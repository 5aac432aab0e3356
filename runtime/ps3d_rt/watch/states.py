"""What may become of a scan: pure functions from a state and what happened to the next state."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class State(StrEnum):
    """Where a scan is on its way."""

    QUEUED = "queued"
    """Complete, and waits for its turn; perhaps not before a certain time."""
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    """Given up, with the reason in quarantine."""
    REMOVED = "removed"
    """Taken out by a person, or its scan is gone."""


@dataclass(frozen=True, kw_only=True)
class Retries:
    """How often a scan is tried, and how long to wait in between."""

    tries: int = 3
    """Failures after which a scan is given up, ≥ 1."""
    crashes: int = 5
    """Times that the process may end in the midst of a scan before the scan is blamed, ≥ 1."""
    backoff_seconds: float = 60.0
    """Before the second try; each later one waits twice as long, at most :attr:`longest_seconds`."""
    longest_seconds: float = 3600.0

    def wait(self, failures: int) -> float:
        """Give the seconds to wait after so many failures.

        >>> [Retries(backoff_seconds=10, longest_seconds=30).wait(n) for n in (1, 2, 3)]
        [10.0, 20.0, 30]
        """
        return min(self.longest_seconds, self.backoff_seconds * 2.0 ** min(failures - 1, 30))


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The part of a scan's record that its state machine decides."""

    state: State = State.QUEUED
    failures: int = 0
    crashes: int = 0
    not_before: float = 0.0
    """Seconds since 1970; a time in the far future, after the clock was set back, counts as now."""
    reason: str | None = None
    """Why it failed last."""


class NotAllowedError(ValueError):
    """A step that its state does not allow."""


def started(was: Progress) -> Progress:
    """Begin a run."""
    _check(was, State.QUEUED, "start")
    return replace(was, state=State.RUNNING)


def done(was: Progress) -> Progress:
    """End a run well."""
    _check(was, State.RUNNING, "end")
    return replace(was, state=State.DONE, reason=None)


def failed(was: Progress, reason: str, retries: Retries, now: float) -> Progress:
    """End a run badly: again later, or given up."""
    _check(was, State.RUNNING, "fail")
    failures = was.failures + 1
    if failures >= retries.tries:
        return replace(was, state=State.FAILED, failures=failures, reason=reason)
    later = now + retries.wait(failures)
    return replace(was, state=State.QUEUED, failures=failures, not_before=later, reason=reason)


def stopped(was: Progress) -> Progress:
    """Put a run back that was stopped in good order, or for want of disk: it is nobody's fault."""
    _check(was, State.RUNNING, "stop")
    return replace(was, state=State.QUEUED, not_before=0.0)


def crashed(was: Progress, retries: Retries) -> Progress:
    """Put a run back in whose midst the process ended; a scan that ends it again and again is given up."""
    _check(was, State.RUNNING, "crash")
    crashes = was.crashes + 1
    if crashes >= retries.crashes:
        reason = f"ps3d-rt ended {crashes} times in the midst of this scan; look at the log, then retry it."
        return replace(was, state=State.FAILED, crashes=crashes, reason=reason)
    return replace(was, state=State.QUEUED, crashes=crashes)


def replaced(was: Progress) -> Progress:
    """Let go of a scan whose files were changed after it was taken: the new content is a scan of its own."""
    _check(was, State.RUNNING, "be replaced")
    return replace(was, state=State.REMOVED, reason="its files changed after it was taken; it is taken again")


def retried(was: Progress) -> Progress:
    """Start afresh, because a person asks for it."""
    _check(was, (State.FAILED, State.REMOVED, State.QUEUED), "retry")
    return Progress()


def removed(was: Progress, reason: str = "removed by a person") -> Progress:
    """Take a scan out of the queue."""
    _check(was, (State.QUEUED, State.FAILED), "remove")
    return replace(was, state=State.REMOVED, reason=reason)


def _check(was: Progress, allowed: State | tuple[State, ...], step: str) -> None:
    states = allowed if isinstance(allowed, tuple) else (allowed,)
    if was.state not in states:
        raise NotAllowedError(f"a scan that is {was.state} cannot {step}; it must be {' or '.join(states)}.")

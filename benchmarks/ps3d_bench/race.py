"""The same job done in several ways: do they agree, and how long does each take?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from ps3d_rt.errors import Ps3dError

OURS = "ps3d-rt"


@dataclass(frozen=True)
class Runner:
    """One way to do the job."""

    name: str
    run: Callable[[], Any]
    """Does the whole job once, from the same input to an output of the same meaning."""
    least_agreement: float = 1.0
    """Share of the result that must agree with the first runner's, 0 to 1."""


@dataclass(frozen=True)
class Race:
    """A stage and those who can do it."""

    stage: str
    input: str
    """What it works on, for people."""
    voxels: int
    """Of the larger of input and output: what the rates count."""
    agreement: Callable[[Any, Any], float]
    """(first runner's result, another's) → share that agrees, 0 to 1."""
    runners: tuple[Runner, ...]
    """Ours first."""


def judge(race: Race, repeats: int) -> list[dict[str, Any]]:
    """Check that all agree, then time them in turns: a busy minute of the machine hits all alike.

    The check also warms everybody up: compilers, caches, threads.

    Returns:
        A row a runner: agreement, seconds of every turn, their median, voxels a second, and how many times as long as
        the first runner it takes.

    Raises:
        Ps3dError: if a runner's result agrees less than it must.
    """
    shares = _agreements(race)
    seconds: list[list[float]] = [[] for _ in race.runners]
    for _ in range(repeats):
        for runner, taken in zip(race.runners, seconds, strict=True):
            start = time.perf_counter()
            runner.run()
            taken.append(time.perf_counter() - start)
    ours = median(seconds[0])
    return [
        {
            "stage": race.stage,
            "input": race.input,
            "runner": runner.name,
            "agreement": share,
            "seconds_median": round(median(taken), 4),
            "seconds": [round(value, 4) for value in taken],
            "mvoxels_per_s": round(race.voxels / median(taken) / 1e6, 2),
            "times_ours": round(median(taken) / ours, 2),
        }
        for runner, share, taken in zip(race.runners, shares, seconds, strict=True)
    ]


def _agreements(race: Race) -> list[float]:
    first = race.runners[0].run()
    shares = [1.0]
    for runner in race.runners[1:]:
        shares.append(share := race.agreement(first, runner.run()))
        if not share >= runner.least_agreement:
            raise Ps3dError(
                f"{race.stage}: {runner.name} agrees with {race.runners[0].name} in {share:.4%} only, "
                f"{runner.least_agreement:.4%} is needed; what does not do the same job is not timed."
            )
    return shares


def as_table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows of :func:`judge` as Markdown."""
    lines = [
        "| stage | input | who | seconds | Mvoxel/s | agrees with ours | times ours |",
        "|---|---|---|--:|--:|--:|--:|",
    ]
    for row in rows:
        numbers = f"{row['seconds_median']:.3f} | {row['mvoxels_per_s']:.1f} | {row['agreement']:.2%}"
        about = f"{row['stage']} | {row['input']} | {row['runner']}"
        lines.append(f"| {about} | {numbers} | {row['times_ours']:.2f} |")
    return "\n".join(lines)

"""What a run tells while it works. Bars, logs and JSON lines are listeners; the pipeline knows none of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from ps3d_rt.core.grid import Zyx


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A volume was opened and the run is planned."""

    name: str
    shape: Zyx
    normalized_shape: Zyx
    patches: int
    engine: str
    """Engine, device and precision, for people."""
    workers: int
    """Processes."""


@dataclass(frozen=True, slots=True)
class RunResumed:
    """An earlier run of the same command was stopped; what it finished is not done again."""

    folder: str
    """Where its work lies."""


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that a person must know before believing the result; it is in ``run.json`` and the report too."""

    text: str
    """One sentence or two, with the cure."""
    kind: str = ""
    """Of a caution about the result: see :mod:`ps3d_rt.core.cautions`."""


@dataclass(frozen=True, slots=True)
class SizeTried:
    """On the way to an estimate of the particle size, one size was assumed."""

    assumed_mm: float
    found_mm: float | None
    """Mean diameter of what was found; None if nothing was."""
    particles: int


@dataclass(frozen=True, slots=True)
class SizeEstimated:
    """The particle size was estimated."""

    particle_size_mm: float
    patches: int
    """That it took."""
    seconds: float
    resumed: bool = False
    """By an earlier run of the same command, which was stopped."""


@dataclass(frozen=True, slots=True)
class SizeMismatch:
    """The particles found are of quite another size than the run was told."""

    given_mm: float
    found_mm: float


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A stage begins; ``total`` counts its units of work."""

    stage: str
    total: int
    unit: str
    """``patches``, ``tasks`` or ``boxes``."""
    voxels_per_unit: float
    """Source voxels that one unit stands for, so that listeners can show voxels/s."""


@dataclass(frozen=True, slots=True)
class StageAdvanced:
    """``done`` of a stage's units are finished."""

    stage: str
    done: int
    resumed: int = 0
    """How many of them an earlier run had finished: they took no time."""


@dataclass(frozen=True, slots=True)
class StageDone:
    """A stage is complete."""

    stage: str
    seconds: float


@dataclass(frozen=True, slots=True)
class RunDone:
    """The labels are complete."""

    particles: int
    seconds: float
    dropped: int
    """Particles that were found and are not in the labels."""
    dropped_volume_share: float
    """Their share of the foreground, 0 to 1."""


@dataclass(frozen=True, slots=True)
class SampleStarted:
    """A sample of a batch begins."""

    name: str
    number: int
    """From 1."""
    of: int


@dataclass(frozen=True, slots=True)
class SampleFailed:
    """A sample of a batch cannot be done; the others go on."""

    name: str
    error: str
    """With the cure."""


@dataclass(frozen=True, slots=True)
class SamplesKept:
    """Samples that were done before, from the same scans with the same options."""

    samples: int


Event: TypeAlias = (
    SampleStarted
    | SampleFailed
    | SamplesKept
    | RunStarted
    | RunResumed
    | Warned
    | SizeTried
    | SizeEstimated
    | SizeMismatch
    | StageStarted
    | StageAdvanced
    | StageDone
    | RunDone
)
Listener: TypeAlias = Callable[[Event], None]


def ignore(told: object) -> None:
    """Listen to nothing."""

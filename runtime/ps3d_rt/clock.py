"""The stages of a run: how long each takes, and events about them for listeners."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from ps3d_rt.events import Listener, StageAdvanced, StageDone, StageStarted


@dataclass(frozen=True, slots=True)
class Resumed:
    """Units of a stage that an earlier run finished."""

    units: int


Advance: TypeAlias = Callable[[int | Resumed], None]
"""Takes the units that were finished since it was called last."""


@dataclass
class Clock:
    """Time the stages and send their events to a listener."""

    on_event: Listener
    seconds: dict[str, float] = field(default_factory=dict)
    """Of the stages that are done, in their order."""

    @contextmanager
    def stage(self, name: str, voxels: int, total: int = 1, unit: str = "steps") -> Iterator[Advance]:
        """Time a stage; yields a function that takes the units that were finished since it was called last.

        Args:
            name: of the stage.
            voxels: of the scan, that it goes through.
            total: units of work; one is finished when the stage is.
            unit: what they are.
        """
        self.on_event(StageStarted(name, total, unit, voxels / max(1, total)))
        done = resumed = 0

        def advance(units: int | Resumed) -> None:
            nonlocal done, resumed
            if isinstance(units, Resumed):
                resumed = min(total, resumed + units.units)
                units = units.units
            done = min(total, done + units)
            self.on_event(StageAdvanced(name, done, resumed))

        start = time.perf_counter()
        yield advance
        if done < total == 1:
            advance(1)
        self.seconds[name] = round(time.perf_counter() - start, 3)
        self.on_event(StageDone(name, self.seconds[name]))

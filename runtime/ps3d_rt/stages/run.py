"""The state of a run: what is predicted, where results are stored, which workers do the tasks, who hears of events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import count
from math import prod
from typing import Any

from ps3d_rt.clock import Advance, Clock, Resumed
from ps3d_rt.cluster import OneAtATime, cluster_workers
from ps3d_rt.core.planes import PlaneChoice
from ps3d_rt.devices import device_named
from ps3d_rt.devices.placement import Placement, RunLimits, placed, placed_on_cluster
from ps3d_rt.errors import Ps3dError
from ps3d_rt.events import Listener, RunStarted, Warned
from ps3d_rt.journal import IDENTITY, Journal
from ps3d_rt.stages.boxes import SourceGrid
from ps3d_rt.stages.prediction import Prediction
from ps3d_rt.stages.storage import DeviceStore, RunStorage, Store
from ps3d_rt.workers import Mapper, Workers


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Maps the tasks of a stage over workers; with a journal, finished ones are not done again."""

    workers: Mapper
    journal: Journal | None
    at_once: int
    """How many tasks memory allows at a time."""
    advance: Advance
    numbers: Iterator[int]
    """Of the maps of a run, all its stages together."""

    def map(self, task: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        """Yield the results in the order of the items."""
        # The order of the maps is the same in every run of one identity, and so are these names.
        called = task.func.__name__ if isinstance(task, partial) else "task"
        name = f"{next(self.numbers):03d}-{called.strip('_').replace('_', '-')}"
        mapper = partial(self.workers.map, at_once=self.at_once)
        resumed = 0 if self.journal is None else self.journal.finished(name, len(items))
        if resumed:
            self.advance(Resumed(resumed))
        results = mapper(task, items) if self.journal is None else self.journal.map(mapper, name, task, items)
        for k, result in enumerate(results):
            if k >= resumed:
                self.advance(1)
            yield result

    def run(self, task: Callable[[Any], None], items: Sequence[Any]) -> None:
        """Do tasks that return nothing; every result is taken, so that no failure is lost."""
        for _ in self.map(task, items):
            pass


@dataclass(frozen=True, kw_only=True)
class Run:
    """The state that every stage is given."""

    prediction: Prediction
    storage: RunStorage
    clock: Clock
    workers: Mapper
    """Do what is computed on the CPU."""
    placement: Placement
    """Where the network and the particles are computed."""
    began: datetime
    warnings: list[str]
    """Of the scan and the model, and of what happens on the way."""
    _numbers: Iterator[int] = field(default_factory=count)

    @property
    def voxels(self) -> int:
        """Of the scan."""
        return prod(self.prediction.plan.source)

    @property
    def source_grid(self) -> SourceGrid:
        """What the boxes of the source grid share."""
        prediction, plan = self.prediction, self.prediction.plan
        return SourceGrid(
            volume=prediction.volume,
            store=self.storage.store,
            grid=plan.chunks,
            zoom=plan.zoom,
            bins=prediction.gray.bins,
            planes=PlaneChoice.for_shape(plan.source) if self.storage.pictures else None,
        )

    @contextmanager
    def stage(
        self, name: str, total: int, unit: str = "tasks", *, at_once: int, workers: Mapper | None = None
    ) -> Iterator[Stage]:
        """Time a stage whose tasks run on the CPU, or on ``workers``.

        Args:
            name: of the stage.
            total: its tasks.
            unit: what they are.
            at_once: how many of them memory allows at a time.
            workers: others than those of the run.
        """
        with self.clock.stage(name, self.voxels, total, unit) as advance:
            yield Stage(
                workers=workers or self.workers,
                journal=self.storage.journal,
                at_once=at_once,
                advance=advance,
                numbers=self._numbers,
            )

    @contextmanager
    def chunk_stage(self, name: str, total: int, *, at_once: int) -> Iterator[tuple[Store, Stage]]:
        """Time a stage whose tasks run where the network does; the store reads to that place."""
        with self.stage(name, total, at_once=at_once, workers=self.placement.chunks) as stage:
            yield DeviceStore(self.storage.store, self.placement.device), stage


def _limits(prediction: Prediction) -> RunLimits:
    config = prediction.config
    return RunLimits(
        processes=config.workers,
        threads=config.threads,
        chunks_at_once=prediction.plan.budget.chunks_at_once,
        gpu_bytes=config.gpu_memory_bytes,
    )


@contextmanager
def started(prediction: Prediction, storage: RunStorage, on_event: Listener) -> Iterator[Run]:
    """Hire the workers of a run, and keep to its budget of GPU memory."""
    volume, config, plan, spec = prediction.volume, prediction.config, prediction.plan, prediction.engine.spec
    why = f" ({spec.reason})" if spec.reason else ""
    engine = f"{spec.name} {spec.precision} on {', '.join(plan.devices)}{why}"
    processes = max(config.workers, len(plan.devices)) if config.cluster is None else config.cluster.workers
    began, warnings = datetime.now(UTC), [*volume.warnings, *prediction.model.warnings, *spec.warnings]
    on_event(RunStarted(volume.name, plan.source, plan.shape, plan.patches, engine, processes))
    for text in warnings:
        on_event(Warned(text))

    def warn(text: str) -> None:
        warnings.append(text)
        on_event(Warned(text))

    with (
        device_named(spec.device).limited(config.gpu_memory_bytes),
        _hired(prediction, storage, warn) as (workers, placement),
    ):
        yield Run(
            prediction=prediction,
            storage=storage,
            clock=Clock(on_event, dict(prediction.seconds)),
            workers=workers,
            placement=placement,
            began=began,
            warnings=warnings,
        )


@contextmanager
def _hired(
    prediction: Prediction, storage: RunStorage, warn: Callable[[str], None]
) -> Iterator[tuple[Mapper, Placement]]:
    """Give what does the tasks of a run, in general and where the network is."""
    config, devices = prediction.config, prediction.plan.devices
    if config.cluster is None:
        with (
            Workers(config.workers, threads=config.threads) as workers,
            placed(devices, workers, _limits(prediction)) as placement,
        ):
            yield workers, placement
        return
    if storage.journal is None:
        raise Ps3dError("a run on a cluster has a journal that its workers share.")
    with cluster_workers(config.cluster, storage.journal.folder / IDENTITY, warn) as cluster:
        yield cluster, placed_on_cluster(devices[0], cluster, OneAtATime(cluster), config.gpu_memory_bytes)

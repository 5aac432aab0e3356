"""The stages of a prediction in order: scan → border-core map → particles → table and labels on the source grid."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import count
from math import prod
from typing import Any, Protocol

import numpy as np

from ps3d_rt.clock import Clock
from ps3d_rt.core.chunks import ChunkGrid
from ps3d_rt.core.distribution import size_facts
from ps3d_rt.core.dropped import DroppedParticles, list_dropped
from ps3d_rt.core.gray import GrayBins
from ps3d_rt.core.grid import Box
from ps3d_rt.core.measure import PartialSums, ParticleTable
from ps3d_rt.core.normalize import EmbeddingScale, GrayScale
from ps3d_rt.core.particle_size import SizeEstimate
from ps3d_rt.core.planes import PlaneChoice, PlanePiece, Slices, join_planes
from ps3d_rt.core.rows import MeasuredBox
from ps3d_rt.core.sample_table import NO_PARTICLES, SampleTable
from ps3d_rt.core.sureness import to_sureness
from ps3d_rt.engines.base import Engine
from ps3d_rt.engines.gpus import ONLY_GPU, environment_of
from ps3d_rt.errors import InputError
from ps3d_rt.events import Listener, RunDone, RunStarted, SizeMismatch, Warned, ignore
from ps3d_rt.io.base import Volume
from ps3d_rt.io.hashed import HashedReads, place_of
from ps3d_rt.journal import Journal
from ps3d_rt.memory import HALO
from ps3d_rt.model import ModelBundle
from ps3d_rt.plan import SHARD, PredictConfig, RunPlan, check_particle_size
from ps3d_rt.sizing import estimate_size, sizing_facts
from ps3d_rt.stages.confidence import add_up_scores, score_tasks
from ps3d_rt.stages.device import DeviceStore, LimitedTask, memory_limit
from ps3d_rt.stages.gray import GrayLook, look_at_gray
from ps3d_rt.stages.particles import to_particles
from ps3d_rt.stages.rows import Rows, RowsInMemory, stream_rows
from ps3d_rt.stages.segment import NETWORK_ARRAYS, PatchCount, Segmentation, segment
from ps3d_rt.stages.source_grid import (
    LabelsTarget,
    SourceGrid,
    box_tasks,
    check_label_count,
    last_boxes,
    measure_box,
    renamed,
    write_box,
)
from ps3d_rt.stages.storage import MemoryStore, Store
from ps3d_rt.versions import versions
from ps3d_rt.workers import Workers, usable_cores

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Result:
    """What a prediction gives."""

    labels: Any
    """(z, y, x) uint32 on the source grid: particles 1..N in raster order of their first voxels, 0 elsewhere. A NumPy
    array, or a CuPy array if the labels were asked for on a GPU."""
    particles: ParticleTable
    """One row a particle."""
    dropped: DroppedParticles
    """One row for each particle that was found and is not in the labels, with the reason."""
    run: dict[str, Any]
    """What ran: scan, model, engine, parameters, seconds per stage, patches, versions. The content of ``run.json``."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One volume, one model, one engine: everything that decides the labels."""

    volume: Volume
    model: ModelBundle
    engine: Engine
    config: PredictConfig
    plan: RunPlan
    gray: GrayLook
    scan: dict[str, Any] = field(default_factory=dict)
    """What tells the volume from any other: a run that is resumed needs it."""
    estimate: SizeEstimate | None = None
    """How the particle size came about; None if it was given."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Of the stages before the plan."""

    @classmethod
    def of(
        cls, volume: Volume, model: ModelBundle, engine: Engine, config: PredictConfig, tell: Listener = ignore
    ) -> Job:
        """Look at the gray values, estimate the particle size if the config has none, and plan the run.

        Raises:
            InputError: if the particle size does not fit the volume or cannot be estimated, or the volume has no
                contrast.
        """
        if config.particle_size_mm is not None:
            check_particle_size(volume.shape, config)
        estimate, clock, voxels = None, Clock(tell), prod(volume.shape)
        looked_at = HashedReads(volume)
        with clock.stage("gray scale", voxels):
            gray = look_at_gray(looked_at, model, embedding=config.embedding, dark=config.dark)
            volume = gray.shown(volume)
        if model.gray_scheme == "embedding":
            volume.warn(*gray.embedding.doubts)
        if config.particle_size_mm is None:
            with clock.stage("size estimate", voxels):
                estimate = estimate_size(volume, model, engine, config, gray.scale, tell)
            config = replace(config, particle_size_mm=estimate.particle_size_mm)
        plan = RunPlan.of(volume.shape, volume.dtype.itemsize, model, config, engine.spec.devices)
        return cls(
            volume=volume,
            model=model,
            engine=engine,
            config=config,
            plan=plan,
            gray=gray,
            scan={**place_of(volume), "voxels": looked_at.hash},
            estimate=estimate,
            seconds=clock.seconds,
        )

    def spec(self) -> dict[str, Any]:
        """Give what decides the bytes of the output and the list of tasks, as JSON: runs of one spec are one run."""
        return {
            "versions": versions(),
            "scan": {"name": self.volume.name, "dtype": self.volume.dtype.name, **self.scan},
            "spacing_mm": self.config.spacing_mm,
            "gray": asdict(self.gray.scale),
            "outside": self.gray.facts()["outside_value"],
            "selection": self.volume.selection,
            "skip_empty": self.config.skip_empty,
            "engine": asdict(self.engine.spec),
            "model": {
                "sha256": self.model.hash,
                **asdict(self.model.rules),
                "core_bias": self.model.core_bias,
            },
            "lowpass": self.model.lowpass,
            "plan": self.plan.spec(),
        }


class LabelLevels(LabelsTarget, Protocol):
    """Labels on the source grid at one or more resolutions, finest first."""

    @property
    def levels(self) -> int:
        """Number of resolutions."""

    def boxes(self, level: int) -> Sequence[Box]:
        """Boxes that tile a level, each to be written whole."""

    def coarsen(self, level: int, box: Box) -> None:
        """Fill a box of a level from the level before it."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where a run keeps what it makes."""

    store: Store
    """Working arrays on the normalized grid."""
    labels: LabelLevels
    rows: Callable[[int], Rows]
    """Makes the place for the rows of the table; it is told how many there are at most."""
    journal: Journal | None = None
    """Finished tasks; without it a run cannot be resumed."""
    pictures: bool = False
    """Whether planes are to be kept for a report while the scan is read."""


class LabelsInMemory:
    """Labels on the source grid as one array."""

    levels = 1

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.array = np.zeros(shape, np.uint32)

    def boxes(self, level: int) -> Sequence[Box]:
        """Tile the array."""
        z, y, x = self.array.shape
        return ChunkGrid((z, y, x), SHARD).boxes

    def write(self, box: Box, labels: Array) -> None:
        """Set the labels of ``box``."""
        self.array[box.slices] = labels

    def coarsen(self, level: int, box: Box) -> None:
        """Do nothing: there is one level."""


def predict_volume(
    volume: Volume, model: ModelBundle, engine: Engine, config: PredictConfig, tell: Listener = ignore
) -> Result:
    """Segment one volume into particles and measure them, all in memory.

    Args:
        volume: (z, y, x), any real dtype.
        model: what the engine runs.
        engine: open engine of ``model``.
        config: spacing, particle size, overlap.
        tell: called with every event.

    Raises:
        InputError: if the particle size does not fit the volume, or the volume has NaN, Inf or no contrast.
    """
    if engine.spec.more_devices:
        raise InputError(
            f"{len(engine.spec.devices)} GPUs work on a scan that is on disk, in processes of their own (ps3d-rt "
            "predict); a run in memory takes one: pass device='cuda:0'."
        )
    job = Job.of(volume, model, engine, config, tell)
    labels = LabelsInMemory(volume.shape)
    rows = RowsInMemory()
    places = Places(store=MemoryStore(job.plan.shape), labels=labels, rows=lambda most: rows)
    found = run_stages(job, places, tell)
    seconds = round(sum(found.run["seconds"].values()), 3)
    tell(RunDone(len(rows.table), seconds, len(found.dropped), found.dropped.volume_share))
    return Result(labels.array, rows.table, found.dropped, found.run)


@dataclass(frozen=True)
class Tables:
    """What a run gives beside the labels, as in :class:`Result`."""

    particles: SampleTable
    dropped: DroppedParticles
    run: dict[str, Any]
    slices: list[Slices] | None
    """For the report; None if none were asked for."""


def run_stages(job: Job, places: Places, tell: Listener = ignore) -> Tables:
    """Run everything that is not done yet; the labels go to ``places.labels``.

    Raises:
        InputError: if the volume has NaN or Inf or cannot be read.
        InterruptedRun: if a worker died.
    """
    started = datetime.now(UTC)
    plan, spec = job.plan, job.engine.spec
    engine = f"{spec.name} {spec.precision} on {', '.join(plan.devices)}"
    processes = max(job.config.workers, len(plan.devices))
    tell(RunStarted(job.volume.name, plan.source, plan.shape, plan.patches, engine, processes))
    warnings = [*job.volume.warnings, *job.model.warnings]
    for text in warnings:
        tell(Warned(text))
    clock, voxels = Clock(tell, dict(job.seconds)), prod(plan.source)
    with (
        memory_limit(spec.device, job.config.gpu_memory_bytes),
        Workers(job.config.workers, threads=job.config.threads) as workers,
        _gpu_processes(job) as gpus,
    ):
        tasks = _Tasks(workers, places.journal, plan.memory.chunks_at_once(plan.particles))
        with clock.stage("network", voxels, plan.patches, "patches") as advance:
            counts = _segment(job, places, gpus or workers, advance)
        with (
            clock.stage("particles", voxels, 5 * len(plan.chunks.boxes) - 1, "tasks") as advance,
            nullcontext(gpus) if gpus else _chunk_workers(job, workers) as chunk_workers,
        ):
            parts, particles, census = to_particles(
                places.store if plan.gpu is None else DeviceStore(places.store, ONLY_GPU if gpus else spec.device),
                plan.shape,
                plan.chunks.chunk,
                rules=job.model.rules.on_grid(plan.zoom),
                halo=HALO,
                map_tasks=partial(replace(tasks, workers=chunk_workers).map, advance=advance),
            )
            scored = partial(add_up_scores, places.store)
            check_label_count(particles)
            score_sums = tasks.map(scored, score_tasks(plan.chunks, parts), advance=advance)
            sureness, stops = to_sureness(score_sums, particles)
        tasks.at_once = plan.memory.boxes_at_once(particles)
        planes = PlaneChoice.of(plan.source) if places.pictures else None
        grid = SourceGrid(
            volume=job.volume,
            store=places.store,
            grid=plan.chunks,
            zoom=plan.zoom,
            bins=job.gray.bins,
            planes=planes,
        )
        boxes = places.labels.boxes(0)
        with clock.stage("table", voxels, len(boxes), "boxes") as advance:
            measured, rows = box_tasks(grid, parts, boxes), places.rows(particles)
            pieces: list[PlanePiece] = []
            found = tasks.map(partial(measure_box, grid), measured, advance=advance)
            last = last_boxes(grid, measured, stops)
            names = stream_rows(_sums(found, pieces), last, plan.source, job.config.spacing_mm, sureness, rows)
        with clock.stage("labels", voxels, len(boxes), "boxes") as advance:
            write = partial(write_box, grid, places.labels)
            tasks.run(write, box_tasks(grid, renamed(parts, names), boxes), advance=advance)
            for level in range(1, places.labels.levels):
                tasks.run(partial(_coarsen, places.labels, level), places.labels.boxes(level))
    del parts, sureness, stops, last
    dropped = list_dropped(census, names, zoom=plan.zoom, source=plan.source, spacing_mm=job.config.spacing_mm)
    del census
    for text in dropped.warnings():
        warnings.append(text)
        tell(Warned(text))
    with clock.stage("table writing", voxels):
        table = rows.finish(names)
    with clock.stage("size distribution", voxels):
        known: dict[str, Any] = {
            "particle_size": sizing_facts(job.config, job.estimate, table),
            "size_distribution": size_facts(table, plan.source),
        }
    if not len(table):
        warnings.append(NO_PARTICLES)
        tell(Warned(NO_PARTICLES))
    known |= {"particles": len(table), "dropped": dropped.facts(), "warnings": warnings}
    facts = _facts(job, started, clock.seconds, counts) | known
    if facts["particle_size"]["mismatch"]:
        tell(SizeMismatch(facts["parameters"]["particle_size_mm"], facts["particle_size"]["mean_found_mm"]))
    slices = None if planes is None else join_planes(planes, (piece.renamed(names) for piece in pieces))
    return Tables(table, dropped, facts, slices)


def _sums(boxes: Iterable[MeasuredBox], pieces: list[PlanePiece]) -> Iterator[PartialSums]:
    """Pass on the sums of boxes, and keep their pieces of planes."""
    for box in boxes:
        pieces += box.planes
        yield box.sums


def _segment(job: Job, places: Places, workers: Mapper, advance: Callable[[int], None]) -> PatchCount:
    """Run the sweeps: one after the other in this process, or one a process."""
    for name in NETWORK_ARRAYS:
        places.store.create(name, np.uint8)
    stage = Segmentation(
        volume=job.volume,
        engine=job.engine,
        store=places.store,
        journal=places.journal,
        lattice=job.plan.lattice,
        shape=job.plan.shape,
        zoom=job.plan.zoom,
        scale=job.gray.scale,
        lowpass=job.model.lowpass,
        skip_empty=job.config.skip_empty,
        core_bias=job.model.core_bias,
        slab_planes=job.plan.shard[0],
    )
    # In one process the engine has all cores or the GPU, so sweeps take turns.
    alone = job.config.workers == len(job.plan.devices) == 1
    with Workers(threads=1) if alone else nullcontext(workers) as sweepers:
        counts = list(sweepers.map(partial(segment, stage), job.plan.sweeps, on_progress=advance))
    return PatchCount(
        sum(c.computed for c in counts), sum(c.skipped for c in counts), sum(c.engine_seconds for c in counts)
    )


def _chunk_workers(job: Job, workers: Workers) -> AbstractContextManager[Workers]:
    """Choose who puts particles together: ``workers``, but on a GPU no more threads than chunks fit its memory."""
    gpu = job.plan.gpu
    if gpu is None:
        return nullcontext(workers)
    return Workers(threads=min(gpu.tasks, job.config.threads or usable_cores()))


class Mapper(Protocol):
    """What maps tasks as :meth:`ps3d_rt.workers.Workers.map` does."""

    def map(
        self,
        task: Callable[[Any], Any],
        items: Iterable[Any],
        on_progress: Callable[[Any], object] | None = None,
        *,
        at_once: int | None = None,
    ) -> Iterator[Any]:
        """Yield the results in the order of the items."""


@dataclass(frozen=True)
class _GpuProcesses:
    """Processes that have a GPU each, under the name ONLY_GPU."""

    workers: Workers
    limit_bytes: int

    def map(
        self,
        task: Callable[[Any], Any],
        items: Iterable[Any],
        on_progress: Callable[[Any], object] | None = None,
        *,
        at_once: int | None = None,
    ) -> Iterator[Any]:
        return self.workers.map(LimitedTask(task, ONLY_GPU, self.limit_bytes), items, on_progress, at_once=at_once)


@contextmanager
def _gpu_processes(job: Job) -> Iterator[_GpuProcesses | None]:
    """Start a process a GPU, if there are several. What is computed on the CPU stays with the threads of this one."""
    devices = job.plan.devices
    if len(devices) == 1:
        yield None
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    with Workers(len(devices), variables=[environment_of(device, visible) for device in devices]) as workers:
        yield _GpuProcesses(workers, job.config.gpu_memory_bytes)


def _coarsen(labels: LabelLevels, level: int, box: Box) -> None:
    labels.coarsen(level, box)


@dataclass
class _Tasks:
    """Maps tasks over the workers; with a journal, finished ones are not done again."""

    workers: Mapper
    journal: Journal | None
    at_once: int
    """How many tasks memory allows at a time."""
    _numbers: Iterator[int] = field(default_factory=count)

    def map(
        self, task: Callable[[Any], Any], items: Sequence[Any], *, advance: Callable[[int], None] = lambda n: None
    ) -> Iterator[Any]:
        """Yield the results in the order of the items."""
        # The order of the calls is the same in every run of a spec, and so are these names.
        called = task.func.__name__ if isinstance(task, partial) else "task"
        name = f"{next(self._numbers):03d}-{called.strip('_').replace('_', '-')}"
        mapper = partial(self.workers.map, at_once=self.at_once)
        results = mapper(task, items) if self.journal is None else self.journal.map(mapper, name, task, items)
        for result in results:
            advance(1)
            yield result

    def run(
        self, task: Callable[[Any], None], items: Sequence[Any], *, advance: Callable[[int], None] = lambda n: None
    ) -> None:
        """Do tasks that return nothing; every result is taken, so that no failure is lost."""
        for _ in self.map(task, items, advance=advance):
            pass


def scale_and_bins(volume: Volume, model: ModelBundle) -> tuple[GrayScale | EmbeddingScale, GrayBins]:
    """Give the gray scale of a volume under the model's scheme, and the bins of its particles' histograms."""
    look = look_at_gray(volume, model)
    return look.scale, look.bins


def _facts(job: Job, started: datetime, seconds: dict[str, float], counts: PatchCount) -> dict[str, Any]:
    """Give the content of ``run.json``."""
    volume, model, config, plan = job.volume, job.model, job.config, job.plan
    return {
        "date": started.isoformat(timespec="seconds"),
        "scan": {
            "name": volume.name,
            "source": job.scan.get("path") or volume.source,
            "shape": volume.shape,
            "dtype": volume.dtype.name,
            "spacing_mm": config.spacing_mm,
            "selection": volume.selection,
        },
        "engine": asdict(job.engine.spec),
        "model": {"name": model.name, "sha256": model.hash},
        "gray": job.gray.facts(),
        "parameters": {
            "particle_size_mm": config.particle_size_mm,
            "target_size_voxels": model.target_size_voxels,
            "zoom": plan.zoom,
            "normalized_shape": plan.shape,
            "overlap": config.overlap,
            "skip_empty": config.skip_empty,
            "gray_scheme": model.gray_scheme,
            **{f"gray_{name}": value for name, value in asdict(job.gray.scale).items()},
            "min_relative_volume": model.min_relative_volume,
            "min_confidence": model.min_confidence,
            "min_diameter_voxels": model.min_diameter_voxels,
            "core_bias": model.core_bias,
            "workers": config.workers,
            "memory_bytes": config.memory_bytes,
            "chunk_voxels": plan.chunks.chunk,
        },
        "patches": {
            "lattice": plan.lattice.count,
            "planned": plan.patches,
            "computed": counts.computed,
            "skipped": counts.skipped,
        },
        "seconds": seconds,
        "engine_seconds": round(counts.engine_seconds, 3),
        "versions": versions(),
    }

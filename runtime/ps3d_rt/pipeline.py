"""A prediction from scan to labels, as the stages in their order; what each does stands in its file of ``stages/``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

from ps3d_rt.clock import Clock
from ps3d_rt.core.dropped import DroppedParticles
from ps3d_rt.core.measure import ParticleTable
from ps3d_rt.core.sampling import sampled_boxes
from ps3d_rt.engines.base import Engine
from ps3d_rt.errors import InputError
from ps3d_rt.events import Listener, RunDone, SizeEstimated, ignore
from ps3d_rt.io.base import Volume
from ps3d_rt.io.hashed import HashedReads, place_of
from ps3d_rt.model import ModelBundle
from ps3d_rt.plan import PredictConfig, RunPlan, check_particle_size
from ps3d_rt.stages.confidence import score_particles
from ps3d_rt.stages.gray_scale import analyze_gray
from ps3d_rt.stages.labels import write_labels
from ps3d_rt.stages.likeness import look_at_tiles
from ps3d_rt.stages.particle_size import SizeSearch, estimate_particle_size
from ps3d_rt.stages.particles import find_particles
from ps3d_rt.stages.prediction import KnownSize, Prediction, identity_before_plan, size_key
from ps3d_rt.stages.run import started
from ps3d_rt.stages.segment import segment_volume
from ps3d_rt.stages.storage import LabelsInMemory, MemoryStore, RowsInMemory, RunStorage
from ps3d_rt.stages.summary import Outcome, summarize
from ps3d_rt.stages.table import measure_particles


@dataclass(frozen=True)
class RunResult:
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


def predict_volume(
    volume: Volume, model: ModelBundle, engine: Engine, config: PredictConfig, on_event: Listener = ignore
) -> RunResult:
    """Segment one volume into particles and measure them, all in memory.

    Args:
        volume: (z, y, x), any real dtype.
        model: what the engine runs.
        engine: open engine of ``model``.
        config: spacing, particle size, overlap.
        on_event: called with every event.

    Raises:
        InputError: if the particle size does not fit the volume, or the volume has NaN, Inf or no contrast.
    """
    if engine.spec.more_devices:
        raise InputError(
            f"{len(engine.spec.devices)} GPUs work on a scan that is on disk, in processes of their own (ps3d-rt "
            "predict); a run in memory uses one GPU: pass device='cuda:0'."
        )
    prediction = prepare(volume, model, engine, config, on_event)
    labels, rows = LabelsInMemory(volume.shape), RowsInMemory()
    storage = RunStorage(store=MemoryStore(prediction.plan.shape), labels=labels, rows=lambda most: rows)
    found = run_stages(prediction, storage, on_event)
    seconds = round(sum((found.record.seconds or {}).values()), 3)
    on_event(RunDone(len(rows.table), seconds, len(found.dropped), found.dropped.volume_share))
    return RunResult(labels.array, rows.table, found.dropped, found.record.to_json())


def prepare(
    volume: Volume,
    model: ModelBundle,
    engine: Engine,
    config: PredictConfig,
    on_event: Listener = ignore,
    known: KnownSize | None = None,
) -> Prediction:
    """Look at the gray values, estimate the particle size if the config has none, and plan the run.

    Args:
        volume: as for :func:`predict_volume`, as the next four.
        model: see there.
        engine: see there.
        config: see there.
        on_event: see there.
        known: what an earlier run has estimated; taken over if the same would come out.

    Raises:
        InputError: if the particle size does not fit the volume or cannot be estimated, or the volume has no contrast.
    """
    if config.particle_size_mm is not None:
        check_particle_size(volume.shape, config)
    estimate, key, clock, voxels = None, "", Clock(on_event), prod(volume.shape)
    looked_at = HashedReads(volume)
    with clock.stage("gray scale", voxels, len(sampled_boxes(volume.shape, volume.chunk)), "boxes") as advance:
        gray = analyze_gray(looked_at, model, embedding=config.embedding, dark=config.dark, on_progress=advance)
        gray = gray if config.gray_bins is None else replace(gray, bins=config.gray_bins)
        volume = gray.shown(volume)
    if model.gray_scheme == "embedding":
        volume.warn(*gray.embedding.warnings)
    scan = {**place_of(volume), "voxels": looked_at.hash}
    if config.particle_size_mm is None:
        key = size_key(identity_before_plan(volume, model, engine, config, gray, scan), config.overlap)
        if known is not None and known.key == key:
            estimate = known.estimate
            on_event(SizeEstimated(estimate.particle_size_mm, 0, 0.0, resumed=True))
        else:
            search = SizeSearch(volume=volume, model=model, engine=engine, config=config, scale=gray.scale)
            with clock.stage("size estimate", 0, search.most_trials, "trials") as advance:
                estimate = estimate_particle_size(search, on_event, advance)
        config = replace(config, particle_size_mm=estimate.particle_size_mm)
    return Prediction(
        volume=volume,
        model=model,
        engine=engine,
        config=config,
        plan=RunPlan.for_shape(volume.shape, volume.dtype.itemsize, model, config, engine.spec.devices),
        gray=gray,
        scan=scan,
        estimate=estimate,
        size_key=key,
        seconds=clock.seconds,
    )


def run_stages(prediction: Prediction, storage: RunStorage, on_event: Listener = ignore) -> Outcome:
    """Run everything that is not done yet; the labels go to ``storage.labels``.

    Raises:
        InputError: if the volume has NaN or Inf or cannot be read.
        InterruptedRun: if a worker died.
    """
    with started(prediction, storage, on_event) as run:
        patches = segment_volume(run)
        particles = find_particles(run)
        measured = measure_particles(run, particles, score_particles(run, particles))
        tiles = look_at_tiles(run, particles)
        write_labels(run, particles, measured.id_map)
    del particles  # the tables of all chunks: the sample's table takes their place in memory
    return summarize(run, patches, measured, tiles)

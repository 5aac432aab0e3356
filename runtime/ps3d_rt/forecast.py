"""What a run will take before it runs: a piece of the scan goes through every stage, and the rest is proportion."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from math import ceil, prod
from pathlib import Path

from ps3d_rt.clock import Clock
from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.core.sampling import sampled_boxes
from ps3d_rt.devices import device_named
from ps3d_rt.devices.budget import RunNeeds
from ps3d_rt.engines.base import Engine, EngineSpec
from ps3d_rt.events import Listener, ignore
from ps3d_rt.io.base import Volume
from ps3d_rt.io.crop import Crop
from ps3d_rt.io.labels_writer import LabelsZarr, create_labels
from ps3d_rt.io.zarr_store import ZarrStore
from ps3d_rt.memory import HALO
from ps3d_rt.model import ModelBundle
from ps3d_rt.pipeline import run_stages
from ps3d_rt.plan import WORK_SHARD, PredictConfig, RunPlan
from ps3d_rt.stages.gray_scale import analyze_gray
from ps3d_rt.stages.prediction import Prediction
from ps3d_rt.stages.segment import NETWORK_ARRAYS
from ps3d_rt.stages.storage import RowsInMemory, RunStorage
from ps3d_rt.workers import usable_cores

TRIAL_SIDE = 176
"""Side of the piece, voxels of the normalized grid: a few dozen patches, some seconds."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a run should take."""

    seconds: dict[str, float]
    """Per stage but the report, and ``all``."""
    particles: int
    """As many a voxel as in the piece."""
    memory_bytes: int
    """Peak of all processes together."""
    gpu_memory_bytes: int
    """Peak on each GPU; 0 without one."""
    work_bytes: int
    """Disk space beside the output while the run lasts."""
    output_bytes: int
    """Disk space of the labels."""
    patches_skipped: float
    """Share of the patches without contrast, as in the piece."""


def forecast(
    volume: Volume,
    model: ModelBundle,
    engine: Engine,
    config: PredictConfig,
    on_event: Listener = ignore,
    *,
    estimate_seconds: float | None = None,
) -> Forecast:
    """Run a piece from the middle of the scan in a temporary folder, and scale what it took.

    The network goes by patches, the particles by normalized voxels, table and labels by source voxels. Of several
    GPUs the piece runs on the first.

    Args:
        volume: the scan.
        model: what the engine runs.
        engine: open engine of ``model``.
        config: of the run, with a particle size.
        on_event: called with every event.
        estimate_seconds: what the estimate of the particle size took; None if the run needs none.

    Raises:
        InputError: as a run would.
    """
    devices = engine.spec.devices
    whole = RunPlan.for_shape(volume.shape, volume.dtype.itemsize, model, config, devices)
    clock = Clock(on_event)
    with clock.stage(
        "gray scale", prod(volume.shape), len(sampled_boxes(volume.shape, volume.chunk)), "boxes"
    ) as advance:
        gray = analyze_gray(volume, model, embedding=config.embedding, dark=config.dark, on_progress=advance)
        volume = gray.shown(volume)
    alone = replace(config, workers=1, cluster=None, chunk=WORK_SHARD[0])
    with (
        clock.stage("trial", 0, 2, "pieces") as advance,
        tempfile.TemporaryDirectory(prefix="ps3d-rt-plan-") as folder,
    ):
        # The first piece only loads what is compiled.
        for side, name in ((48, "warm-up"), (TRIAL_SIDE, "trial")):
            crop = Crop(volume, _middle(volume.shape, whole, side))
            plan = RunPlan.for_shape(crop.shape, volume.dtype.itemsize, model, alone, devices[:1])
            place = Path(folder) / name
            create_labels(place / "labels", "labels", crop.shape, config.spacing_mm)
            prediction = Prediction(volume=crop, model=model, engine=engine, config=alone, plan=plan, gray=gray)
            storage = RunStorage(
                store=ZarrStore(place / "arrays", plan.shape, plan.shard),
                labels=LabelsZarr(place / "labels"),
                rows=lambda most: RowsInMemory(),
            )
            found = run_stages(prediction, storage)
            advance(1)
        bytes_of = {kind: _bytes_under(place / kind) for kind in ("arrays", "labels")}
    machines = 1 if config.cluster is None or config.cluster.processes_here else config.cluster.workers
    by = {
        "network": whole.patches / plan.patches / len(devices) / machines,
        "particles": prod(whole.shape) / prod(plan.shape) / len(devices) / machines,
        "confidence": prod(whole.shape) / prod(plan.shape) / machines,
        "table": prod(whole.source) / prod(plan.source) / machines,
        "labels": prod(whole.source) / prod(plan.source) / machines,
        "table writing": prod(whole.source) / prod(plan.source),
        "size distribution": prod(whole.source) / prod(plan.source),
    }
    particles = ceil(len(found.particles) * by["table writing"])
    took, skipped = found.record.seconds or {}, found.patches.skipped
    seconds = {"gray scale": round(clock.seconds["gray scale"], 1)}
    if estimate_seconds is not None:
        seconds["size estimate"] = round(estimate_seconds, 1)
    seconds |= {stage: round(took[stage] * factor, 1) for stage, factor in by.items()}
    return Forecast(
        seconds=seconds | {"all": round(sum(seconds.values()), 1)},
        particles=particles,
        memory_bytes=memory_bytes(whole, config, volume.dtype.itemsize, particles),
        gpu_memory_bytes=gpu_bytes(whole, config, engine.spec, volume.dtype.itemsize),
        work_bytes=int(bytes_of["arrays"] * prod(whole.shape) / prod(plan.shape)),
        output_bytes=int(bytes_of["labels"] * by["table writing"]),
        patches_skipped=round(skipped / plan.patches, 3),
    )


def memory_bytes(plan: RunPlan, config: PredictConfig, bytes_per_voxel: int, particles: int | None = None) -> int:
    """Peak memory of a run on the host: what the hungriest of its stages holds.

    Args:
        plan: of the run.
        config: of the run.
        bytes_per_voxel: of the scan.
        particles: how many there will be; None takes as many as fill the scan.
    """
    return device_named(plan.devices[0]).host_peak_bytes(_needs(plan, config, bytes_per_voxel, particles=particles))


def gpu_bytes(plan: RunPlan, config: PredictConfig, spec: EngineSpec, bytes_per_voxel: int) -> int:
    """Peak memory of a run on each of its GPUs, 0 without one.

    Args:
        plan: of the run.
        config: of the run.
        spec: of the engine; what it does not say of its memory is taken as all that it may use.
        bytes_per_voxel: of the scan.
    """
    needs = _needs(plan, config, bytes_per_voxel, network_bytes=spec.memory_bytes or config.network_bytes)
    return device_named(plan.devices[0]).peak_bytes(needs)


def _needs(
    plan: RunPlan, config: PredictConfig, bytes_per_voxel: int, *, particles: int | None = None, network_bytes: int = 0
) -> RunNeeds:
    particles = plan.particles if particles is None else particles
    at_once = config.workers if config.workers > 1 else config.threads or usable_cores()
    chunks, planes = len(plan.chunks.boxes), plan.shard[0]
    return RunNeeds(
        sweep_bytes=plan.widest_plane * plan.column_bytes(bytes_per_voxel),
        slab_bytes=planes * (prod(plan.source[1:]) * bytes_per_voxel + len(NETWORK_ARRAYS) * prod(plan.shape[1:])),
        chunk_voxels=_chunk_voxels(plan),
        chunks=min(plan.budget.chunks_at_once, chunks),
        processes=plan.budget.processes,
        base_bytes=plan.memory.base_bytes,
        tasks_bytes=plan.memory.peak_bytes(0, at_once, chunks, particles),
        network_bytes=network_bytes,
    )


def _chunk_voxels(plan: RunPlan) -> int:
    """Voxels of the largest chunk with its halo."""
    return prod(min(n, c + 2 * HALO) for n, c in zip(plan.shape, plan.chunks.chunk, strict=True))


def _middle(shape: Zyx, plan: RunPlan, side: int) -> Box:
    """Box in the middle of the scan that is ``side`` voxels long on the normalized grid, or as long as the scan."""
    z, y, x = (
        ((n - length) // 2, length)
        for n, length in ((n, min(n, ceil(side / f))) for n, f in zip(shape, plan.zoom, strict=True))
    )
    return Box((z[0], y[0], x[0]), (sum(z), sum(y), sum(x)))


def _bytes_under(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

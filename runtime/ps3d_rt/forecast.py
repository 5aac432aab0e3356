"""What a run will take before it runs: a piece of the scan goes through every stage, and the rest is proportion."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from math import ceil, prod
from pathlib import Path
from typing import Any, final

import numpy as np

from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.engines.base import Engine
from ps3d_rt.io.labels_writer import LabelsZarr, create_labels
from ps3d_rt.io.volume import Volume
from ps3d_rt.io.zarr_store import ZarrStore
from ps3d_rt.model import ModelBundle
from ps3d_rt.pipeline import Job, Places, gray_scale_of, run_stages
from ps3d_rt.plan import HALO, SHARD, PredictConfig, RunPlan
from ps3d_rt.workers import usable_cores

TRIAL_SIDE = 176
"""Side of the piece, voxels of the normalized grid: a few dozen patches, some seconds."""

BASE_BYTES = 400 * 2**20
"""Interpreter, libraries and a small network, measured."""
CHUNK_BYTES_PER_VOXEL = 16
"""Of a chunk with its halo, while its particles grow; as stated in ``core/particles.py``."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a run should take."""

    seconds: dict[str, float]
    """Per stage, and ``all``."""
    memory_bytes: int
    """Peak of this process; workers need about as much together."""
    work_bytes: int
    """Disk space beside the output while the run lasts."""
    output_bytes: int
    """Disk space of the labels."""
    patches_skipped: float
    """Share of the patches without contrast, as in the piece."""


def forecast(volume: Volume, model: ModelBundle, engine: Engine, config: PredictConfig) -> Forecast:
    """Run a piece from the middle of the scan in a temporary folder, and scale what it took.

    The network goes by patches, the particles by normalized voxels, table and labels by source voxels.

    Raises:
        InputError: as a run would.
    """
    whole = RunPlan.of(volume.shape, volume.dtype.itemsize, model, config)
    scale = gray_scale_of(volume, model)
    alone = replace(config, workers=1, chunk=SHARD[0])
    with tempfile.TemporaryDirectory(prefix="ps3d-rt-plan-") as folder:
        # The first piece only loads what is compiled.
        for side, name in ((48, "warm-up"), (TRIAL_SIDE, "trial")):
            crop = _Crop(volume, _middle(volume.shape, whole, side))
            plan = RunPlan.of(crop.shape, volume.dtype.itemsize, model, alone)
            place = Path(folder) / name
            create_labels(place / "labels", "labels", crop.shape, config.spacing_mm)
            job = Job(volume=crop, model=model, engine=engine, config=alone, plan=plan, scale=scale)
            places = Places(
                store=ZarrStore(place / "arrays", plan.shape, plan.shard), labels=LabelsZarr(place / "labels")
            )
            _, run = run_stages(job, places)
        bytes_of = {kind: _bytes_under(place / kind) for kind in ("arrays", "labels")}
    by = {
        "network": whole.patches / plan.patches,
        "particles": prod(whole.shape) / prod(plan.shape),
        "table": prod(whole.source) / prod(plan.source),
        "labels": prod(whole.source) / prod(plan.source),
    }
    seconds = {stage: round(run["seconds"][stage] * factor, 1) for stage, factor in by.items()}
    return Forecast(
        seconds=seconds | {"all": round(sum(seconds.values()), 1)},
        memory_bytes=memory_bytes(whole, config, volume.dtype.itemsize),
        work_bytes=int(bytes_of["arrays"] * by["particles"]),
        output_bytes=int(bytes_of["labels"] * by["labels"]),
        patches_skipped=round(run["patches"]["skipped"] / run["patches"]["planned"], 3),
    )


def memory_bytes(plan: RunPlan, config: PredictConfig, bytes_per_voxel: int) -> int:
    """Peak memory of a run: what the hungrier of its two large stages holds.

    Args:
        plan: of the run.
        config: of the run.
        bytes_per_voxel: of the scan.
    """
    widest = max(prod(plan.lattice.read_box(sweep.write).shape[1:]) for sweep in plan.sweeps)
    network = config.workers * widest * plan.column_bytes(bytes_per_voxel)
    side = prod(min(n, c + 2 * HALO) for n, c in zip(plan.shape, plan.chunks.chunk, strict=True))
    at_once = config.workers if config.workers > 1 else config.threads or usable_cores()
    particles = min(at_once, len(plan.chunks.boxes)) * side * CHUNK_BYTES_PER_VOXEL
    return config.workers * BASE_BYTES + max(network, particles)


def _middle(shape: Zyx, plan: RunPlan, side: int) -> Box:
    """Box in the middle of the scan that is ``side`` voxels long on the normalized grid, or as long as the scan."""
    z, y, x = (
        ((n - length) // 2, length)
        for n, length in ((n, min(n, ceil(side / f))) for n, f in zip(shape, plan.zoom, strict=True))
    )
    return Box((z[0], y[0], x[0]), (sum(z), sum(y), sum(x)))


def _bytes_under(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@final
class _Crop(Volume):
    """A box of another volume."""

    def __init__(self, whole: Volume, box: Box) -> None:
        super().__init__(
            source=whole.source, name=whole.name, shape=box.shape, dtype=whole.dtype, spacing_mm=whole.spacing_mm
        )
        self._whole, self._box = whole, box

    def _read_into(self, out: np.ndarray[Any, Any], box: Box) -> None:
        z, y, x = self._box.start
        start = (z + box.start[0], y + box.start[1], x + box.start[2])
        out[...] = self._whole.read(
            Box(start, (start[0] + out.shape[0], start[1] + out.shape[1], start[2] + out.shape[2]))
        )

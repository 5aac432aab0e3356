"""The particle size of a run: estimated before it where it is not given, and compared with what was found after it."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from ps3d_rt.core.normalize import EmbeddingScale, GrayScale
from ps3d_rt.core.particle_size import Look, SizeEstimate, is_mismatch
from ps3d_rt.core.sample_table import SampleTable
from ps3d_rt.engines.base import Engine
from ps3d_rt.events import Listener, SizeEstimated, SizeTried
from ps3d_rt.io.base import Volume
from ps3d_rt.model import ModelBundle
from ps3d_rt.plan import PredictConfig
from ps3d_rt.stages.coarse import CoarsePass, estimate_particle_size
from ps3d_rt.stages.device import memory_limit
from ps3d_rt.workers import Workers


def estimate_size(
    volume: Volume,
    model: ModelBundle,
    engine: Engine,
    config: PredictConfig,
    scale: GrayScale | EmbeddingScale,
    tell: Listener,
) -> SizeEstimate:
    """Estimate the mean particle diameter by a coarse pass over the scan.

    It depends on the scan, the model and the engine, never on workers or chunks.

    Raises:
        InputError: if no particles are found.
    """
    coarse = CoarsePass(
        volume=volume,
        engine=engine,
        scale=scale,
        spacing_mm=config.spacing_mm,
        patch=model.patch,
        overlap=config.overlap,
        target_size_voxels=model.target_size_voxels,
        lowpass=model.lowpass,
        skip_empty=config.skip_empty,
        core_bias=model.core_bias,
        rules=model.rules,
    )

    def heard(value: object) -> None:
        if isinstance(value, Look):
            tell(SizeTried(value.assumed_mm, value.found_mm, value.particles))

    start = time.perf_counter()
    # In a thread of our own, as all that works on a GPU.
    with memory_limit(engine.spec.device, config.gpu_memory_bytes), Workers(threads=1) as worker:
        (found,) = worker.map(estimate_particle_size, [coarse], heard)
    tell(SizeEstimated(found.particle_size_mm, found.patches, round(time.perf_counter() - start, 3)))
    return found


def sizing_facts(config: PredictConfig, estimate: SizeEstimate | None, table: SampleTable) -> dict[str, Any]:
    """Say, for ``run.json``, how the particle size came about, and whether it fits the particles found."""
    told, found = config.particle_size_mm, float(table.equivalent_diameter_mm.mean()) if len(table) else None
    return {
        "how": "given" if estimate is None else "estimated",
        "mean_found_mm": found,
        "mismatch": told is not None and found is not None and is_mismatch(told, found),
        "looks": [] if estimate is None else [asdict(look) for look in estimate.looks],
    }

"""Results of a run: the table, the size distribution, dropped particles, and the record for ``run.json``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from ps3d_rt.core.cautions import SIZE_MISMATCH, Caution, find_cautions
from ps3d_rt.core.distribution import facts_by
from ps3d_rt.core.dropped import DroppedParticles
from ps3d_rt.core.measure import look_in
from ps3d_rt.core.planes import Slices
from ps3d_rt.core.sample_table import SampleTable
from ps3d_rt.core.scan_statistics import TileSums
from ps3d_rt.core.size_trials import is_mismatch
from ps3d_rt.events import SizeMismatch, Warned
from ps3d_rt.run_record import ModelRecord, PatchRecord, RunRecord, ScanRecord, SizeRecord
from ps3d_rt.stages.likeness import training_likeness
from ps3d_rt.stages.prediction import Prediction
from ps3d_rt.stages.run import Run
from ps3d_rt.stages.segment import PatchCount
from ps3d_rt.stages.table import Measured
from ps3d_rt.versions import versions


@dataclass(frozen=True)
class Outcome:
    """What a run gives beside the labels."""

    particles: SampleTable
    dropped: DroppedParticles
    patches: PatchCount
    record: RunRecord
    slices: list[Slices] | None
    """For the report; None if none were asked for."""


def summarize(run: Run, patches: PatchCount, measured: Measured, tiles: Sequence[TileSums]) -> Outcome:
    """Finish the table, and tell what a person must know before believing it."""
    prediction, plan, dropped = run.prediction, run.prediction.plan, measured.dropped
    with run.clock.stage("table writing", run.voxels):
        labels = run.storage.labels
        parts = [(box, partial(labels.read, box)) for box in labels.boxes(0)]
        table = measured.rows.finish(measured.id_map, look_in(parts))
    with run.clock.stage("size distribution", run.voxels):
        size, distribution = _size(prediction, table), facts_by(table, plan.source, prediction.config.sizes)
    volume, spec, config = prediction.volume, prediction.engine.spec, prediction.config
    record = RunRecord(
        date=run.began.isoformat(timespec="seconds"),
        scan=ScanRecord(
            name=volume.name,
            source=prediction.scan.get("path") or volume.source,
            shape=volume.shape,
            dtype=volume.dtype.name,
            spacing_mm=config.spacing_mm,
            selection=volume.selection,
        ),
        engine=asdict(spec),
        model=ModelRecord(name=prediction.model.name, sha256=prediction.model.hash_in(spec.choice)),
        gray=prediction.gray.facts(),
        parameters=_parameters(prediction),
        patches=PatchRecord(
            lattice=plan.lattice.count, planned=plan.patches, computed=patches.computed, skipped=patches.skipped
        ),
        seconds=dict(run.clock.seconds),
        engine_seconds=round(patches.engine_seconds, 3),
        versions=versions(),
        particle_size=size,
        size_distribution=distribution,
        particles=len(table),
        dropped=dropped.facts(),
        likeness=training_likeness(prediction, tiles, table),
    )
    cautions = [Caution("dropped", text) for text in dropped.warnings()]
    cautions += find_cautions(record.to_json(), table, distribution)
    _tell(run, size, cautions)
    record = replace(record, warnings=[*run.warnings, *(caution.text for caution in cautions)])
    return Outcome(table, dropped, patches, record, measured.slices)


def _tell(run: Run, size: SizeRecord, cautions: list[Caution]) -> None:
    """Say aloud what must be known; a mismatch of sizes has an event of its own."""
    for caution in cautions:
        if caution.kind != SIZE_MISMATCH:
            run.clock.on_event(Warned(caution.text, caution.kind))
    given = run.prediction.config.particle_size_mm
    if size.mismatch and given is not None and size.mean_found_mm is not None:
        run.clock.on_event(SizeMismatch(given, size.mean_found_mm))


def _size(prediction: Prediction, table: SampleTable) -> SizeRecord:
    told, estimate = prediction.config.particle_size_mm, prediction.estimate
    found = float(table.equivalent_diameter_mm.mean()) if len(table) else None
    return SizeRecord(
        how="given" if estimate is None else "estimated",
        mean_found_mm=found,
        mismatch=told is not None and found is not None and is_mismatch(told, found),
        trials=[] if estimate is None else [asdict(trial) for trial in estimate.trials],
    )


def _parameters(prediction: Prediction) -> dict[str, Any]:
    model, config, plan = prediction.model, prediction.config, prediction.plan
    return {
        "particle_size_mm": config.particle_size_mm,
        "target_size_voxels": model.target_size_voxels,
        "zoom": plan.zoom,
        "normalized_shape": plan.shape,
        "overlap": config.overlap,
        "skip_empty": config.skip_empty,
        "gray_scheme": model.gray_scheme,
        **{f"gray_{name}": value for name, value in asdict(prediction.gray.scale).items()},
        "min_relative_volume": model.min_relative_volume,
        "min_confidence": model.min_confidence,
        "min_diameter_voxels": model.min_diameter_voxels,
        "core_bias": model.core_bias,
        "workers": config.workers if config.cluster is None else config.cluster.workers,
        "memory_bytes": config.memory_bytes,
        "chunk_voxels": plan.chunks.chunk,
    }

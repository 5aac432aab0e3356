"""Scan, labels and table of a sample → phases proposed, or minerals found; nothing is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import prod
from typing import Any

import numpy as np

from ps3d_rt.clock import Clock
from ps3d_rt.core.minerals.frames import frames_of
from ps3d_rt.core.minerals.phases import AnchoredScale, PhaseList, Unit
from ps3d_rt.core.minerals.sample import MineralSample, statistics_of
from ps3d_rt.core.sample_table import SampleTable
from ps3d_rt.events import Warned
from ps3d_rt.io.base import Volume
from ps3d_rt.mineralogy.folder import Minerals
from ps3d_rt.run_record import RunRecord
from ps3d_rt.stages.gray_scale import analyze_gray
from ps3d_rt.stages.minerals import MineralsFound, MineralSource, find_minerals, propose_phases
from ps3d_rt.versions import versions

_LEAST_GAP = 2.0
"""Noise deviations between two peaks below which the bulk shares were found to be off by more than two points."""


@dataclass(frozen=True, kw_only=True)
class MeasuredScan:
    """A scan whose particles are known."""

    labels: Volume
    scan: Volume
    """Of the same voxels."""
    table: SampleTable
    """Of the labels."""
    record: RunRecord
    """Of the run that made the labels: the size of a voxel, and what the gray values told."""
    embedding: float | None = None
    """Gray value of the embedding; None: what the run found."""

    def source(self, unit: Unit) -> MineralSource:
        """Count its gray values from the embedding, in a unit."""
        z, y, x = (float(side) for side in self.record.scan.spacing_mm)
        return MineralSource(
            labels=self.labels,
            scan=self.scan,
            particles=len(self.table),
            spacing_mm=(z, y, x),
            scale=scale_of(self.record, self.scan, unit, self.embedding),
        )


def propose(given: MeasuredScan, most: int, unit: Unit, clock: Clock) -> PhaseList:
    """Propose at most so many phases; a person has to look at them.

    Raises:
        InputError: if there is too little to propose from.
    """
    shape = given.scan.shape
    with clock.stage("phases", prod(shape), shape[0], "planes") as advance:
        return propose_phases(given.source(unit), most, unit, advance)


def find(given: MeasuredScan, phases: PhaseList, clock: Clock, *, edge_correction: bool) -> Minerals:
    """Find the minerals of every particle and of the sample.

    Args:
        given: scan and labels.
        phases: which gray values are which mineral.
        clock: of the run; hears the warnings, too.
        edge_correction: leave out particles that a face cuts, and weigh the others for them.

    Raises:
        InputError: if a phase is not to be found, or no particle counts.
    """
    source, shape = given.source(phases.unit), given.scan.shape
    with clock.stage("minerals", prod(shape), shape[0], "planes") as advance:
        found = find_minerals(source, phases, advance)
        sample = MineralSample.from_table(found.table, given.table, shape if edge_correction else None)
        frames = frames_of(sample, statistics_of(sample))
    record = _record(given, found, source.scale, phases, edge_correction=edge_correction)
    for text in record["warnings"]:
        clock.on_event(Warned(text))
    return Minerals(particles=found.table, frames=frames, record=record)


def scale_of(record: RunRecord, scan: Volume, unit: Unit, embedding: float | None) -> AnchoredScale:
    """Count gray values from the embedding that the run found; an output that does not say is looked at again."""
    facts = dict(record.gray or {})
    if not {"embedding", "noise", "contrast"} <= facts.keys():
        return scale_of_volume(scan, unit, embedding)
    return _scale(facts, unit, embedding)


def scale_of_volume(scan: Volume, unit: Unit, embedding: float | None) -> AnchoredScale:
    """Find the embedding of a scan, whatever a model does with gray values, and count from it.

    Raises:
        InputError: if the scan has no contrast.
    """
    return _scale(analyze_gray(scan, _OwnScale()).facts(), unit, embedding)


def _scale(facts: Mapping[str, Any], unit: Unit, embedding: float | None) -> AnchoredScale:
    gray = float(facts["embedding"]) if embedding is None else embedding
    sign = -1 if facts.get("dark") else 1
    per_unit = float(facts["contrast"]) if unit == "contrast" else 1.0
    return AnchoredScale(gray, sign * per_unit, float(facts["noise"]) / per_unit)


@dataclass(frozen=True)
class _OwnScale:
    """The gray scheme of a volume that no model has a say in."""

    name: str = "minerals"
    gray_scheme: str = "embedding"
    gray_mean: float | None = None
    gray_std: float | None = None
    gray_floor: float | None = None
    gray_ceiling: float | None = None


def _record(
    given: MeasuredScan, found: MineralsFound, scale: AnchoredScale, phases: PhaseList, *, edge_correction: bool
) -> dict[str, Any]:
    unsure = [
        f"{phase.name}: its peak is only {gap:.1f} noise deviations from the next darker one; its share may be some "
        "points off. Averaging the scan, or one phase for both, makes it surer."
        for phase, gap in zip(phases.phases, np.diff(found.mixture.peaks) / scale.noise, strict=True)
        if gap < _LEAST_GAP
    ]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "scan": given.record.scan.name,
        "phases": phases.to_json(),
        "peaks": [round(float(peak), 6) for peak in found.mixture.peaks],
        "widths": [round(float(width), 6) for width in found.mixture.widths],
        "void_found": found.void,
        "embedding_gray": scale.embedding,
        "gray_per_unit": scale.gray_per_unit,
        "noise": scale.noise,
        "edge_correction": edge_correction,
        "particles": len(found.table),
        "warnings": unsure,
        "versions": versions(),
    }

"""Minerals of an output of ``predict``: read its labels and its scan again, and write tables into it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ps3d_rt.clock import Clock
from ps3d_rt.core.minerals.frames import frames_of
from ps3d_rt.core.minerals.phases import AnchoredScale, PhaseList, Unit
from ps3d_rt.core.minerals.sample import MineralSample, statistics_of
from ps3d_rt.errors import InputError
from ps3d_rt.events import Listener, Warned, ignore
from ps3d_rt.io.base import SpacingMm, Volume
from ps3d_rt.io.phases import NAME as PHASES
from ps3d_rt.io.phases import UsualMineral, read_phases, usual_minerals, write_phases
from ps3d_rt.mineral_folder import FOLDER, Minerals, write_minerals
from ps3d_rt.output import Output, open_output
from ps3d_rt.run_record import RunRecord
from ps3d_rt.stages.gray_scale import analyze_gray
from ps3d_rt.stages.minerals import MineralsFound, MineralSource, find_minerals, propose_phases
from ps3d_rt.versions import versions


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How an output is read, and what may be replaced in it."""

    image: Path | None = None
    """The scan; None: where the run found it."""
    embedding: float | None = None
    """Gray value of the embedding; None: what the run found."""
    overwrite: bool = False
    """Replace phases or minerals that are there."""
    on_event: Listener = ignore
    """Called with every event."""


def propose(
    folder: Path,
    most: int,
    unit: Unit = "gray",
    named: Sequence[UsualMineral] = (),
    options: ReadOptions | None = None,
) -> PhaseList:
    """Propose the phases of an output, and write them to its ``phases.json``; nothing else is done with them.

    Args:
        folder: the output.
        most: phases at most.
        unit: of the ranges.
        named: minerals that give the phases their names and densities, the darkest first.
        options: how it is read; None: the defaults.

    Raises:
        InputError: if the folder is not an output, the scan is not there, or the names do not fit.
    """
    options, target = options or ReadOptions(), folder / PHASES
    if target.exists() and not options.overwrite:
        raise InputError(
            f"{target} exists; accept it with `ps3d-rt minerals {folder} --phases {target}`, or pass --overwrite."
        )
    with _source(folder, unit, options) as (_, source):
        shape = source.scan.shape
        with Clock(options.on_event).stage("phases", prod(shape), shape[0], "planes") as advance:
            found = propose_phases(source, most, unit, advance)
    if named:
        found = _named(found, named)
    write_phases(found, target, overwrite=options.overwrite)
    return found


def usual_by_name(names: Sequence[str], kilovolts: int) -> list[UsualMineral]:
    """Look up minerals of the table that comes with ps3d-rt, and put them in the order of their attenuation.

    Args:
        names: in any order.
        kilovolts: of the tube.

    Raises:
        InputError: if the table lacks a name or the voltage.
    """
    usual = usual_minerals(kilovolts)
    known = {mineral.name: mineral for mineral in usual}
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"{unknown[0]} is not in the table of minerals; it has {', '.join(known)}.")
    return [mineral for mineral in usual if mineral.name in names]


def _named(phases: PhaseList, minerals: Sequence[UsualMineral]) -> PhaseList:
    if len(minerals) != len(phases.phases):
        ranges = ", ".join(f"{phase.low:g} to {phase.high:g}" for phase in phases.phases)
        raise InputError(
            f"{len(minerals)} names are given and {len(phases.phases)} phases were found ({ranges}); give as many "
            "names (minerals that the scan cannot tell apart as one), or none."
        )
    named = [
        replace(phase, name=mineral.name, density_g_per_cm3=mineral.density_g_per_cm3)
        for phase, mineral in zip(phases.phases, minerals, strict=True)
    ]
    return replace(phases, phases=tuple(named))


def minerals_of(
    folder: Path, phases: PhaseList, *, edge_correction: bool = True, options: ReadOptions | None = None
) -> Minerals:
    """Find the minerals of an output and write them into it.

    Args:
        folder: the output.
        phases: which gray values are which mineral.
        edge_correction: leave out particles that a face cuts, and weigh the others for them.
        options: how it is read; None: the defaults.

    Raises:
        InputError: if the folder is not an output, the scan is not there, minerals are, or a phase is not to be found.
    """
    options, target = options or ReadOptions(), folder / FOLDER
    if target.exists() and not options.overwrite:
        raise InputError(f"{target} exists; pass --overwrite to replace it.")
    with _source(folder, phases.unit, options) as (output, source):
        scan, scale = source.scan, source.scale
        with Clock(options.on_event).stage("minerals", prod(scan.shape), scan.shape[0], "planes") as advance:
            found = find_minerals(source, phases, advance)
        shape = output.labels.shape if edge_correction else None
        sample = MineralSample.from_table(found.table, output.table, shape)
        frames = frames_of(sample, statistics_of(sample))
        record = _record(output, found, scale, phases, edge_correction=edge_correction)
    for text in record["warnings"]:
        options.on_event(Warned(text))
    result = Minerals(particles=found.table, frames=frames, record=record)
    write_minerals(result, folder, overwrite=options.overwrite)
    return result


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


@contextmanager
def _source(folder: Path, unit: Unit, options: ReadOptions) -> Iterator[tuple[Output, MineralSource]]:
    """Open an output, its labels and its scan."""
    with open_output(folder, options.image) as output:
        scan = _scan(output)
        yield (
            output,
            MineralSource(
                labels=output.labels,
                scan=scan,
                particles=len(output.table),
                spacing_mm=_spacing(output.record),
                scale=scale_of(output.record, scan, unit, options.embedding),
            ),
        )


def _scan(output: Output) -> Volume:
    if output.scan is None:
        raise InputError(
            f"the scan is not at {output.record.scan.source}, and minerals are read from its gray values; "
            "give it with --image."
        )
    return output.scan


def _spacing(record: RunRecord) -> SpacingMm:
    z, y, x = (float(side) for side in record.scan.spacing_mm)
    return z, y, x


def _record(
    output: Output, found: MineralsFound, scale: AnchoredScale, phases: PhaseList, *, edge_correction: bool
) -> dict[str, Any]:
    unread = [
        f"{phase.name}: its peak is only {gap:.1f} noise deviations from the next darker one; its share may be some "
        "points off. Averaging the scan, or one phase for both, makes it surer."
        for phase, gap in zip(phases.phases, np.diff(found.mixture.peaks) / scale.noise, strict=True)
        if gap < _LEAST_GAP
    ]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "scan": output.record.scan.name,
        "phases": phases.to_json(),
        "peaks": [round(float(peak), 6) for peak in found.mixture.peaks],
        "widths": [round(float(width), 6) for width in found.mixture.widths],
        "void_found": found.void,
        "embedding_gray": scale.embedding,
        "gray_per_unit": scale.gray_per_unit,
        "noise": scale.noise,
        "edge_correction": edge_correction,
        "particles": len(found.table),
        "warnings": unread,
        "versions": versions(),
    }


_LEAST_GAP = 2.0
"""Noise deviations between two peaks below which the bulk shares were found to be off by more than two points."""


def phases_for(folder: Path, given: Path | None) -> PhaseList:
    """Read the phases that are given, or those of the output.

    Raises:
        InputError: if there are none.
    """
    path = folder / PHASES if given is None else given
    return read_phases(path)

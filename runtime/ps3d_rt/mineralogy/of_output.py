"""Minerals of an output of ``predict``: read its labels and its scan again, and write tables into it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ps3d_rt.clock import Clock
from ps3d_rt.core.distribution import PLAIN_SIZES, SizeOptions
from ps3d_rt.core.minerals.phases import AutoPhases, PhaseList, PhasesAsked, Unit
from ps3d_rt.errors import InputError
from ps3d_rt.events import Listener, ignore
from ps3d_rt.io.atomic_write import atomic_write
from ps3d_rt.io.phases import NAME as PHASES
from ps3d_rt.io.phases import UsualMineral, usual_minerals, write_phases
from ps3d_rt.mineralogy import measured
from ps3d_rt.mineralogy.folder import FOLDER, Minerals, write_minerals
from ps3d_rt.mineralogy.measured import MeasuredScan
from ps3d_rt.mineralogy.step import facts_of, with_minerals
from ps3d_rt.output import open_output, report_again
from ps3d_rt.run_folder import MARK
from ps3d_rt.run_record import RunRecord


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
    with _opened(folder, options) as given:
        found = measured.propose(given, most, unit, Clock(options.on_event))
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
    with _opened(folder, options) as given:
        result = measured.find(given, phases, Clock(options.on_event), edge_correction=edge_correction)
    write_minerals(result, folder, overwrite=options.overwrite)
    record = with_minerals(given.record, facts_of(result))
    with atomic_write(folder / MARK, overwrite=True) as partial:
        record.write(partial)
    with Clock(options.on_event).stage("report", 0):
        report_again(folder, options.image, sizes=_sizes_of(record))
    return result


def add_to_output(folder: Path, asked: PhasesAsked, scan: Path, on_event: Listener, *, edge_correction: bool) -> None:
    """Do what ``predict`` would have done if it had been asked for minerals.

    Args:
        folder: the output.
        asked: phases to find, or how many to propose.
        scan: of the output.
        on_event: called with every event.
        edge_correction: as for :func:`minerals_of`.

    Raises:
        InputError: as :func:`propose` and :func:`minerals_of`.
    """
    options = ReadOptions(image=scan, overwrite=True, on_event=on_event)
    if isinstance(asked, AutoPhases):
        propose(folder, asked.most, options=options)
    else:
        minerals_of(folder, asked, edge_correction=edge_correction, options=options)


def _sizes_of(record: RunRecord) -> SizeOptions:
    """Options of the size distribution as the run had them."""
    return SizeOptions.from_facts(record.size_distribution) if record.size_distribution else PLAIN_SIZES


@contextmanager
def _opened(folder: Path, options: ReadOptions) -> Iterator[MeasuredScan]:
    with open_output(folder, options.image) as output:
        if output.scan is None:
            raise InputError(
                f"the scan is not at {output.record.scan.source}, and minerals are read from its gray values; "
                "give it with --image."
            )
        yield MeasuredScan(
            labels=output.labels,
            scan=output.scan,
            table=output.table,
            record=output.record,
            embedding=options.embedding,
        )

"""Minerals as the last step of a run: into the output that it makes, into its report and ``run.json``."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ps3d_rt.clock import Clock
from ps3d_rt.core.minerals.phases import AutoPhases, PhaseList, PhasesAsked
from ps3d_rt.errors import InputError
from ps3d_rt.events import Warned
from ps3d_rt.io.phases import NAME as PHASES
from ps3d_rt.io.phases import write_phases
from ps3d_rt.mineralogy.folder import FOLDER, Minerals, write_minerals
from ps3d_rt.mineralogy.measured import MeasuredScan, find, propose
from ps3d_rt.mineralogy.pictures import draw_minerals
from ps3d_rt.run_record import RunRecord


def add_minerals(
    given: MeasuredScan, asked: PhasesAsked | None, output: Path, clock: Clock, *, edge_correction: bool
) -> tuple[RunRecord, Markup]:
    """Write minerals, or proposed phases, into an unfinished output, in place of what a stopped run left there.

    Args:
        given: scan and labels.
        asked: phases to find, or how many to propose; None: nothing is done.
        output: the folder.
        clock: of the run.
        edge_correction: see :func:`ps3d_rt.mineralogy.measured.find`.

    Returns:
        The record of the run with what was done, and the section of the report if minerals were found.

    Raises:
        InputError: if there is too little to propose from, or a phase is not to be found; the labels are kept.
    """
    shutil.rmtree(output / FOLDER, ignore_errors=True)
    (output / PHASES).unlink(missing_ok=True)
    if asked is None:
        return given.record, Markup()
    try:
        if isinstance(asked, AutoPhases):
            phases = propose(given, asked.most, "gray", clock)
            write_phases(phases, output / PHASES)
            facts = _proposed(phases)
            clock.on_event(Warned(facts["warnings"][0]))
            return with_minerals(given.record, facts), Markup()
        minerals = find(given, asked, clock, edge_correction=edge_correction)
    except InputError as error:
        raise InputError(f"{error} The labels are done: the same command with other --phases goes on there.") from error
    write_minerals(minerals, output)
    section = draw_minerals(minerals, given.labels, given.scan, given.table)
    return with_minerals(given.record, facts_of(minerals)), section


def facts_of(minerals: Minerals) -> dict[str, Any]:
    """Say for ``run.json`` what was found."""
    composition = minerals.frames["composition"]
    shares = zip(composition["mineral"].tolist(), composition["volume_share"].tolist(), strict=True)
    return {
        "phases": minerals.record["phases"],
        "composition": {name: round(share, 6) for name, share in shares},
        "warnings": minerals.record["warnings"],
    }


def _proposed(phases: PhaseList) -> dict[str, Any]:
    said = (
        f"{PHASES} is a proposal of {len(phases.phases)} phase(s), and nothing was measured with it: look at the "
        "ranges, name the phases, then run `ps3d-rt minerals` on the output."
    )
    return {"proposed": phases.to_json(), "warnings": [said]}


def with_minerals(record: RunRecord, facts: Mapping[str, Any]) -> RunRecord:
    """Put what was found into a record, and its warnings among the others, in place of those of an earlier time."""
    before = (record.minerals or {}).get("warnings", ())
    others = [text for text in record.warnings or () if text not in before]
    return replace(record, minerals=facts, warnings=[*others, *facts["warnings"]])


def has_minerals(folder: Path, record: RunRecord, asked: PhasesAsked | None) -> bool:
    """Whether an output has what was asked for; a proposal is not made again where phases or minerals are."""
    if asked is None:
        return True
    found = record.minerals or {}
    if isinstance(asked, AutoPhases):
        return bool(found) or (folder / PHASES).exists()
    return found.get("phases") == asked.to_json()

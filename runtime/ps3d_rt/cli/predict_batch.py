"""``ps3d-rt predict`` for a folder of scans."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from ps3d_rt.batch.engine_pool import EnginePool
from ps3d_rt.batch.listing import list_samples
from ps3d_rt.batch.page import render_summary
from ps3d_rt.batch.run import run_batch
from ps3d_rt.batch.samples import Part
from ps3d_rt.batch.summary import PAGE_NAME, Row, counts, mixed, rows_of, to_json, write_summary
from ps3d_rt.cli.progress import listening, warn
from ps3d_rt.cli.results import for_people, open_page, print_table
from ps3d_rt.errors import InputError, SamplesFailed, cannot_write
from ps3d_rt.predict_options import PredictOptions
from ps3d_rt.report.formatting import ABSENT, count, duration, unit_for


@dataclass(frozen=True)
class BatchOptions:
    """What the command was told about the batch as a whole."""

    samples: Path | None
    part: str | None
    merge: bool
    overwrite: bool
    open_report: bool
    as_json: bool


def predict_batch(folder: Path, out: Path, options: PredictOptions, chosen: BatchOptions) -> None:
    """Do the samples of a folder, or its part of them, and write the summary.

    Raises:
        SamplesFailed: if one could not be done, or with ``--merge`` is not done yet; the others are.
        Ps3dError: if the batch as a whole cannot go on.
    """
    _check(options, chosen)
    part = None if chosen.part is None else Part.parse(chosen.part)
    samples = list_samples(folder, chosen.samples)
    mine = samples if part is None else part.take(samples)
    if not chosen.merge:
        with listening() as on_event, EnginePool(options) as pool:
            run_batch(mine, out, pool, options, overwrite=chosen.overwrite, on_event=on_event)
    rows = rows_of(mine, out)
    if part is None:
        _write(rows, out)
        if chosen.open_report:
            open_page(out / PAGE_NAME)
    _print(rows, as_json=chosen.as_json)
    _check_all_done(rows, part)


def _check(options: PredictOptions, chosen: BatchOptions) -> None:
    for given, option in ((options.mask, "--mask"), (options.roi, "--roi")):
        if given is not None:
            raise InputError(f"{option} is for one scan, and this is a batch of several: leave it out.")
    if chosen.merge and chosen.part is not None:
        raise InputError("--merge is for all parts together: leave --part out.")


def _write(rows: Sequence[Row], out: Path) -> None:
    try:
        write_summary(rows, out, render_summary(rows, out))
    except OSError as error:
        raise cannot_write(out, error) from error


def _print(rows: Sequence[Row], *, as_json: bool) -> None:
    warn(*mixed(rows))
    if not for_people(as_json=as_json):
        typer.echo(json.dumps(to_json(rows), indent=2, allow_nan=False))
        return
    print_table(("Sample", "Particles", "D50 by volume", "Warnings", "Time", "State"), [_cells(row) for row in rows])


def _cells(row: Row) -> tuple[str, ...]:
    d50 = row.d50_by_volume_mm
    return (
        row.name,
        ABSENT if row.particles is None else count(row.particles),
        ABSENT if d50 is None else unit_for(d50).show(d50),
        ABSENT if row.warnings is None else str(row.warnings),
        ABSENT if row.seconds is None else duration(row.seconds),
        row.state if row.error is None else f"failed: {row.error}",
    )


def _check_all_done(rows: Sequence[Row], part: Part | None) -> None:
    found = counts(rows)
    less = found["failed"] + found["missing"]
    if less:
        cure = "each is listed with its cure" if part is not None else f"{PAGE_NAME} lists each with its cure"
        raise SamplesFailed(
            f"{less} of {found['samples']} samples are not done; {cure}, and the same command does only those again."
        )

"""A row for every sample of a batch: for a table, a CSV, a JSON file and a page."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ps3d_rt.batch.request import record_of
from ps3d_rt.batch.run import failure_of
from ps3d_rt.batch.samples import Sample
from ps3d_rt.core.distribution import SizeSample
from ps3d_rt.core.sample_table import SampleTable
from ps3d_rt.errors import InputError
from ps3d_rt.io.atomic_write import atomic_write
from ps3d_rt.io.stored_table import StoredTable
from ps3d_rt.io.table import PARQUET_NAME
from ps3d_rt.run_record import RunRecord

CSV_NAME, JSON_NAME, PAGE_NAME = "summary.csv", "summary.json", "summary.html"
CURVE_POINTS = 48
_SIZES = ("d10_by_volume_mm", "d50_by_volume_mm", "d90_by_volume_mm", "d50_by_number_mm")

Points = tuple[tuple[float, float], ...]
"""Diameter in mm, share of the particle volume up to it."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What the summary says of one sample."""

    name: str
    state: Literal["done", "failed", "missing"]
    particles: int | None = None
    dropped: int | None = None
    d10_by_volume_mm: float | None = None
    d50_by_volume_mm: float | None = None
    d90_by_volume_mm: float | None = None
    d50_by_number_mm: float | None = None
    particle_size_mm: float | None = None
    spacing_mm: tuple[float, ...] | None = None
    model: str | None = None
    engine: str | None = None
    version: str | None = None
    warnings: int | None = None
    seconds: float | None = None
    date: str | None = None
    error: str | None = None
    """Why it failed, with the cure."""


def rows_of(samples: Sequence[Sample], out: Path) -> list[Row]:
    """Say of every sample what became of it, in the order of the list."""
    return [_row(sample.name, out) for sample in samples]


def _row(name: str, out: Path) -> Row:
    problem = failure_of(out, name)
    if problem is not None:
        return Row(name=name, state="failed", error=problem)
    record = record_of(out / name)
    return Row(name=name, state="missing") if record is None else row_of(name, record)


def row_of(name: str, record: RunRecord) -> Row:
    """Take the row of a sample that is done from its ``run.json``."""
    sizes, engine = record.size_distribution or {}, record.engine or {}
    return Row(
        name=name,
        state="done",
        particles=record.particles,
        dropped=(record.dropped or {}).get("particles"),
        **{key: sizes.get(key) for key in _SIZES},
        particle_size_mm=(record.parameters or {}).get("particle_size_mm"),
        spacing_mm=tuple(record.scan.spacing_mm),
        model=None if record.model is None else record.model.name,
        engine=f"{engine['name']} {engine['precision']}" if {"name", "precision"} <= engine.keys() else None,
        version=(record.versions or {}).get("ps3d-rt"),
        warnings=len(record.warnings or ()),
        seconds=(record.seconds or {}).get("all"),
        date=record.date,
    )


def counts(rows: Sequence[Row]) -> dict[str, int]:
    """Count the samples by what became of them."""
    states = [row.state for row in rows]
    return {"samples": len(rows)} | {state: states.count(state) for state in ("done", "failed", "missing")}


def mixed(rows: Sequence[Row]) -> list[str]:
    """Say what differs between samples that should be compared with care, a sentence each."""
    told = []
    for name, key in (("models", "model"), ("engines", "engine"), ("versions of ps3d-rt", "version")):
        values = sorted({str(getattr(row, key)) for row in rows if row.state == "done" and getattr(row, key)})
        if len(values) > 1:
            told.append(f"The samples were made by several {name}: {', '.join(values)}; compare them with care.")
    return told


def size_curve(table: SampleTable, sizes: Mapping[str, Any], shape: Sequence[int]) -> Points:
    """Give the cumulative distribution by volume at diameters that are evenly spread on a logarithmic axis."""
    whole = (int(shape[0]), int(shape[1]), int(shape[2])) if sizes.get("edge_correction") else None
    sample = SizeSample.from_table(table, whole, sieve=sizes.get("diameter") == "sieve")
    if not len(sample.voxels):
        return ()
    by_volume = sample.curves()[1]
    at = np.geomspace(by_volume.diameters_mm[0], by_volume.diameters_mm[-1], CURVE_POINTS)
    at[-1] = by_volume.diameters_mm[-1]
    return tuple(zip(at.tolist(), by_volume.up_to(at).tolist(), strict=True))


def curve_of(folder: Path) -> Points:
    """Read the curve of a sample that is done; nothing if its table is gone or damaged."""
    record = record_of(folder)
    try:
        table = StoredTable(folder / PARQUET_NAME)
        return () if record is None else size_curve(table, record.size_distribution or {}, record.scan.shape)
    except (OSError, InputError):
        return ()


def to_csv(rows: Sequence[Row]) -> str:
    """Write the rows as CSV with a heading; what is not known is empty, a spacing is z y x."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [*Row.__dataclass_fields__], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        values = asdict(row)
        writer.writerow(values | {"spacing_mm": " ".join(map(str, row.spacing_mm or ()))} | _harmless(row))
    return text.getvalue()


def _harmless(row: Row) -> dict[str, str | None]:
    """Keep texts from being taken for formulas by a spreadsheet."""
    texts = {"name": row.name, "error": row.error}
    return {key: f"'{text}" if text and text[0] in "=+-@\t\r" else text for key, text in texts.items()}


def to_json(rows: Sequence[Row]) -> dict[str, Any]:
    """Give the summary as JSON holds it."""
    return {"schema_version": 1, **counts(rows), "warnings": mixed(rows), "rows": [asdict(row) for row in rows]}


def write_summary(rows: Sequence[Row], out: Path, page: str) -> None:
    """Write the CSV, the JSON file and the page to OUT, each whole or not at all.

    Raises:
        OSError: if one cannot be written.
    """
    contents = {
        CSV_NAME: to_csv(rows),
        JSON_NAME: json.dumps(to_json(rows), indent=2, allow_nan=False) + "\n",
        PAGE_NAME: page,
    }
    for name, text in contents.items():
        with atomic_write(out / name, overwrite=True) as unfinished:
            unfinished.write_text(text, encoding="utf-8", newline="\n")

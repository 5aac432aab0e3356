"""The folder ``minerals`` of an output, whole or not there at all.

It holds::

    minerals.parquet, .csv      one row a particle
    composition, liberation, yield, association, sizes, grade_by_size   .parquet and .csv, of the sample
    minerals.json               phases, peaks, gray scale, versions
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ps3d_rt.core.minerals.frames import Frame
from ps3d_rt.core.minerals.phases import PhaseList
from ps3d_rt.core.minerals.table import MineralTable, table_of
from ps3d_rt.errors import InputError
from ps3d_rt.io.atomic_write import atomic_write
from ps3d_rt.io.frames import read_frame, write_frame
from ps3d_rt.io.json_text import read_json

FOLDER = "minerals"
TABLE = "minerals"
RECORD = "minerals.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class Minerals:
    """The minerals of a sample."""

    particles: MineralTable
    """One row a particle."""
    frames: dict[str, Frame]
    """Tables of the sample, by the names of :data:`ps3d_rt.core.minerals.frames.NAMES`."""
    record: dict[str, Any]
    """The content of ``minerals.json``."""


def write_minerals(minerals: Minerals, folder: Path, *, overwrite: bool = False) -> None:
    """Write the folder into an output.

    Raises:
        InputError: if it is there and ``overwrite`` is not given.
    """
    with atomic_write(folder / FOLDER, overwrite=overwrite) as partial:
        partial.mkdir()
        write_frame(minerals.particles.columns(), partial, TABLE)
        for name, frame in minerals.frames.items():
            write_frame(frame, partial, name)
        text = json.dumps(minerals.record, indent=2, allow_nan=False) + "\n"
        (partial / RECORD).write_text(text, encoding="utf-8", newline="\n")


def read_minerals(folder: Path) -> Minerals | None:
    """Read the minerals of an output; None if it has none.

    Raises:
        InputError: if they are damaged.
    """
    place = folder / FOLDER
    if not place.is_dir():
        return None
    try:
        record = read_json(place / RECORD)
        phases = PhaseList.from_json(record["phases"], str(place / RECORD))
        particles = table_of(read_frame(place / f"{TABLE}.parquet"), phases)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{place} is damaged; run `ps3d-rt minerals` again with --overwrite – {error}") from error
    frames = {path.stem: read_frame(path) for path in sorted(place.glob("*.parquet")) if path.stem != TABLE}
    return Minerals(particles=particles, frames=frames, record=record)

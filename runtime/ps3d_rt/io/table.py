"""The particle table on disk: ``particles.parquet`` to compute with, ``particles.csv`` to look at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from ps3d_rt.core.measure import ParticleTable
from ps3d_rt.errors import InputError

PARQUET_NAME = "particles.parquet"
CSV_NAME = "particles.csv"
OPTIONAL_COLUMNS = frozenset({"gray_mean"})


def write_table(table: ParticleTable, folder: str | Path, *, overwrite: bool = False) -> tuple[Path, Path]:
    """Write the table as parquet and as CSV: same columns, same rows, units in the column names.

    Args:
        table: one row a particle.
        folder: made if it does not exist.
        overwrite: replace files of an earlier run.

    Returns:
        The parquet file and the CSV file. Each is written under a temporary name and renamed when complete.

    Raises:
        InputError: if a file is there already and ``overwrite`` is not given, or ``folder`` is a file.
    """
    targets = free_targets(folder, overwrite=overwrite)
    Path(folder).mkdir(parents=True, exist_ok=True)
    rows = pa.table(table.columns())
    _write_whole(targets[0], lambda path: parquet.write_table(rows, path))
    _write_whole(targets[1], lambda path: csv.write_csv(rows, path, csv.WriteOptions(quoting_style="none")))
    return targets


def free_targets(folder: str | Path, *, overwrite: bool = False) -> tuple[Path, Path]:
    """Return the files that :func:`write_table` will write; call it before long work, so that a conflict shows at once.

    Raises:
        InputError: as :func:`write_table`.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give the folder that the table goes into.")
    targets = folder / PARQUET_NAME, folder / CSV_NAME
    for target in targets:
        if target.exists() and not overwrite:
            raise InputError(f"{target} exists and is kept; choose another folder or pass --overwrite.")
    return targets


def _write_whole(target: Path, write: Callable[[Path], None]) -> None:
    """Write beside the target and rename: a file that exists is complete."""
    partial = target.with_name(f".{target.name}.partial")
    try:
        write(partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def read_table(path: str | Path) -> ParticleTable:
    """Read a table that :func:`write_table` wrote.

    Args:
        path: the parquet file, or the folder it is in.

    Raises:
        InputError: if the file is missing, is not parquet, or lacks a column.
    """
    path = Path(path)
    path = path / PARQUET_NAME if path.is_dir() else path
    if not path.is_file():
        raise InputError(f"{path} does not exist; make the table with `ps3d-rt measure`, or give its folder.")
    try:
        rows = parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path} cannot be read as parquet ({error}); make it again with `ps3d-rt measure`."
        ) from error
    names = set(get_type_hints(ParticleTable))
    missing = sorted(names - OPTIONAL_COLUMNS - set(rows.column_names))
    if missing:
        raise InputError(
            f"{path} lacks the columns {', '.join(missing)}; a particle table has {', '.join(sorted(names))}. "
            "Make it again with `ps3d-rt measure`."
        )
    return ParticleTable(**{name: np.asarray(rows[name].to_numpy()) for name in rows.column_names if name in names})

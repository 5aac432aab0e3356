"""The particle table on disk: ``particles.parquet`` to compute with, ``particles.csv`` to look at.

Both have the same rows and columns; the CSV is rounded to significant digits. ``particles_short.csv`` has the columns
that are looked at most. Only parquet holds more than one number a particle: the lists ``contact_label`` and
``contact_label_faces``, and ``gray_histogram``, whose bins are in the file's metadata. NaN is null in parquet and an
empty field in CSV, so that programs leave it out of means and sums.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from ps3d_rt.core.column_facts import PARTICLE_COLUMNS, SHORT_COLUMNS
from ps3d_rt.core.contacts import Contacts
from ps3d_rt.core.dropped import DroppedParticles
from ps3d_rt.core.gray import GrayBins
from ps3d_rt.core.measure import NO_COLUMNS, ParticleTable
from ps3d_rt.errors import InputError
from ps3d_rt.io.atomic_write import atomic_write
from ps3d_rt.io.csv_table import COMMA, CsvDialect, CsvTable
from ps3d_rt.io.read_errors import words_of

PARQUET_NAME = "particles.parquet"
CSV_NAME = "particles.csv"
SHORT_NAME = "particles_short.csv"
DROPPED_NAME = "dropped.parquet"
CONTACTS = ("contact_label", "contact_label_faces")
HISTOGRAM = "gray_histogram"
FOREGROUND = b"ps3d_rt.foreground_voxels"
BINS = b"ps3d_rt.gray_bins"
"""Key of the metadata of a parquet file: the lower edge of the first bin and the width of all, as JSON."""


def write_table(
    table: ParticleTable, folder: str | Path, *, overwrite: bool = False, dialect: CsvDialect = COMMA
) -> tuple[Path, Path]:
    """Write the table as parquet and as CSV, whole and short; units are in the column names.

    Args:
        table: one row a particle.
        folder: made if it does not exist.
        overwrite: replace files of an earlier run.
        dialect: of the CSV files.

    Returns:
        The parquet file and the whole CSV file. Each is written under a temporary name and renamed when complete.

    Raises:
        InputError: if a file is there already and ``overwrite`` is not given, or ``folder`` is a file.
    """
    return write_tables([table], folder, overwrite=overwrite, dialect=dialect)


def write_tables(
    tables: Iterable[ParticleTable], folder: str | Path, *, overwrite: bool = False, dialect: CsvDialect = COMMA
) -> tuple[Path, Path]:
    """Write a table whose rows come in several tables, one or more; each is a row group of the parquet file.

    Args:
        tables: taken one after the other; only one is in memory.
        folder: as for :func:`write_table`, as the rest.
        overwrite: as there.
        dialect: as there.
    """
    targets = free_targets(folder, overwrite=overwrite)
    Path(folder).mkdir(parents=True, exist_ok=True)
    with ExitStack() as files:
        unfinished = [files.enter_context(atomic_write(target, overwrite=overwrite)) for target in targets]
        with ExitStack() as writers:
            lists: parquet.ParquetWriter | None = None
            whole, short = (writers.enter_context(CsvTable(path, PARTICLE_COLUMNS, dialect)) for path in unfinished[1:])
            for table in tables:
                columns = table.columns()
                rows = pa.table({name: pa.array(column, from_pandas=True) for name, column in columns.items()})
                rows = _with_lists(rows, table)
                if lists is None:
                    lists = writers.enter_context(parquet.ParquetWriter(unfinished[0], rows.schema))
                lists.write_table(rows)
                whole.write(columns)
                short.write(_short(columns))
    return targets[0], targets[1]


def write_csv(table: ParticleTable, folder: Path, dialect: CsvDialect = COMMA) -> None:
    """Write the CSV files alone; those that are there are replaced."""
    columns = table.columns()
    for name, chosen in ((CSV_NAME, columns), (SHORT_NAME, _short(columns))):
        target = folder / name
        with atomic_write(target, overwrite=True) as partial, CsvTable(partial, PARTICLE_COLUMNS, dialect) as file:
            file.write(chosen)


def _short(columns: Mapping[str, Any]) -> dict[str, Any]:
    return {name: columns[name] for name in SHORT_COLUMNS if name in columns}


def write_dropped(dropped: DroppedParticles, folder: Path) -> Path:
    """Write the list of dropped particles as parquet, beside their table; one that is there is replaced.

    The volume of all that was found, in voxels of the scan, is in the file's metadata.
    """
    rows = pa.table({name: pa.array(column, from_pandas=True) for name, column in dropped.columns().items()})
    rows = rows.replace_schema_metadata({FOREGROUND: json.dumps(dropped.foreground_voxels)})
    target = folder / DROPPED_NAME
    with atomic_write(target, overwrite=True) as partial:
        parquet.write_table(rows, partial)
    return target


def free_targets(folder: str | Path, *, overwrite: bool = False) -> list[Path]:
    """Return the files that :func:`write_table` will write; call it before long work, so that a conflict shows at once.

    Raises:
        InputError: as :func:`write_table`.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give the folder that the table goes into.")
    targets = [folder / name for name in (PARQUET_NAME, CSV_NAME, SHORT_NAME)]
    for target in targets:
        if target.exists() and not overwrite:
            raise InputError(f"{target} exists and is kept; choose another folder or pass --overwrite.")
    return targets


def to_arrow(table: ParticleTable) -> pa.Table:
    """Make the Arrow table that the parquet file holds."""
    rows = pa.table({name: pa.array(column, from_pandas=True) for name, column in table.columns().items()})
    return _with_lists(rows, table)


def read_dropped(folder: Path) -> DroppedParticles:
    """Read the list of dropped particles of an output.

    Raises:
        InputError: if it is missing or damaged.
    """
    path = folder / DROPPED_NAME
    if not path.is_file():
        raise InputError(f"{path} does not exist; run predict again.")
    with _readable(path):
        rows = parquet.read_table(path)
    columns = {name: rows[name].to_numpy(zero_copy_only=False) for name in rows.column_names}
    return DroppedParticles(**columns, foreground_voxels=json.loads(rows.schema.metadata[FOREGROUND]))


def _with_lists(rows: pa.Table, table: ParticleTable) -> pa.Table:
    """Add the columns that hold more than one number a particle."""
    label, touched, faces = table.contact_pairs.sides(table.label)
    ends = np.append(np.searchsorted(label, table.label), len(label)).astype(np.int32)
    for name, values in zip(CONTACTS, (touched, faces), strict=True):
        rows = rows.append_column(name, pa.ListArray.from_arrays(ends, values))
    if table.gray_histogram is None or table.gray_bins is None:
        return rows
    counts = pa.array(table.gray_histogram.ravel())
    lists = pa.FixedSizeListArray.from_arrays(counts, table.gray_histogram.shape[1])
    return rows.append_column(HISTOGRAM, lists).replace_schema_metadata({BINS: json.dumps(asdict(table.gray_bins))})


def read_table(path: str | Path) -> ParticleTable:
    """Read a table that :func:`write_table` wrote.

    Args:
        path: the parquet file, or the folder it is in.

    Raises:
        InputError: if the file is missing, is not parquet, or lacks a column.
    """
    path, _, _ = checked_parquet(path)
    with _readable(path):
        return table_of(parquet.read_table(path))


def checked_parquet(path: str | Path) -> tuple[Path, pa.Schema, int]:
    """Find the parquet file of a table, its schema and how many rows it has.

    Raises:
        InputError: as :func:`read_table`.
    """
    path = Path(path)
    path = path / PARQUET_NAME if path.is_dir() else path
    if not path.is_file():
        raise InputError(f"{path} does not exist; make the table with `ps3d-rt measure`, or give its folder.")
    with _readable(path), parquet.ParquetFile(path) as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows
    columns = [field for field in fields(ParticleTable) if field.name not in NO_COLUMNS]
    needed = {field.name for field in columns if field.default is MISSING} | set(CONTACTS)
    missing = sorted(needed - set(schema.names))
    if missing:
        raise InputError(
            f"{path} lacks the columns {', '.join(missing)}, which every particle table has. "
            "Make it again with `ps3d-rt measure`."
        )
    return path, schema, rows


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path} cannot be read as parquet; make it again with `ps3d-rt measure`{words_of(error)}."
        ) from error


def table_of(rows: pa.Table) -> ParticleTable:
    """Turn rows of the parquet file into a table."""
    names = [field.name for field in fields(ParticleTable) if field.name not in NO_COLUMNS]
    values: dict[str, Any] = {name: np.asarray(rows[name].to_numpy()) for name in names if name in rows.column_names}
    return ParticleTable(**values, contact_pairs=_contacts(rows), **_histogram(rows))


def _contacts(rows: pa.Table) -> Contacts:
    touched, faces = (rows[name].combine_chunks() for name in CONTACTS)
    label = np.repeat(rows["label"].to_numpy(), np.diff(touched.offsets.to_numpy()))
    pairs = np.stack([label, touched.values.to_numpy()], axis=1)
    once = pairs[:, 0] < pairs[:, 1]
    return Contacts(pairs[once], faces.values.to_numpy()[once])


def _histogram(rows: pa.Table) -> dict[str, Any]:
    if HISTOGRAM not in rows.column_names or BINS not in (rows.schema.metadata or {}):
        return {}
    lists = rows[HISTOGRAM].combine_chunks()
    counts = lists.values.to_numpy().reshape(len(rows), lists.type.list_size)
    return {"gray_histogram": counts, "gray_bins": GrayBins(**json.loads(rows.schema.metadata[BINS]))}

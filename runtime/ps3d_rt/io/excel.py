"""``particles.xlsx``: particles, size distribution, run and units, a sheet each. Needs the extra ``excel``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any

from pyarrow import parquet, types

from ps3d_rt.core.column_facts import PARTICLE_COLUMNS, PSD_COLUMNS, rounded_columns
from ps3d_rt.core.psd import Psd
from ps3d_rt.errors import CapabilityError
from ps3d_rt.io.atomic_write import atomic_write
from ps3d_rt.io.table import PARQUET_NAME

EXCEL_NAME = "particles.xlsx"
MOST_ROWS = 2**20 - 1
"""Of a sheet, below its head."""


def check_excel() -> None:
    """Refuse before any work if the writer is not installed.

    Raises:
        CapabilityError: if it is not.
    """
    try:
        import xlsxwriter  # noqa: F401, PLC0415 - an extra
    except ImportError as error:
        raise CapabilityError(
            f'writing {EXCEL_NAME} needs the extra excel: pip install "ps3d-rt[excel]" – {error}'
        ) from error


def sheet_warnings(particles: int) -> list[str]:
    """Warn if a sheet cannot hold so many particles."""
    if particles <= MOST_ROWS:
        return []
    return [
        f"{EXCEL_NAME} holds the first {MOST_ROWS:,} of {particles:,} particles, for a sheet ends there; "
        f"{PARQUET_NAME} and particles.csv have them all."
    ]


def write_excel(folder: Path, psd: Psd, facts: Mapping[str, Any]) -> Path:
    """Write the workbook of a table that is in ``folder`` as parquet; a file that is there is replaced.

    Args:
        folder: holds the table, and gets the file.
        psd: its size distribution.
        facts: of the run, the content of ``run.json``; of a table alone, its size distribution.

    Raises:
        CapabilityError: if the extra is not installed.
    """
    check_excel()
    import xlsxwriter  # noqa: PLC0415

    target, table = folder / EXCEL_NAME, folder / PARQUET_NAME
    with atomic_write(target, overwrite=True) as partial:
        # Rows go to disk as they come: a million particles take no more memory than one.
        book = xlsxwriter.Workbook(str(partial), {"constant_memory": True})
        with book:
            bold = book.add_format({"bold": True})
            _particles(book.add_worksheet("particles"), table, bold)
            _write(book.add_worksheet("psd"), list(psd.columns()), _rows(psd.columns(), PSD_COLUMNS), bold)
            _write(book.add_worksheet("run"), ["name", "value"], _flat(facts), bold)
            units = [
                (sheet, name, about.unit, about.meaning)
                for sheet, columns in (("particles", PARTICLE_COLUMNS), ("psd", PSD_COLUMNS))
                for name, about in columns.items()
            ]
            _write(book.add_worksheet("units"), ["sheet", "column", "unit", "meaning"], units, bold)
    return target


def _particles(sheet: Any, path: Path, bold: Any) -> None:
    """Write the table, some rows at a time."""
    with parquet.ParquetFile(path) as file:
        names = [field.name for field in file.schema_arrow if not types.is_nested(field.type)]

        def rows() -> Iterator[Sequence[Any]]:
            for batch in file.iter_batches(columns=names):
                columns = {name: batch[name].to_numpy(zero_copy_only=False) for name in names}
                yield from _rows(columns, PARTICLE_COLUMNS)

        _write(sheet, names, rows(), bold)


def _rows(columns: Mapping[str, Any], facts: dict[str, Any]) -> Iterator[Sequence[Any]]:
    floats = rounded_columns(dict(columns), facts)
    return zip(*(column.tolist() for column in floats.values()), strict=True)


def _write(sheet: Any, heads: Sequence[str], rows: Any, bold: Any) -> None:
    sheet.freeze_panes(1, 0)
    for column, head in enumerate(heads):
        sheet.set_column(column, column, max(10, len(head) + 2))
    sheet.write_row(0, 0, heads, bold)
    for number, row in zip(range(1, MOST_ROWS + 1), rows, strict=False):
        for column, value in enumerate(row):
            if isinstance(value, str):
                sheet.write_string(number, column, value)  # never a formula, whatever it begins with
            elif value is not None and not (isinstance(value, float) and isnan(value)):
                sheet.write(number, column, value)


def _flat(facts: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Name every value by its path; a list is written as text."""
    for key, value in facts.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        elif value is None or isinstance(value, bool | int | float | str):
            yield name, value
        else:
            yield name, ", ".join(str(part) for part in value)

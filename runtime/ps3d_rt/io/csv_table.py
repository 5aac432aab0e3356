"""Tables as CSV, rounded to the digits that are significant, with a decimal point or comma."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
from pyarrow import compute, csv

from ps3d_rt.core.column_facts import ColumnFacts, rounded_columns
from ps3d_rt.errors import InputError


@dataclass(frozen=True, slots=True)
class CsvDialect:
    """The sign between values, and the decimal sign."""

    delimiter: str
    decimal: str


DIALECTS = {"comma": CsvDialect(",", "."), "semicolon": CsvDialect(";", ",")}
"""``semicolon`` is what Excel reads where the decimal sign is a comma."""
COMMA = DIALECTS["comma"]


def dialect_named(name: str) -> CsvDialect:
    """Find a dialect.

    Raises:
        InputError: if there is none of this name.
    """
    if name not in DIALECTS:
        raise InputError(
            f"--csv-dialect is {name!r}; give comma (commas between values, decimal point) or semicolon "
            "(semicolons between values, decimal comma)."
        )
    return DIALECTS[name]


class CsvTable:
    """A CSV file that is written in several steps; a context manager.

    Args:
        path: of the file, replaced if it is there.
        facts: of the columns that may come.
        dialect: of the file.
    """

    def __init__(self, path: Path, facts: Mapping[str, ColumnFacts], dialect: CsvDialect = COMMA) -> None:
        self._path, self._facts, self._dialect = path, dict(facts), dialect
        self._writer: csv.CSVWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(self, columns: Mapping[str, Any]) -> None:
        """Add rows; NaN becomes an empty field. The first call decides which columns there are."""
        rounded = rounded_columns(dict(columns), self._facts)
        rows = pa.table({name: pa.array(column, from_pandas=True) for name, column in rounded.items()})
        if self._dialect.decimal != ".":
            rows = _with_decimals(rows, self._dialect.decimal)
        if self._writer is None:
            options = csv.WriteOptions(quoting_style="none", delimiter=self._dialect.delimiter)
            self._writer = csv.CSVWriter(self._path, rows.schema, write_options=options)
        self._writer.write_table(rows)


def _with_decimals(rows: pa.Table, decimal: str) -> pa.Table:
    """Write floats as text with another decimal sign."""
    for at, field in enumerate(rows.schema):
        if pa.types.is_floating(field.type):
            text = compute.replace_substring(compute.cast(rows[field.name], pa.string()), ".", decimal)
            rows = rows.set_column(at, field.name, text)
    return rows

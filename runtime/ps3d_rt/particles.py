"""The particle table as it is handed out in Python: columns by name, and as tables of other libraries."""

from __future__ import annotations

from dataclasses import dataclass, fields
from html import escape
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.measure import ParticleTable
from ps3d_rt.errors import InputError, not_installed
from ps3d_rt.io.table import to_arrow

_SHOWN_ROWS = 10
_SHOWN = ("label", "volume_mm3", "equivalent_diameter_mm", "sphericity", "feret_max_mm", "touches_edge", "confidence")
"""Columns of the table in a notebook; all are in :meth:`Particles.columns`."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Particles(ParticleTable):
    """One row a particle; ``particles["volume_mm3"]`` and ``particles.volume_mm3`` are the same column."""

    @classmethod
    def from_table(cls, table: ParticleTable) -> Particles:
        """Hand out a table; nothing is copied."""
        return cls(**{field.name: getattr(table, field.name) for field in fields(table)})

    def __getitem__(self, column: str) -> NDArray[Any]:
        columns = self.columns()
        if column not in columns:
            raise InputError(f"the table has no column {column!r}; it has {', '.join(columns)}.")
        return columns[column]

    def to_arrow(self) -> Any:
        """Give the table as a ``pyarrow.Table``, with contacts and histograms, as ``particles.parquet`` has it."""
        return to_arrow(self)

    def to_pandas(self) -> Any:
        """Give the columns as a ``pandas.DataFrame``.

        Raises:
            CapabilityError: if pandas is not installed.
        """
        return _library("pandas").DataFrame(self.columns())

    def to_polars(self) -> Any:
        """Give the table as a ``polars.DataFrame``; what a particle has not is null.

        Raises:
            CapabilityError: if polars is not installed.
        """
        return _library("polars").from_arrow(self.to_arrow())

    def __repr__(self) -> str:
        size = f", mean diameter {self.equivalent_diameter_mm.mean():.3g} mm" if len(self) else ""
        return f"<{len(self)} particles, {len(self.columns())} columns{size}>"

    def _repr_html_(self) -> str:
        """Show the first rows of some columns in a notebook."""
        columns = self.columns()
        shown = {name: columns[name][:_SHOWN_ROWS] for name in _SHOWN if name in columns}
        head = "".join(f"<th>{escape(name)}</th>" for name in shown)
        rows = zip(*shown.values(), strict=True)
        body = "".join("<tr>" + "".join(f"<td>{_cell(value)}</td>" for value in row) + "</tr>" for row in rows)
        more = f"first {_SHOWN_ROWS} of " if len(self) > _SHOWN_ROWS else ""
        said = f"{more}{len(self)} particles, {len(shown)} of {len(columns)} columns"
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{said}</p>"


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise not_installed(f"{name} does not load ({error})", name) from error


def _cell(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)

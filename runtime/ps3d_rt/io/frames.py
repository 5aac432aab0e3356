"""Tables of named columns on disk: each as parquet, to compute with, and as CSV, to look at."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv, parquet

from ps3d_rt.errors import InputError


def arrow_table(columns: Mapping[str, NDArray[Any]]) -> pa.Table:
    """Make an Arrow table; NaN becomes null. ``.to_pandas()`` makes a data frame of it."""
    return pa.table({name: pa.array(column, from_pandas=True) for name, column in columns.items()})


def write_frame(columns: Mapping[str, NDArray[Any]], folder: Path, name: str) -> None:
    """Write ``NAME.parquet`` and ``NAME.csv``; files that are there are replaced."""
    rows = arrow_table(columns)
    parquet.write_table(rows, folder / f"{name}.parquet")
    csv.write_csv(rows, folder / f"{name}.csv", csv.WriteOptions(quoting_style="needed"))


def read_frame(path: Path) -> dict[str, NDArray[Any]]:
    """Read the columns of a parquet file; null becomes NaN.

    Raises:
        InputError: if the file is missing or is not parquet.
    """
    try:
        rows = parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path} cannot be read as parquet; make it again with `ps3d-rt minerals` – {error}"
        ) from error
    return {name: np.asarray(rows[name].to_numpy()) for name in rows.column_names}

"""``psd.csv``: the size distribution in classes, beside the particle table."""

from __future__ import annotations

from pathlib import Path

from ps3d_rt.core.column_facts import PSD_COLUMNS
from ps3d_rt.core.psd import Psd
from ps3d_rt.io.atomic_write import atomic_write
from ps3d_rt.io.csv_table import COMMA, CsvDialect, CsvTable

PSD_NAME = "psd.csv"


def write_psd(psd: Psd, folder: Path, dialect: CsvDialect = COMMA) -> Path:
    """Write the size classes; an existing file is replaced."""
    target = folder / PSD_NAME
    with atomic_write(target, overwrite=True) as partial, CsvTable(partial, PSD_COLUMNS, dialect) as file:
        file.write(psd.columns())
    return target

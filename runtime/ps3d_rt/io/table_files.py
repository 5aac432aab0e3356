"""Which files of a table are written beside ``particles.parquet``, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ps3d_rt.core.psd import Psd
from ps3d_rt.io.csv_table import COMMA, CsvDialect
from ps3d_rt.io.excel import check_excel, sheet_warnings, write_excel
from ps3d_rt.io.psd_table import write_psd


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFiles:
    """Files for people's programs."""

    dialect: CsvDialect = COMMA
    """Of the CSV files."""
    excel: bool = False
    """Write ``particles.xlsx`` too."""

    def check(self) -> None:
        """Refuse, before any work, what cannot be written.

        Raises:
            CapabilityError: if an extra is missing.
        """
        if self.excel:
            check_excel()

    def warnings(self, particles: int) -> list[str]:
        """Say what the files will not hold of so many particles."""
        return sheet_warnings(particles) if self.excel else []

    def write(self, folder: Path, psd: Psd, facts: Mapping[str, Any]) -> None:
        """Write ``psd.csv`` and, if asked for, ``particles.xlsx`` beside a table; what is there is replaced.

        Args:
            folder: holds ``particles.parquet``.
            psd: the size distribution.
            facts: of the run, for a sheet.
        """
        write_psd(psd, folder, self.dialect)
        if self.excel:
            write_excel(folder, psd, facts)


CSV_ONLY = TableFiles()

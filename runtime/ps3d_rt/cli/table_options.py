"""The options that ``predict``, ``measure`` and ``report`` share: the size distribution, and its files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from ps3d_rt.cli.options import EdgeCorrection, about_output
from ps3d_rt.errors import InputError

if TYPE_CHECKING:
    from ps3d_rt.core.distribution import SizeOptions
    from ps3d_rt.io.table_files import TableFiles


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """Texts as they were typed."""

    sieve: Annotated[
        bool | None,
        about_output("--sieve/--no-sieve", help="Size by the sieve passed, not by volume; default: with --sieves."),
    ] = None
    edge_correction: EdgeCorrection = True
    sieves: Annotated[
        str | None, about_output(help="Classes of psd.csv: hole widths 0.038,0.053,… mm, or tyler, or iso3310.")
    ] = None
    percentiles: Annotated[str | None, about_output(help="More of them than 10, 50, 80 and 90: 5,16,84.")] = None
    density: Annotated[float | None, about_output(help="Of the particles, g/cm³: adds their mass to psd.csv.")] = None
    csv_dialect: Annotated[str, about_output(help="comma; or semicolon, with decimal comma.")] = "comma"
    excel: Annotated[bool, about_output("--excel", help="Write particles.xlsx too; needs the extra excel.")] = False

    def read(self) -> dict[str, Any]:
        """Read them all, as fields of :class:`ps3d_rt.predict_options.PredictOptions`."""
        return {"sizes": self.sizes(), "files": self.files()}

    def sizes(self) -> SizeOptions:
        """Read the options of the size distribution.

        Raises:
            InputError: if one cannot be used.
        """
        from ps3d_rt.core.distribution import SizeOptions  # noqa: PLC0415 - loads arrays
        from ps3d_rt.core.sieves import SERIES, check_sieves  # noqa: PLC0415

        series = None if self.sieves is None or self.sieves.lower() not in SERIES else self.sieves.lower()
        widths = "hole widths in mm such as 0.038,0.053,0.075, or tyler, or iso3310"
        return SizeOptions(
            sieve=self.sieve,
            edge_correction=self.edge_correction,
            percentiles=_numbers("--percentiles", self.percentiles, "numbers between 0 and 100 such as 5,16,84"),
            sieves_mm=()
            if self.sieves is None or series is not None
            else check_sieves(_numbers("--sieves", self.sieves, widths)),
            series=series,
            density_g_cm3=self.density,
        )

    def files(self) -> TableFiles:
        """Read the options of the files.

        Raises:
            InputError: if one cannot be used.
            CapabilityError: if an extra is missing.
        """
        from ps3d_rt.io.csv_table import dialect_named  # noqa: PLC0415
        from ps3d_rt.io.table_files import TableFiles  # noqa: PLC0415

        files = TableFiles(dialect=dialect_named(self.csv_dialect), excel=self.excel)
        files.check()
        return files


def parse_gray_bins(text: str | None) -> tuple[float, float] | None:
    """Parse ``--gray-bins``: ``LOW:HIGH``, the gray values that the 64 bins reach from and to; None if not given.

    >>> parse_gray_bins("0:6400")
    (0.0, 6400.0)
    """
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(":"))
    except ValueError:
        low, high = 0.0, 0.0
    if not low < high < float("inf"):
        raise InputError(f"--gray-bins is {text!r}; give the least and the largest gray value, such as 0:65535.")
    return low, high


def _numbers(option: str, text: str | None, allowed: str) -> tuple[float, ...]:
    """Read numbers separated by commas, or by semicolons, which allows decimal commas."""
    if text is None:
        return ()
    parts = text.replace(",", ".").split(";") if ";" in text else text.split(",")
    try:
        return tuple(float(part) for part in parts)
    except ValueError as error:
        raise InputError(f"{option} is {text!r}; give {allowed}.") from error

"""Numbers, units and names as text for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import floor, isfinite, log10
from typing import Any

from markupsafe import Markup, escape

THIN_SPACE = "\u202f"
"""Groups thousands and joins a number to its unit, without a line break."""
ABSENT = "–"
UNITS = {"mm": "mm", "voxels": "voxels", "bytes": "bytes", "seconds": "s"}
"""Endings of the names in ``run.json`` that are units."""


NAMES = {"dtype": "Data type", "sha256": "SHA-256"}
"""Names that do not become a title by a capital letter."""


@dataclass(frozen=True, slots=True)
class LengthUnit:
    """A unit to show lengths in."""

    name: str
    per_mm: float

    def show(self, length_mm: float) -> str:
        """Write three significant digits, with the unit.

        >>> LengthUnit("µm", 1000.0).show(0.15234).replace(THIN_SPACE, " ")
        '152 µm'
        """
        return f"{number(length_mm * self.per_mm)}{THIN_SPACE}{self.name}"


MICROMETRE = LengthUnit("µm", 1000.0)
MILLIMETRE = LengthUnit("mm", 1.0)


def unit_for(length_mm: float) -> LengthUnit:
    """Take micrometres below a millimetre.

    >>> unit_for(0.29).name, unit_for(4.0).name
    ('µm', 'mm')
    """
    return MICROMETRE if length_mm < 1 else MILLIMETRE


def number(value: float, digits: int = 3) -> str:
    """Write a measured number with ``digits`` significant digits, never in powers of ten.

    >>> number(0.012345), number(1.5), number(98765.4).replace(THIN_SPACE, " ")
    ('0.0123', '1.50', '98 765')
    """
    if not isfinite(value):
        return ABSENT
    decimals = max(0, digits - 1 - floor(log10(abs(value)))) if value else 0
    return f"{value:,.{decimals}f}".replace(",", THIN_SPACE)


def count(value: int) -> str:
    """Write a whole number with its thousands apart."""
    return f"{value:,}".replace(",", THIN_SPACE)


def percent(share: float) -> str:
    """Write a share in [0, 1] in percent.

    >>> percent(0.0713).replace(THIN_SPACE, " "), percent(1.0).replace(THIN_SPACE, " ")
    ('7.1 %', '100 %')
    """
    shown = f"{share * 100:.1f}".removesuffix(".0")
    return f"{shown}{THIN_SPACE}%"


def duration(seconds: float) -> str:
    """Write a time span.

    >>> [duration(s).replace(THIN_SPACE, " ") for s in (0.0412, 75.26, 192.0, 7500.0)]
    ['0.04 s', '75.3 s', '3 min 12 s', '2 h 05 min']
    """
    if seconds < 1:
        return f"{seconds:.2f}{THIN_SPACE}s"
    if seconds < 120:
        return f"{seconds:.1f}{THIN_SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes}{THIN_SPACE}min {rest}{THIN_SPACE}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{THIN_SPACE}h {minutes:02}{THIN_SPACE}min"


def rate(voxels_per_second: float) -> str:
    """Write a throughput.

    >>> rate(12.34e6).replace(THIN_SPACE, " "), rate(52_345.6).replace(THIN_SPACE, " ")
    ('12.3 million voxels/s', '52 346 voxels/s')
    """
    if voxels_per_second < 1e6:
        return f"{number(voxels_per_second)}{THIN_SPACE}voxels/s"
    return f"{number(voxels_per_second / 1e6)} million{THIN_SPACE}voxels/s"


def moment(date: Any) -> str:
    """Write a date and time of ISO 8601 to the minute; anything else stays as it is.

    >>> moment("2025-06-02T14:31:05+00:00"), moment("yesterday"), moment(None)
    ('2025-06-02 14:31 UTC', 'yesterday', '')
    """
    if not date:
        return ""
    try:
        when = datetime.fromisoformat(str(date))
    except ValueError:
        return str(date)
    return f"{when:%Y-%m-%d %H:%M} {when.tzname() or ''}".rstrip()


def title(key: str) -> tuple[str, str]:
    """Read off the name and the unit that a key of ``run.json`` holds.

    >>> title("particle_size_mm"), title("zoom")
    (('Particle size', 'mm'), ('Zoom', ''))
    """
    if key in NAMES:
        return NAMES[key], ""
    if key == "spacing_mm":
        return "Voxel size", "mm"
    stem, _, ending = key.rpartition("_")
    name, unit = (stem, UNITS[ending]) if stem and ending in UNITS else (key, "")
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:], unit


def fact(value: Any, unit: str = "") -> Markup:
    """Write a value of ``run.json`` as HTML, escaped.

    >>> [str(fact(value)) for value in (True, None, "<b>", (100, 200, 200))]
    ['yes', '–', '&lt;b&gt;', '100 × 200 × 200 <small>z, y, x</small>']
    >>> str(fact([0.01, 0.01, 0.01], "mm")).replace(THIN_SPACE, " ")
    '0.01 mm'
    """
    shown = _plain(value)
    if unit and shown != ABSENT:
        shown += THIN_SPACE + unit
    return escape(shown) + (Markup(" <small>z, y, x</small>") if " × " in shown and len(value) == 3 else "")


def _plain(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: ABSENT, True: "yes", False: "no"}[value]
    if isinstance(value, int):
        return count(value)
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items()) or ABSENT
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _joined(value)
    return str(value)


def _joined(values: Sequence[Any]) -> str:
    """Write numbers as a product, everything else as a list."""
    shown = [_plain(v) for v in values]
    if not all(isinstance(v, int | float) for v in values):
        return ", ".join(shown) or ABSENT
    # An isotropic spacing or zoom is one number; a cubic shape stays three.
    same = len(set(shown)) == 1 and all(isinstance(v, float) for v in values)
    return shown[0] if same else " × ".join(shown) or ABSENT

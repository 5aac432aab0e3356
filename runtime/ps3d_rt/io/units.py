"""Units of length that image files use, in millimetres."""

from __future__ import annotations

_MM = {
    1e-7: ("angstrom", "å"),
    1e-6: ("nanometer", "nm"),
    # the micro sign, the Greek mu, and the way ImageJ escapes it
    1e-3: ("micrometer", "micron", "microns", "um", "µm", "μm", "\\u00b5m"),
    1.0: ("millimeter", "mm"),
    10.0: ("centimeter", "cm"),
    1000.0: ("meter", "m"),
    25.4: ("inch", "in"),
}
_MM_PER_UNIT = {name: mm for mm, names in _MM.items() for name in names}


def mm_per(unit: str | None) -> float | None:
    """Millimetres in one ``unit``; None if it is not a known length, such as ``pixel``.

    >>> mm_per("micrometer"), mm_per("mm"), mm_per("pixel"), mm_per(None)
    (0.001, 1.0, None, None)
    """
    return None if unit is None else _MM_PER_UNIT.get(unit.strip().lower())

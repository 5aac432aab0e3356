"""Units of length and decimal numbers as image files write them."""

from __future__ import annotations

_MM = {
    1e-7: ("angstrom", "å"),
    1e-6: ("nanometer", "nanometre", "nm"),
    # the micro sign, the Greek mu, the way ImageJ escapes it, and both signs in UTF-8 that was read as Latin-1
    1e-3: ("micrometer", "micrometre", "micron", "um", "µm", "μm", "\\u00b5m", "\\u03bcm", "âµm", "î¼m", "&#181;m"),
    1.0: ("millimeter", "millimetre", "mm"),
    10.0: ("centimeter", "centimetre", "cm"),
    1000.0: ("meter", "metre", "m"),
    25.4: ("inch", "in"),
}
_MM_PER_UNIT = {name: mm for mm, names in _MM.items() for name in names}


def mm_per(unit: str | None) -> float | None:
    """Millimetres in one ``unit``; None if it is not a known length, such as ``pixel``.

    >>> mm_per("micrometer"), mm_per("Microns"), mm_per("mm"), mm_per("pixel"), mm_per(None)
    (0.001, 0.001, 1.0, None, None)
    """
    if unit is None:
        return None
    name = unit.strip().lower()
    return _MM_PER_UNIT.get(name, _MM_PER_UNIT.get(name.removesuffix("s")))


def decimal_number(text: str) -> float:
    """Read a number whose decimal mark may be a comma, as programs of many countries write it; NaN if it is none.

    >>> [decimal_number(text) for text in (" 0,0125 ", "1e-2", "big")]
    [0.0125, 0.01, nan]
    """
    try:
        return float(text.strip() if "." in text else text.strip().replace(",", ".", 1))
    except ValueError:
        return float("nan")

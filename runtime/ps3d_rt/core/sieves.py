"""Series of test sieves: widths of their square holes, mm."""

from __future__ import annotations

from math import isfinite

from ps3d_rt.errors import InputError

# fmt: off
SERIES = {
    # Every hole is √2 times as wide as the next finer one; today's nominal widths (ASTM E11) of 400 mesh and coarser.
    "tyler": (0.038, 0.053, 0.075, 0.106, 0.15, 0.212, 0.3, 0.425, 0.6, 0.85, 1.18, 1.7, 2.36, 3.35, 4.75, 6.7, 9.5,
              13.2, 19.0, 26.5),
    # The principal sizes, R 20/3, and below them R'10.
    "iso3310": (0.02, 0.025, 0.032, 0.045, 0.063, 0.09, 0.125, 0.18, 0.25, 0.355, 0.5, 0.71, 1.0, 1.4, 2.0, 2.8, 4.0,
                5.6, 8.0, 11.2, 16.0, 22.4, 31.5, 45.0, 63.0, 90.0, 125.0),
}
# fmt: on
"""Name of a series → hole widths, mm, ascending."""


def check_sieves(widths_mm: tuple[float, ...]) -> tuple[float, ...]:
    """Put hole widths into ascending order.

    Raises:
        InputError: if there are none, two are the same, or one is no positive number.

    >>> check_sieves((0.5, 0.125))
    (0.125, 0.5)
    """
    if not widths_mm or not all(isfinite(width) and width > 0 for width in widths_mm):
        raise InputError(f"sieves are {widths_mm}; give the widths of their holes in mm, all above 0.")
    if len(set(widths_mm)) < len(widths_mm):
        raise InputError(f"sieves are {widths_mm}, and one is there twice; give each width once.")
    return tuple(sorted(widths_mm))


def around(series_mm: tuple[float, ...], low_mm: float, high_mm: float) -> tuple[float, ...]:
    """Take the sieves of a series that part particles of these diameters: one under the least, one over the largest.

    >>> around(SERIES["iso3310"], 0.1, 0.3)
    (0.09, 0.125, 0.18, 0.25, 0.355)
    """
    below = [width for width in series_mm if width < low_mm]
    above = [width for width in series_mm if width >= high_mm]
    between = [width for width in series_mm if low_mm <= width < high_mm]
    return (*below[-1:], *between, *above[:1])

"""Particles coloured by a column of their table."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.measure import ParticleTable
from ps3d_rt.errors import InputError

_ENDS = (0.02, 0.98)
"""Shares of the particles between which colours change: a few giants must not make all others look alike."""
_DARK_TO_BRIGHT = np.array([(42, 30, 110), (40, 100, 170), (40, 165, 150), (150, 205, 75), (250, 230, 50)]) / 255
_UNKNOWN = (0.5, 0.5, 0.5)


def colours_by(table: ParticleTable, column: str) -> NDArray[np.float64]:
    """Colour every particle by its value in a column, dark for small ones.

    Args:
        table: the particles.
        column: one of :meth:`ParticleTable.columns`.

    Returns:
        (n, 3) red, green and blue, 0 to 1; gray where the value is not a number.

    Raises:
        InputError: if there is no such column.
    """
    columns = table.columns()
    if column not in columns:
        raise InputError(f"the table has no column {column!r}; --color-by takes {', '.join(columns)}.")
    values: NDArray[Any] = columns[column].astype(np.float64)
    known = np.isfinite(values)
    out = np.full((len(values), 3), _UNKNOWN)
    if known.any():
        low, high = np.quantile(values[known], _ENDS)
        share = np.clip((values[known] - low) / max(high - low, np.finfo(float).tiny), 0, 1)
        steps = np.linspace(0, 1, len(_DARK_TO_BRIGHT))
        out[known] = np.stack([np.interp(share, steps, shade) for shade in _DARK_TO_BRIGHT.T], axis=1)
    return out

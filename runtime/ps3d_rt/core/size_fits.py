"""Two laws that size distributions of crushed material follow, fitted to the cumulative passing by volume.

    Rosin-Rammler           passing = 1 − exp(−(d / d63)^n)    63.2 % of the volume is finer than d63
    Gates-Gaudin-Schuhmann  passing = (d / k)^m up to d = k    all is finer than k

Both by least squares of the passing itself, at the diameters that 1, 2 … 99 % of the volume pass: each hundredth of the
volume counts the same. Sources: Rosin and Rammler, "The laws governing the fineness of powdered coal", J. Inst. Fuel 7
(1933); Schuhmann, "Principles of comminution", AIME Technical Publication 1189 (1940).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Passing = Callable[[NDArray[np.float64], float, float], NDArray[np.float64]]

FEWEST_DIAMETERS = 5
"""Different ones; two parameters fit fewer by themselves."""


@dataclass(frozen=True, slots=True)
class Law:
    """A law with two parameters."""

    size_name: str
    """Of its size, mm."""
    exponent_name: str
    passing: Passing


def rosin_rammler(diameters_mm: NDArray[np.float64], d63_mm: float, n: float) -> NDArray[np.float64]:
    """Share that passes.

    >>> rosin_rammler(np.array([0.5]), 0.5, 2.0).round(3)
    array([0.632])
    """
    share: NDArray[np.float64] = -np.expm1(-((diameters_mm / d63_mm) ** n))
    return share


def gates_gaudin_schuhmann(diameters_mm: NDArray[np.float64], k_mm: float, m: float) -> NDArray[np.float64]:
    """Share that passes.

    >>> gates_gaudin_schuhmann(np.array([0.25, 2.0]), 1.0, 0.5)
    array([0.5, 1. ])
    """
    share: NDArray[np.float64] = np.minimum(diameters_mm / k_mm, 1.0) ** m
    return share


LAWS = {
    "rosin_rammler": Law("d63_mm", "n", rosin_rammler),
    "gates_gaudin_schuhmann": Law("k_mm", "m", gates_gaudin_schuhmann),
}


def fit_laws(diameters_mm: NDArray[np.float64], shares: NDArray[np.float64]) -> dict[str, dict[str, float]]:
    """Fit both laws.

    Args:
        diameters_mm: (n,) ascending.
        shares: (n,) of the volume, up to each of them; the last is 1.

    Returns:
        Name of the law → its two parameters, and ``rms_percent``: how far the passing lies from the law, root of the
        mean square, in percentage points. Empty if there are fewer than :data:`FEWEST_DIAMETERS` different diameters.
    """
    at = np.unique(np.searchsorted(shares, np.arange(1, 100) / 100))
    if len(np.unique(diameters_mm)) < FEWEST_DIAMETERS or len(at) < FEWEST_DIAMETERS:
        return {}
    passed = np.minimum(np.searchsorted(shares, np.arange(1, 100) / 100), len(shares) - 1)
    return {name: _fit(law, diameters_mm[passed], shares[passed]) for name, law in LAWS.items()}


def _fit(law: Law, diameters_mm: NDArray[np.float64], shares: NDArray[np.float64]) -> dict[str, float]:
    from scipy.optimize import least_squares  # noqa: PLC0415 - loads for long

    def misses(logs: NDArray[Any]) -> NDArray[np.float64]:
        size, exponent = np.exp(logs)
        return law.passing(diameters_mm, size, exponent) - shares

    middle = float(diameters_mm[len(diameters_mm) // 2])
    found = least_squares(misses, np.log([middle, 2.0]), bounds=([-np.inf, np.log(0.05)], [np.inf, np.log(100)]))
    size, exponent = np.exp(found.x).tolist()
    rms = 100 * float(np.sqrt(np.mean(found.fun**2)))
    return {law.size_name: size, law.exponent_name: exponent, "rms_percent": rms}

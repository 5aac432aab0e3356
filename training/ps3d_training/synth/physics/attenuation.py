"""How strongly a material attenuates at every energy, what a tube sends out, and what a detector makes of it.

The numbers come from ``attenuation.json``, whose own words say from where; nothing is looked up elsewhere.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from ps3d_rt.core.arrays import Array
from ps3d_rt.errors import InputError

_BASIS_ERROR = 0.02
"""Relative, of any material's attenuation at any energy; three or four basis materials reach it."""
_DETECTOR_CM = 0.05
"""Scintillator of a flat panel: half a millimetre of caesium iodide."""


@cache
def _table() -> dict[str, Any]:
    text = files(__package__).joinpath("attenuation.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return table


@cache
def energies_kev() -> Array:
    """Middles of the energy bins, 1 keV wide."""
    return np.array(_table()["energies_kev"])


def parts_of(formula: str) -> dict[str, float]:
    """Atoms of each element in a formula without brackets.

    >>> parts_of("Mg1.8Fe0.2SiO4")
    {'Mg': 1.8, 'Fe': 0.2, 'Si': 1.0, 'O': 4.0}
    """
    atoms: dict[str, float] = {}
    for element, count in re.findall(r"([A-Z][a-z]?)([\d.]*)", formula):
        atoms[element] = atoms.get(element, 0.0) + float(count or 1)
    return atoms


@cache
def attenuation_per_cm(formula: str, density: float) -> Array:
    """Linear attenuation at :func:`energies_kev`, 1/cm.

    Raises:
        InputError: if the table lacks an element.
    """
    table, atoms = _table(), parts_of(formula)
    if missing := sorted(atoms.keys() - table["atomic_mass"].keys()):
        raise InputError(f"{formula} has {', '.join(missing)}; the table knows {', '.join(table['atomic_mass'])}.")
    mass = {element: count * table["atomic_mass"][element] for element, count in atoms.items()}
    total = sum(mass.values())
    found = sum(share / total * np.array(table["attenuation_cm2_per_g"][element]) for element, share in mass.items())
    return np.asarray(density * found)


@dataclass(frozen=True, kw_only=True)
class Beam:
    """A tube and its filters."""

    kilovolts: int = 100
    aluminium_mm: float = 1.0
    copper_mm: float = 0.1
    counting: bool = False
    """Whether every photon counts the same and none is missed; else a scintillator weighs it by its energy."""

    def __post_init__(self) -> None:
        known = sorted(int(kilovolts) for kilovolts in _table()["spectra"])
        if self.kilovolts not in known:
            raise InputError(f"kilovolts is {self.kilovolts}; spectra are there for {', '.join(map(str, known))}.")

    def weights(self) -> Array:
        """Share of the signal without a sample at every energy; the sum is 1."""
        energy = energies_kev()
        weight = np.array(_table()["spectra"][str(self.kilovolts)])
        weight = weight * np.exp(-0.1 * self.aluminium_mm * attenuation_per_cm("Al", 2.70))
        weight = weight * np.exp(-0.1 * self.copper_mm * attenuation_per_cm("Cu", 8.96))
        if not self.counting:
            weight = weight * energy * (1 - np.exp(-_DETECTOR_CM * attenuation_per_cm("CsI", 4.51)))
        return np.asarray(weight / weight.sum())


@dataclass(frozen=True)
class Channels:
    """A spectrum in a few energies, and materials in a few numbers each.

    A material's attenuation at energy k is ``coefficients[m] @ basis[:, k]``: path lengths of so many basis materials
    serve instead of one for each material.
    """

    weights: Array
    """(energies,) share of the signal without a sample."""
    basis: Array
    """(rank, energies) 1/cm."""
    coefficients: Array
    """(materials, rank)."""

    @property
    def attenuation(self) -> Array:
        """(materials, energies) 1/cm, as the few numbers give it."""
        return np.asarray(self.coefficients @ self.basis)


def channels(beam: Beam, attenuation: Array, *, count: int = 12) -> Channels:
    """Group a spectrum into ``count`` energies of equal weight, and find basis materials for them.

    Args:
        beam: whose spectrum.
        attenuation: (materials, energies) 1/cm at :func:`energies_kev`.
        count: of the energies to keep.
    """
    weight = beam.weights()
    group = np.minimum((np.cumsum(weight) - weight / 2) * count, count - 1).astype(int)
    share = np.stack([np.where(group == k, weight, 0) for k in range(count) if weight[group == k].sum() > 0])
    weights = share.sum(1)
    few = attenuation @ (share / weights[:, None]).T
    # Errors count relative to the material: the resin is to be as exact as the ore.
    scale = few.mean(1, keepdims=True)
    left, strength, right = np.linalg.svd(few / scale, full_matrices=False)
    for rank in range(1, len(strength) + 1):
        coefficients = (left * strength)[:, :rank] * scale
        if np.abs(coefficients @ right[:rank] / few - 1).max() < _BASIS_ERROR:
            break
    return Channels(weights, right[:rank], coefficients)

"""Which gray values are which mineral: phases, by name and range, counted from the embedding.

The embedding has the value 0 on the anchored scale, so that a range means the same in every scan of one scanner. The
unit is one gray value of the scan, or the contrast of its particles (:class:`ps3d_rt.core.embedding.Embedding`). Gray
values carry from sample to sample as long as scans are exported with one window; contrasts do only between samples of
one composition, whatever the window.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from math import isfinite
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.errors import InputError

Unit = Literal["gray", "contrast"]
UNITS: tuple[Unit, ...] = get_args(Unit)
SCHEMA_VERSION = 1
VOID = "void"
"""Name of what is as dark as the embedding inside a particle: pores and cracks. No mineral may be called so."""
MOST_PHASES = 8
RESERVED = frozenset({VOID, "label", "particle", "particles", "all"})


@dataclass(frozen=True, slots=True)
class Phase:
    """One mineral, or several that a scan cannot tell apart."""

    name: str
    low: float
    """Least value on the anchored scale."""
    high: float
    """Largest value."""
    density_g_per_cm3: float | None = None
    """For masses; None if it is not known."""


@dataclass(frozen=True, slots=True)
class AutoPhases:
    """Phases that are to be proposed.

    Raises:
        InputError: if it is not a number of phases.
    """

    most: int
    """Phases at most."""

    def __post_init__(self) -> None:
        if not 1 <= self.most <= MOST_PHASES:
            raise InputError(f"the greatest number of phases is {self.most}; it must be 1 to {MOST_PHASES}.")


@dataclass(frozen=True, slots=True)
class AnchoredScale:
    """Gray values of one scan counted from its embedding."""

    embedding: float
    """Its gray value."""
    gray_per_unit: float
    """Gray values a unit; negative if the particles are darker than the embedding."""
    noise: float
    """Standard deviation of a voxel of the embedding, in units."""

    def of(self, gray: NDArray[Any]) -> NDArray[np.float64]:
        """Bring gray values to the scale.

        >>> AnchoredScale(1000.0, -10.0, 1.0).of(np.array([900, 800])).tolist()
        [10.0, 20.0]
        """
        values: NDArray[np.float64] = (np.asarray(gray, np.float64) - self.embedding) / self.gray_per_unit
        return values

    def gray(self, value: float) -> float:
        """Gray value of a place on the scale."""
        return self.embedding + value * self.gray_per_unit


@dataclass(frozen=True, slots=True)
class PhaseList:
    """The phases of a sample, from dark to bright.

    Raises:
        InputError: if there are none or too many, two have one name or overlap, or a number makes no sense.
    """

    phases: tuple[Phase, ...]
    unit: Unit = "gray"

    def __post_init__(self) -> None:
        if not 1 <= len(self.phases) <= MOST_PHASES:
            raise InputError(f"{len(self.phases)} phases are given; give 1 to {MOST_PHASES}.")
        if self.unit not in UNITS:
            raise InputError(f"the unit of the phases is {self.unit!r}; it must be one of {', '.join(UNITS)}.")
        for phase in self.phases:
            _check(phase)
        names = [column_name(phase.name) for phase in self.phases]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InputError(f"two phases have the name {twice[0]!r}; give every phase a name of its own.")
        for darker, brighter in pairwise(self.phases):
            if brighter.low < darker.high:
                raise InputError(
                    f"the ranges of {darker.name} ({darker.low:g} to {darker.high:g}) and {brighter.name} "
                    f"({brighter.low:g} to {brighter.high:g}) overlap or are not in ascending order; list the phases "
                    "from dark to bright, and let each begin where the one before it ends, or later."
                )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the phases."""
        return tuple(phase.name for phase in self.phases)

    @property
    def columns(self) -> tuple[str, ...]:
        """What the phases are called in the names of columns; the void first."""
        return (VOID, *(column_name(name) for name in self.names))

    @property
    def densities(self) -> NDArray[np.float64] | None:
        """(phases,) g/cm³; None if one of them is not known."""
        found = [phase.density_g_per_cm3 for phase in self.phases]
        return None if None in found else np.array(found, np.float64)

    def to_json(self) -> dict[str, Any]:
        """Give the content of ``phases.json``."""
        return {"schema_version": SCHEMA_VERSION, "unit": self.unit, "phases": [asdict(phase) for phase in self.phases]}

    @classmethod
    def from_json(cls, content: Any, source: str) -> PhaseList:
        """Read the content of ``phases.json``.

        Args:
            content: what was parsed.
            source: the file, for messages.

        Raises:
            InputError: as for the class, or if the content has another form.
        """
        form = f'{source} must hold {{"unit": "gray", "phases": [{{"name": "quartz", "low": 800, "high": 1500}}]}}'
        if not isinstance(content, Mapping) or not isinstance(content.get("phases"), list):
            raise InputError(f"{form}; it has no list of phases.")
        if unknown := sorted(set(content) - {"schema_version", "unit", "phases"}):
            raise InputError(f"{form}; it has {unknown[0]!r}, too, which means nothing.")
        if content.get("schema_version", SCHEMA_VERSION) != SCHEMA_VERSION:
            raise InputError(f"{source} has schema_version {content['schema_version']!r}; this version reads 1.")
        phases = [_phase(entry, form) for entry in content["phases"]]
        try:
            return cls(tuple(phases), content.get("unit", "gray"))
        except InputError as error:
            raise InputError(f"{source}: {error}") from error


PhasesAsked = PhaseList | AutoPhases
"""Phases to find, or how many to propose."""


def column_name(name: str) -> str:
    """Write a phase's name as part of a column's name.

    >>> column_name("Lithium cobalt oxide")
    'lithium_cobalt_oxide'
    """
    return re.sub(r"\W+", "_", name.strip().lower()).strip("_")


def _phase(entry: Any, form: str) -> Phase:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
        raise InputError(f"{form}; a phase is {entry!r}.")
    keys = [field.name for field in fields(Phase)]
    if unknown := sorted(set(entry) - set(keys)):
        raise InputError(f"{form}; {entry['name']} has {unknown[0]!r}; a phase has {', '.join(keys)}.")
    numbers = {}
    for key in keys[1:]:
        value = entry.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise InputError(f"{form}; {entry['name']} has {key} {value!r}, a number is needed.")
        numbers[key] = value
    if numbers["low"] is None or numbers["high"] is None:
        raise InputError(f"{form}; {entry['name']} needs both low and high.")
    return Phase(entry["name"], float(numbers["low"]), float(numbers["high"]), numbers["density_g_per_cm3"])


def _check(phase: Phase) -> None:
    name = column_name(phase.name)
    if not name or name in RESERVED:
        raise InputError(f"a phase is called {phase.name!r}; it needs a name with letters other than {VOID!r}.")
    if not (isfinite(phase.low) and isfinite(phase.high) and 0 < phase.low < phase.high):
        raise InputError(
            f"{phase.name} ranges from {phase.low:g} to {phase.high:g}; both are counted from the embedding, which is "
            "0: low must be above 0 and high above low."
        )
    density = phase.density_g_per_cm3
    if density is not None and not (isfinite(density) and density > 0):
        raise InputError(f"{phase.name} has the density {density:g} g/cm³; it must be above 0.")

"""Materials and what samples are made of, by name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from ps3d_rt.core.arrays import Array
from ps3d_rt.errors import InputError
from ps3d_training.synth.physics.attenuation import attenuation_per_cm


@dataclass(frozen=True)
class Recipe:
    """What the grains of a sample are made of."""

    name: str
    minerals: tuple[tuple[str, float], ...]
    """Name and share of the volume, roughly: of every grain's first mineral, and of what it is grown together with."""
    liberated: float = 0.5
    """Share of the grains that are of one mineral."""
    porous: float = 0.0
    """Share of the grains with pores."""
    roundness: float | None = None
    """Where the material says it: glass beads are round."""
    flakes: float = 0.0


@cache
def _content() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(files(__package__).joinpath("materials.json").read_text(encoding="utf-8"))
    return content


def attenuation_of(name: str) -> Array:
    """Linear attenuation of a material at every energy of the table, 1/cm.

    Raises:
        InputError: if no material has this name.
    """
    return attenuation_per_cm(*material(name))


def material(name: str) -> tuple[str, float]:
    """Look up formula and density, g/cm³.

    Raises:
        InputError: if no material has this name.
    """
    materials = _content()["materials"]
    if name not in materials:
        raise InputError(f"no material is called {name}; choose one of {', '.join(materials)}.")
    formula, density = materials[name]
    return formula, density


def training_recipes() -> tuple[str, ...]:
    """Names of the recipes that training samples are drawn from."""
    return tuple(_content()["recipes"])


def training_minerals() -> tuple[str, ...]:
    """Every mineral that a training recipe names."""
    recipes = _content()["recipes"].values()
    return tuple(dict.fromkeys(mineral for entry in recipes for mineral in entry["minerals"]))


def recipe(name: str) -> Recipe:
    """Look a recipe up.

    Raises:
        InputError: if there is none of this name.
    """
    known = _content()["recipes"] | _content()["held_out"]
    if name not in known:
        raise InputError(f"no recipe is called {name}; choose one of {', '.join(known)}.")
    entry = dict(known[name])
    return Recipe(name, tuple(entry.pop("minerals").items()), **entry)

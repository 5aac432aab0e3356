"""Draw samples of the source ``physics`` as varied as minerals, packings and scanners are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ps3d_rt.errors import InputError
from ps3d_training.synth.physics.attenuation import Beam
from ps3d_training.synth.physics.materials import Recipe, recipe, training_minerals, training_recipes
from ps3d_training.synth.physics.reconstruct import FILTERS
from ps3d_training.synth.physics.spec import PhysicsSpec, ScanSettings
from ps3d_training.synth.spec import SampleSpec

KINDS = ("loose", "dense", "wide")
"""Well spread; 50 to 70 % full and 90 % touching; with grains 5 to 10 times the mean."""
EMBEDDINGS = ("PMMA", "epoxy", "air")
_WALLS = ("polypropylene", "borosilicate glass", "aluminium", "carbon")
_FILTERS = {60: (1.0, 0.0), 80: (2.0, 0.0), 100: (2.0, 0.15), 120: (2.0, 0.4), 140: (2.0, 0.6), 160: (2.0, 1.0)}
"""By kilovolts, the thickest filters of aluminium and copper, mm."""


def random_physics_spec(
    seed: int,
    *,
    kind: str | None = None,
    material: str | None = None,
    embedding: str | None = None,
    scan: dict[str, Any] | None = None,
    **fixed: Any,
) -> PhysicsSpec:
    """Draw a sample from all training materials, and a scanner for it.

    Args:
        seed: decides everything that is not fixed. What is fixed changes nothing else that is drawn.
        kind: one of :data:`KINDS`; drawn where it is not given.
        material: a recipe's name; else one for training, or any minerals of those together.
        embedding: one of :data:`EMBEDDINGS`; drawn where it is not given.
        scan: fields of :class:`ScanSettings` to keep.
        fixed: fields of :class:`SampleSpec` to keep.

    Raises:
        InputError: if there is no such kind or recipe.
    """
    if kind is not None and kind not in KINDS:
        raise InputError(f"--kind is {kind}; with the source physics it is one of {', '.join(KINDS)}.")
    # Each part draws from a generator of its own.
    packing, stuff, inner, scanner, shares = (np.random.default_rng([seed, 1600 + k]) for k in range(5))
    drawn_kind = str(packing.choice(KINDS, p=[0.45, 0.3, 0.25]))
    drawn = _packing(kind or drawn_kind, packing, fixed.get("particle_size_voxels"))
    drawn_recipe, drawn_embedding = _recipe(stuff), str(stuff.choice(EMBEDDINGS, p=[0.45, 0.35, 0.2]))
    found = _jittered(drawn_recipe if material is None else recipe(material), shares)
    drawn |= _inner(found, embedding or drawn_embedding, drawn["particle_size_voxels"], inner)
    drawn = {name: round(value, 4) if isinstance(value, float) else value for name, value in drawn.items()} | fixed
    side = drawn["shape"][1]
    drawn.setdefault("spacing_mm", round(float(np.exp(scanner.uniform(np.log(2), np.log(12)))) / side, 5))
    return PhysicsSpec(
        grains=SampleSpec(seed=seed, **drawn),
        material=found.name,
        minerals=found.minerals,
        liberated=round(float(np.clip(found.liberated + stuff.normal(0, 0.15), 0, 1)), 3),
        embedding=embedding or drawn_embedding,
        wall=str(stuff.choice(_WALLS, p=[0.5, 0.2, 0.1, 0.2])),
        scan=replace(_scan(side, drawn["container"], scanner), **(scan or {})),
    )


def _packing(kind: str, rng: np.random.Generator, given_size: float | None) -> dict[str, Any]:
    drawn_size = float(np.exp(rng.uniform(np.log(12), np.log(36))))
    sides, spread = rng.uniform(4.5, 6), rng.uniform(0.15, 0.6)
    loose = {"fill": rng.uniform(0.1, 0.42), "touching": rng.uniform(0, 0.4)}
    dense = {"fill": rng.uniform(0.5, 0.72), "touching": rng.uniform(0.8, 1)}
    large = {"coarse": rng.uniform(0.15, 0.5), "coarse_size": rng.uniform(4.5, 10)}
    packing = dense if kind == "dense" or (rng.random() < 0.6 and kind == "wide") else loose
    if kind == "wide":
        drawn_size, sides, packing = 9 + drawn_size / 6, 12.0, packing | large
    size = drawn_size if given_size is None else given_size
    side = int(np.clip(round(sides * size), 96, 160))
    return packing | {"particle_size_voxels": size, "shape": (side, side, side), "size_spread": spread}


def _recipe(rng: np.random.Generator) -> Recipe:
    """Draw a training recipe, or a few minerals that no mine has together."""
    names, minerals = training_recipes(), training_minerals()
    chosen = recipe(str(rng.choice(names)))
    several = rng.choice(minerals, int(rng.integers(1, 6)), replace=False)
    shares = 0.6 ** np.arange(len(several))
    mixed = Recipe(
        "mixture",
        tuple((str(name), round(float(share), 3)) for name, share in zip(several, shares / shares.sum(), strict=True)),
        liberated=float(rng.uniform(0.2, 0.9)),
        porous=float(rng.uniform(0, 0.5)) if rng.random() < 0.4 else 0.0,
    )
    return chosen if rng.random() < 0.6 else mixed


def _jittered(chosen: Recipe, rng: np.random.Generator) -> Recipe:
    """Change the shares, for no two samples of a plant are alike."""
    shares = np.array([share for _, share in chosen.minerals]) * np.exp(rng.normal(0, 0.5, len(chosen.minerals)))
    shares /= shares.sum()
    return replace(
        chosen,
        minerals=tuple(
            (name, round(float(share), 4)) for (name, _), share in zip(chosen.minerals, shares, strict=True)
        ),
    )


def _inner(found: Recipe, embedding: str, size_voxels: float, rng: np.random.Generator) -> dict[str, Any]:
    """Shapes, and what is inside of grains and between them."""

    def some(chance: float, low: float, high: float) -> float:
        """Draw 0, or by this chance a number; two numbers are used either way."""
        hit, value = rng.random() < chance, rng.uniform(low, high)
        return float(value) if hit else 0.0

    drawn = {
        "roundness": float(np.clip(rng.uniform(0, 0.9) if found.roundness is None else found.roundness, 0, 1)),
        "elongation": rng.uniform(0.05, 0.45),
        "flakes": max(found.flakes, some(0.2, 0.1, 0.5)),
        "needles": some(0.12, 0.1, 0.4),
        "cracks": some(0.4, 0.03, 0.25),
        "porous": min(1.0, found.porous * rng.uniform(0.3, 1.5) + some(0.1, 0.1, 0.4)),
        "pore_voxels": rng.uniform(1.2, max(1.6, size_voxels / 9)),
        "seam": 1 - 0.7 * rng.uniform(0, 1) ** 2,
        "seam_width_voxels": rng.uniform(0.8, 2.5),
        "spacers": some(0.4, 0.15, 0.45),
        "bubbles": some(0.5, 0.002, 0.03),
        "container": rng.random() < 0.25,
    }
    drawn |= {"container_radius": rng.uniform(0.4, 0.47)}
    if found.roundness is not None:
        drawn |= {"elongation": drawn["elongation"] * 0.2, "flakes": 0.0, "needles": 0.0}
    if embedding == "air":
        drawn |= {"spacers": 0.0, "bubbles": 0.0}
    return drawn


def _scan(side: int, container: bool, rng: np.random.Generator) -> ScanSettings:
    kilovolts = int(rng.choice(list(_FILTERS)))
    aluminium, copper = (round(float(rng.uniform(0, most)), 2) for most in _FILTERS[kilovolts])
    few, poor, good = rng.random() < 0.25, rng.uniform(0.35, 0.9), rng.uniform(1.0, 1.5)
    some = {
        "scatter": (0.5, rng.uniform(0.01, 0.15)),
        "fringe": (0.25, rng.uniform(0.03, 0.25)),
        "gain_error": (0.5, float(np.exp(rng.uniform(np.log(0.0005), np.log(0.008))))),
        "axis_error": (0.25, rng.uniform(-1.2, 1.2)),
        "surround": (0.4, rng.uniform(1.5, 2.6)),
        "hardening_correction": (0.5, rng.uniform(0.3, 1.1)),
        "smooth_voxels": (0.2, rng.uniform(0.4, 0.8)),
        "clipped": (0.4, float(np.exp(rng.uniform(np.log(0.0005), np.log(0.02))))),
    }
    drawn = {name: round(value, 5) if rng.random() < chance else 0.0 for name, (chance, value) in some.items()}
    if container:
        drawn["surround"] = 0.0
    return ScanSettings(
        beam=Beam(kilovolts=kilovolts, aluminium_mm=aluminium, copper_mm=copper),
        views=round(side * (poor if few else good)),
        noise=round(float(np.exp(rng.uniform(np.log(0.03), np.log(0.33)))), 4),
        source_blur=round(float(rng.uniform(0.2, 0.75)), 3),
        detector_blur=round(float(rng.uniform(0, 0.6)), 3),
        filter=str(rng.choice(FILTERS)),
        bits=8 if rng.random() < 0.3 else 16,
        masked=bool(container and rng.random() < 0.6),
        **drawn,
    )

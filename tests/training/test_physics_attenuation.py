"""Attenuation and spectra: numbers that others tabulate."""

from __future__ import annotations

import json
import re
from importlib.resources import files

import numpy as np
import pytest

from ps3d_rt.errors import InputError
from ps3d_training.synth.physics import attenuation, materials
from ps3d_training.synth.physics.attenuation import Beam, attenuation_per_cm, channels, energies_kev, parts_of
from ps3d_training.synth.physics.materials import attenuation_of, recipe


def at(formula: str, kev: float) -> float:
    """Mass attenuation, cm²/g, halfway between two bins."""
    found = attenuation_per_cm(formula, 1.0)
    return float(np.exp(np.interp(kev, energies_kev(), np.log(found))))


@pytest.mark.parametrize(
    ("formula", "kev", "tabulated"),
    # Hubbell and Seltzer, NIST Standard Reference Database 126.
    [("H2O", 30, 0.3756), ("H2O", 60, 0.2059), ("Al", 60, 0.2778), ("Cu", 40, 4.862), ("Fe", 80, 0.5952)],
)
def test_mass_attenuation_is_that_of_nist(formula: str, kev: float, tabulated: float) -> None:
    assert at(formula, kev) == pytest.approx(tabulated, rel=0.02)


@pytest.mark.parametrize(
    ("name", "contrast"),
    [
        *[("sugar", 0.10), ("quartz", 0.84), ("calcite", 1.8), ("chromite", 8.6), ("scheelite", 39)],
        *[("cassiterite", 70), ("galena", 78)],
    ],
)
def test_contrasts_above_pmma_at_100_kv_behind_1_mm_aluminium_and_a_tenth_of_copper(name: str, contrast: float) -> None:
    weights = Beam(kilovolts=100, aluminium_mm=1, copper_mm=0.1, counting=True).weights()
    found = float(weights @ (attenuation_of(name) - attenuation_of("PMMA")))
    assert found == pytest.approx(contrast, rel=0.03)


def test_a_tungsten_tube_has_its_lines_and_filters_take_the_soft_part() -> None:
    bare = Beam(kilovolts=100, aluminium_mm=0, copper_mm=0, counting=True).weights()
    hard = Beam(kilovolts=100, aluminium_mm=2, copper_mm=0.5, counting=True).weights()
    energy = energies_kev()
    assert bare.sum() == pytest.approx(1)
    assert not bare[energy > 100].any()
    # K alpha 1 of tungsten is at 59.3 keV.
    assert bare[energy == 59.5] > 2 * bare[energy == 62.5]
    assert hard @ energy > bare @ energy + 10


def test_channels_give_every_material_back_from_a_few_numbers() -> None:
    names = ("air", "PMMA", "sugar", "quartz", "galena", "cassiterite", "gold")
    all_of_it = np.stack([attenuation_of(name) for name in names])
    found = channels(Beam(), all_of_it)
    assert found.weights.sum() == pytest.approx(1)
    assert found.basis.shape[0] < len(names)
    # The mean over the spectrum, which thin samples show, is kept.
    np.testing.assert_allclose(found.attenuation @ found.weights, all_of_it @ Beam().weights(), rtol=0.02)
    # Twelve energies tell a centimetre of quartz as all of them do.
    exact = -np.log(Beam().weights() @ np.exp(-all_of_it[3]))
    assert -np.log(found.weights @ np.exp(-found.attenuation[3])) == pytest.approx(exact, rel=0.01)


def test_every_material_has_attenuation_and_every_recipe_known_minerals() -> None:
    content = json.loads(files(materials.__package__).joinpath("materials.json").read_text(encoding="utf-8"))
    for name in content["materials"]:
        formula, density = content["materials"][name]
        assert re.fullmatch(r"([A-Z][a-z]?[\d.]*)+", formula), name
        assert 0.001 < density < 20
        assert (attenuation_of(name) > 0).all()
    for name in content["recipes"] | content["held_out"]:
        minerals = recipe(name).minerals
        assert sum(share for _, share in minerals) == pytest.approx(1), name
        assert {mineral for mineral, _ in minerals} <= content["materials"].keys()


def test_unknown_elements_materials_recipes_and_voltages_are_refused() -> None:
    assert parts_of("CaC2O4C") == {"Ca": 1, "C": 3, "O": 4}
    with pytest.raises(InputError, match="has Xx"):
        attenuation.attenuation_per_cm("Xx2O", 1.0)
    with pytest.raises(InputError, match="no material is called kryptonite"):
        attenuation_of("kryptonite")
    with pytest.raises(InputError, match="no recipe is called kryptonite"):
        recipe("kryptonite")
    with pytest.raises(InputError, match="kilovolts is 90"):
        Beam(kilovolts=90)

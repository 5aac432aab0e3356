"""Write the attenuation and spectra that ``ps3d-rt synth --source physics`` reads: run once, when a table is renewed.

    python benchmarks/attenuation_table.py training/ps3d_training/synth/physics/attenuation.json

Needs ``xraydb`` (attenuation of the elements) and ``spekpy`` (spectra of a tube), which nothing else here needs: the
generator reads the numbers of the file. See docs/simulated-scans.md.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

ELEMENTS = (
    *("H", "Li", "B", "C", "N", "O", "F", "Na", "Mg", "Al", "Si", "P", "S", "Cl", "K", "Ca", "Ti", "V", "Cr", "Mn"),
    *("Fe", "Co", "Ni", "Cu", "Zn", "As", "Br", "Zr", "Mo", "Ag", "Sn", "Sb", "I", "Cs", "Ba", "La", "Ce", "Nd", "W"),
    *("Pt", "Au", "Pb", "Bi"),
)
KILOVOLTS = (60, 80, 100, 120, 140, 160)
LOWEST_KEV, HIGHEST_KEV = 10, 160
STEPS = 10
"""Attenuation is the mean over so many energies in each bin of 1 keV: an edge may lie inside of one."""
ANODE_DEGREES = 12.0


def energies() -> np.ndarray[Any, Any]:
    """Middles of the bins, keV."""
    return np.arange(LOWEST_KEV, HIGHEST_KEV) + 0.5


def attenuation(element: str) -> list[float]:
    """Mass attenuation without coherent scatter's part taken out, cm²/g, at every energy."""
    import xraydb  # noqa: PLC0415

    fine = np.arange(LOWEST_KEV, HIGHEST_KEV, 1 / STEPS) + 0.5 / STEPS
    found = np.asarray(xraydb.mu_elam(element, fine * 1000)).reshape(-1, STEPS).mean(1)
    return [float(f"{value:.4g}") for value in found]


def photons(kilovolts: int) -> list[float]:
    """Photons of a tungsten tube behind nothing but its own window, in every bin, as shares of all."""
    import spekpy  # noqa: PLC0415

    tube = spekpy.Spek(kvp=kilovolts, th=ANODE_DEGREES, targ="W", dk=1.0).filter("Be", 0.5)
    at, found = tube.get_spectrum()
    share = np.interp(energies(), at, found, left=0, right=0)
    return [float(f"{value:.4g}") for value in share / share.sum()]


def main(out: Path) -> None:
    """Write the file."""
    import xraydb  # noqa: PLC0415

    table = {
        "provenance": {
            "attenuation": f"xraydb {version('xraydb')}, mu_elam (Elam, Ravel and Sieber 2002), total, cm²/g",
            "spectra": f"spekpy {version('spekpy')}, tungsten, anode {ANODE_DEGREES:g} degrees, 0.5 mm Be, shares",
            "written_by": "benchmarks/attenuation_table.py",
        },
        "energies_kev": energies().tolist(),
        "atomic_mass": {element: round(xraydb.atomic_mass(element), 4) for element in ELEMENTS},
        "attenuation_cm2_per_g": {element: attenuation(element) for element in ELEMENTS},
        "spectra": {str(kilovolts): photons(kilovolts) for kilovolts in KILOVOLTS},
    }
    text = json.dumps(table, ensure_ascii=False).replace("]", "]\n").replace("}, ", "},\n")
    out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

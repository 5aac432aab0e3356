"""Write runtime/ps3d_rt/io/usual_minerals.json: minerals by attenuation, from the tables of the simulated scans.

python benchmarks/usual_minerals.py
"""

from __future__ import annotations

import json
from pathlib import Path

from ps3d_training.synth.physics.attenuation import Beam
from ps3d_training.synth.physics.materials import attenuation_of, material

KILOVOLTS = (60, 80, 100, 120, 140, 160)
MINERALS = (
    *("quartz", "orthoclase", "albite", "gibbsite", "serpentine", "lepidolite", "calcite", "dolomite", "fluorite"),
    *("topaz", "biotite", "diopside", "apatite", "olivine", "garnet", "fayalite", "rutile", "goethite", "ilmenite"),
    *("pyrite", "hematite", "magnetite", "chromite", "chalcopyrite", "bornite", "sphalerite", "arsenopyrite"),
    *("zircon", "barite", "parisite", "scheelite", "cassiterite", "galena", "gold"),
)
OUT = Path(__file__).parents[1] / "runtime/ps3d_rt/io/usual_minerals.json"


def main() -> None:
    beams = [Beam(kilovolts=kilovolts).weights() for kilovolts in KILOVOLTS]
    resin = attenuation_of("PMMA")
    minerals = {}
    for name in MINERALS:
        formula, density = material(name)
        above = [round(float(weights @ (attenuation_of(name) - resin)), 3) for weights in beams]
        minerals[name] = {"formula": formula, "density_g_per_cm3": density, "attenuation_per_cm": above}
    about = (
        "Attenuation above PMMA, 1/cm, of a thin piece behind 1 mm of aluminium and 0.1 mm of copper, by tube voltage; "
        "written by benchmarks/usual_minerals.py from the tables of the simulated scans (docs/simulated-scans.md)."
    )
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(entry)}" for name, entry in minerals.items())
    head = json.dumps({"about": about, "kilovolts": KILOVOLTS}, indent=1)[:-2]
    OUT.write_text(f'{head},\n "minerals": {{\n{lines}\n }}\n}}\n', encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()

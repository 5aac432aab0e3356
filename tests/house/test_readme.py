"""Figures of the front page are those of the result files."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
METHODS = ("ps3d-rt", "threshwater", "unet2d", "snow")


def test_the_table_is_that_of_the_accuracy_benchmark():
    groups = json.loads((ROOT / "benchmarks/results/accuracy.json").read_text(encoding="utf-8"))["groups"].values()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in row.split("|")[1:-1]]
        for row in re.findall(r"^\| .*\d\.\d{3} .*$", readme, re.MULTILINE)
    ]
    assert rows == [
        [
            group["title"],
            str(group["samples"]),
            *(f"{group['methods'][method]['f1_instance']:.3f}" for method in METHODS),
        ]
        for group in groups
    ]

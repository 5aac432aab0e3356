"""Figures of the front page, and of the page on accuracy, are those of the result files."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ACCURACY = json.loads((ROOT / "benchmarks/results/accuracy.json").read_text(encoding="utf-8"))["groups"].values()
TABLE1, BEFORE, BEFORE_ON_NEW_SCALE = (
    json.loads((ROOT / f"benchmarks/results/{name}.json").read_text(encoding="utf-8"))["groups"]
    for name in ("table1", "table1_before", "table1_before_embedding")
)
GRAINS = json.loads((ROOT / "benchmarks/results/real_grains.json").read_text(encoding="utf-8"))


def rows(page: str) -> list[list[str]]:
    """Rows of the tables of a page that hold measures."""
    found = re.findall(r"^\| .*\d\.\d{3} .*$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in found]


def row(title: str, samples: int, methods: dict[str, dict[str, float]], names: tuple[str, ...]) -> list[str]:
    return [title, str(samples), *(f"{methods[name]['f1_instance']:.3f}" for name in names)]


def test_the_page_on_accuracy_has_the_groups_of_the_benchmark():
    names = ("ps3d-rt", "threshwater", "unet2d", "snow")
    by_physics = [
        [
            group["title"],
            str(group["samples"]),
            *(f"{other[key]['methods']['ps3d-rt']['f1_instance']:.3f}" for other in (BEFORE, BEFORE_ON_NEW_SCALE)),
            *(f"{group['methods'][name]['f1_instance']:.3f}" for name in ("ps3d-rt", "threshwater", "snow")),
        ]
        for key, group in TABLE1.items()
    ]
    by_formula = [row(g["title"], g["samples"], g["methods"], names) for g in ACCURACY]
    assert rows("docs/accuracy.md") == by_formula + by_physics


def test_the_front_page_has_them_in_short_and_those_of_real_grains():
    names = ("ps3d-rt", "threshwater", "snow")
    assert rows("README.md") == [
        *(row(f"simulated, {g['title']}", g["samples"], g["methods"], names) for g in ACCURACY),
        *(row(f"by physics, {g['title']}", g["samples"], g["methods"], names) for g in TABLE1.values()),
        row("real grains, simulated gray values", len(GRAINS["samples"]), GRAINS["means"], names),
    ]


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))])
def test_links_and_pictures_are_there(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not link.startswith(("http:", "https:")):
            assert ((ROOT / page).parent / link).exists(), link

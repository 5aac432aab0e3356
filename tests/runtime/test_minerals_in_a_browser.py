"""Minerals in the report, and the page of a comparison, in headless Chromium: nothing overlaps, nothing is cut off."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ps3d_rt
from chromium import chromium
from output_folder import write_output

SHAPE = (24, 60, 60)
PHASES = [
    {"name": "quartz", "low": 500, "high": 2000, "density_g_per_cm3": 2.65},
    {"name": "pyrite", "low": 2000, "high": 6000, "density_g_per_cm3": 5.01},
    {
        "name": "a mineral with a name that is as long as they come",
        "low": 6000,
        "high": 20_000,
        "density_g_per_cm3": 7.6,
    },
]
OVERLAPS = """() => {
    const box = e => e.getBoundingClientRect();
    const shown = [...document.querySelectorAll("h1, h2, h3, p, th, td, figcaption, figure, svg text")]
        .filter(e => e.getClientRects().length && e.textContent.trim());
    const beside = (a, b) => a.right <= b.left + 1 || b.right <= a.left + 1;
    const apart = (a, b) => beside(a, b) || a.bottom <= b.top + 1 || b.bottom <= a.top + 1;
    const named = e => `${e.tagName} ${e.textContent.trim().slice(0, 40)}`;
    const found = [];
    for (let i = 0; i < shown.length; i++) for (let k = i + 1; k < shown.length; k++) {
        const [a, b] = [shown[i], shown[k]];
        if (a.contains(b) || b.contains(a) || apart(box(a), box(b))) continue;
        found.push(`${named(a)} | ${named(b)}`);
    }
    return found;
}"""
"""Texts that lie on each other."""
CUT_OFF = """() => [...document.querySelectorAll("svg text")].filter(text => {
    const own = text.getBoundingClientRect(), all = text.closest("svg").getBoundingClientRect();
    return own.left < all.left - 1 || own.right > all.right + 1 || own.top < all.top - 1 || own.bottom > all.bottom + 1;
}).map(text => text.textContent)"""
"""Texts of a drawing that reach beyond it."""


def write_sample(folder: Path, brights: int, seed: int) -> Path:
    """Nine balls, some of them bright and the last of two minerals, with their minerals."""
    grid, draw = np.indices(SHAPE), np.random.default_rng(seed)
    labels, gray = np.zeros(SHAPE, np.uint32), 5000 + draw.normal(0, 60, SHAPE)
    for label in range(1, 10):
        middle = np.reshape((12, 10 + 20 * ((label - 1) // 3), 10 + 20 * ((label - 1) % 3)), (3, 1, 1, 1))
        inside = ((grid - middle) ** 2).sum(0) <= draw.integers(36, 82)
        labels[inside] = label
        gray[inside] += 10_000 if label <= 2 else 3000 if label <= brights else 1000
    gray[(labels == 9) & (grid[0] < 12)] += 2000
    out = write_output(
        folder, labels, gray.astype(np.uint16), embedding=5000.0, noise=60.0, contrast=1700.0, dark=False
    )
    (out / "phases.json").write_text(json.dumps({"unit": "gray", "phases": PHASES}), encoding="utf-8")
    ps3d_rt.minerals(out, edge_correction=False)
    return out


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    outputs = [write_sample(folder / name, brights, seed) for seed, (name, brights) in enumerate(SAMPLES.items())]
    rows = [f"{out.name},{out.name},{out.name},{mass}" for out, mass in zip(outputs, (100, 30, 70), strict=True)]
    (folder / "samples.csv").write_text("\n".join(["output,sample,role,mass", *rows]), encoding="utf-8")
    ps3d_rt.compare(folder / "samples.csv", edge_correction=False).write(folder / "compared")
    return {"report": outputs[0] / "report.html", "comparison": folder / "compared/comparison.html"}


SAMPLES = {"feed": 5, "concentrate": 8, "tailings": 3}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def opened(browser: Any, pages: dict[str, Path]) -> Iterator[Callable[..., Any]]:
    """Open a page at a width; everything that goes wrong is in ``page.wrong``."""
    made = []

    def open_page(name: str, width: int) -> Any:
        page = browser.new_page(viewport={"width": width, "height": 900})
        made.append(page)
        page.wrong = []
        page.on("console", lambda message: page.wrong.append(message.text))
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.on("request", lambda request: page.wrong.append(request.url) if request.url.startswith("http") else None)
        page.goto(pages[name].as_uri())
        return page

    yield open_page
    for page in made:
        page.close()


@pytest.mark.parametrize("width", [1400, 1000])
@pytest.mark.parametrize("name", ["report", "comparison"])
def test_a_screen_shows_everything_side_by_side(opened: Callable[..., Any], name: str, width: int) -> None:
    page = opened(name, width)
    assert page.locator("svg").count() > 3
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(OVERLAPS) == []
    assert page.evaluate(CUT_OFF) == []
    assert "nan" not in page.locator("body").inner_text().lower().split()
    assert page.wrong == []


@pytest.mark.parametrize("name", ["report", "comparison"])
def test_paper_shows_everything_too(opened: Callable[..., Any], name: str) -> None:
    page = opened(name, 718)  # A4 less its margins, at 96 dots an inch
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 718
    assert page.evaluate(OVERLAPS) == []
    assert page.evaluate(CUT_OFF) == []
    assert page.pdf(format="A4").startswith(b"%PDF")
    assert page.wrong == []

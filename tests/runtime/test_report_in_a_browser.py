"""The report in headless Chromium: no errors, sliders that slide, a page for paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chromium import chromium
from ps3d_rt.core.measure import measure
from ps3d_rt.report import take_pictures, write_report

SHAPE = (24, 40, 32)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """The report of a few balls, opened from a file, with everything that goes wrong in ``page.wrong``."""
    labels = np.zeros(SHAPE, np.uint8)
    grid = np.indices(SHAPE)
    for label, center in enumerate([(6, 10, 8), (15, 28, 20), (18, 8, 24)], start=1):
        labels[((grid - np.reshape(center, (3, 1, 1, 1))) ** 2).sum(0) <= 25] = label
    # Every plane has a gray value of its own.
    image = (labels > 0) * 60 + grid[0] * 3 + grid[1]
    table = measure(labels, (0.01,) * 3)
    pictures = take_pictures(lambda box: image[box.slices], lambda box: labels[box.slices], SHAPE, table)
    facts = {"scan": {"name": "balls", "shape": SHAPE, "spacing_mm": (0.01,) * 3}, "seconds": {"network": 1.0}}
    write_report(tmp_path / "report.html", facts, table, pictures)
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.wrong = []
    page.on("console", lambda message: page.wrong.append(message.text))
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.on("request", lambda request: page.wrong.append(request.url) if request.url.startswith("http") else None)
    page.goto((tmp_path / "report.html").as_uri())
    yield page
    page.close()


def visible(page: Any, axis: str) -> list[str]:
    """Slices of an axis that are to be seen, and really decoded."""
    script = """frame => [...frame.querySelectorAll("img")]
        .filter(picture => getComputedStyle(picture).display !== "none" && picture.naturalWidth > 0)
        .map(picture => picture.dataset.index)"""
    found: list[str] = page.eval_on_selector(f"#slice-{axis} .frame", script)
    return found


def test_the_page_opens_without_errors_and_without_the_network(page):
    assert page.title() == "balls · particle report"
    assert [visible(page, axis) for axis in "zyx"] == [["12"], ["20"], ["16"]]
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    assert page.wrong == []


def test_a_slider_changes_the_slice_of_its_axis_only(page):
    slider, before = page.locator("#slice-z input"), page.locator("#slice-z .frame").screenshot()
    slider.focus()
    slider.press("End")
    assert [visible(page, axis) for axis in "zyx"] == [["23"], ["20"], ["16"]]
    assert page.locator("#slice-z .at").inner_text() == "23"
    assert page.locator("#slice-z .frame").screenshot() != before
    slider.press("Home")
    assert visible(page, "z") == ["0"]
    assert page.wrong == []


def test_a_click_enlarges_a_plane_and_the_slider_still_works(page):
    width = page.locator("#slice-y .frame").bounding_box()["width"]
    page.locator("#slice-y .frame").click()
    assert page.locator("#slice-y .frame").bounding_box()["width"] > 1.5 * width
    page.locator("#slice-y input").click(position={"x": 1, "y": 8})
    assert visible(page, "y") == ["1"]
    page.locator("#slice-y .close").click(position={"x": 5, "y": 5})
    assert page.locator("#slice-y .frame").bounding_box()["width"] == width


def test_paper_shows_the_middle_slice_and_no_slider(page):
    page.locator("#slice-z input").press("Home")
    page.emulate_media(media="print")
    assert not page.locator("input").first.is_visible()
    assert page.locator(".hint").is_hidden()
    assert visible(page, "z") == ["12"]
    assert page.locator("#slice-z figcaption b").inner_text() == "z = 12"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.pdf(format="A4").startswith(b"%PDF")
    assert page.wrong == []

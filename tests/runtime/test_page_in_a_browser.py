"""The operator's page in headless Chromium: what is done, the queue and its buttons, a phone, a clean console."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="the extra serve is not installed")
from chromium import chromium
from ps3d_rt.serve.run import Address, served
from ps3d_rt.watch import states
from ps3d_rt.watch.queue import Queue
from ps3d_rt.watch.states import Retries, State
from ps3d_rt.watch.status import write_now

PIXEL = bytes.fromhex(
    "ffd8ffe000104a46494600010100000100010000ffdb004300ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffc0000b0800010001010111"
    "00ffc40014000100000000000000000000000000000009ffc40014100100000000000000000000000000000000ffda0008010100003f"
    "00547fffd9"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    """Three that wait, one that runs, one that failed with a nasty name, one that is done."""
    with Queue(tmp_path / "out" / ".watch") as queue:
        for name in ("done", "fail <img src=x onerror=alert(1)>", "runs", "first", "second", "third"):
            queue.add(f"in/{name}.npy", "1", name)
            if name in ("first", "second", "third"):
                continue
            taken = queue.take()
            assert taken is not None
            if name == "done":
                queue.change(taken.id, states.done, {"particles": 1234, "d50_by_volume_mm": 0.25, "warnings": 1})
            elif name != "runs":
                retries = Retries(tries=1)
                queue.change(taken.id, lambda was, by=retries: states.failed(was, "<b>cut short</b>", by, time.time()))
        (tmp_path / "out" / "done").mkdir()
        (tmp_path / "out" / "done" / "preview.jpg").write_bytes(PIXEL)
        (tmp_path / "out" / "done" / "report.html").write_text("<html><title>the report</title></html>")
        write_now(queue, {"scan": 3, "name": "runs", "stage": "network", "done": 3, "total": 12, "seconds_left": 240})
        yield queue


@pytest.fixture
def page(browser: Any, queue: Queue, tmp_path: Path) -> Iterator[Any]:
    """The page, with everything that goes wrong in ``page.wrong``."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with served(tmp_path / "out", queue, Address(port=port), None):
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.wrong = []
        page.on("console", lambda message: page.wrong.append(message.text))
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.on("dialog", lambda dialog: page.wrong.append(dialog.message))
        page.goto(f"http://127.0.0.1:{port}/")
        page.wait_for_selector("#done .row")
        yield page
        page.close()


def names(page: Any, section: str) -> list[str]:
    found: list[str] = page.locator(f"#{section} .name").all_inner_texts()
    return found


def test_the_page_shows_what_runs_waits_failed_and_is_done(page: Any) -> None:
    assert page.locator("#counts").inner_text() == "1 done, 1 failed, 3 in the queue"
    assert names(page, "queued") == ["first", "second", "third"]
    assert page.locator("#failed .why").inner_text() == "<b>cut short</b>", "shown, not taken for a tag"
    assert page.locator("#now progress").evaluate("bar => bar.value / bar.max") == 0.25
    assert "4 min left" in page.locator("#now").inner_text()
    done = page.locator("#done").inner_text()
    assert "250 µm" in done
    assert "1,234" in done or "1234" in done
    assert page.locator("#done img").evaluate("picture => picture.naturalWidth") == 1
    assert page.wrong == []


def test_buttons_pause_retry_move_and_remove(page: Any, queue: Queue) -> None:
    page.locator("#pause").click()
    page.locator("#pause", has_text="Go on").wait_for()
    assert queue.setting("paused") == "1"
    page.locator("#pause").click()
    page.locator("#pause", has_text="Pause").wait_for()
    page.locator("#queued .row", has_text="third").get_by_text("Up", exact=True).click()
    page.locator("#queued .row").first.get_by_text("third").wait_for()
    page.locator("#queued .row", has_text="second").get_by_text("Remove").click()
    page.wait_for_selector("#removed .row")
    page.locator("#failed").get_by_text("Retry").click()
    page.wait_for_selector("#failed", state="hidden")
    waiting = [entry.name for entry in queue.entries(State.QUEUED)]
    assert (waiting[0], sorted(waiting)[1:]) == ("third", ["first", "third"])
    assert [entry.name for entry in queue.entries(State.REMOVED)] == ["second"]
    assert page.wrong == []


def test_a_report_opens_in_its_sandbox(page: Any) -> None:
    page.locator("#done a").click()
    page.wait_for_url("**/report.html")
    assert page.title() == "the report"
    assert page.evaluate("window.origin") == "null", "it can ask the page for nothing"


def test_a_phone_shows_all_of_it_without_scrolling_sideways(page: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for control in page.locator("button").all():
        box = control.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
        assert box["height"] >= 24, "a finger finds it"
    assert page.wrong == []

"""A headless Chromium for tests that look at pages; they skip where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def chromium() -> Iterator[Any]:
    """Start the browser that playwright has, or the system's."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: no browser to look with")
    with sync_api.sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
        installed = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        if not own.exists() and installed is None:
            pytest.skip("no Chromium: `playwright install chromium` gets one")
        browser = playwright.chromium.launch(executable_path=None if own.exists() else installed)
        yield browser
        browser.close()

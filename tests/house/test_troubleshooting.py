"""The page that explains messages quotes those that there are."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
QUOTED = re.findall(r"^\| `(.+?)` \|", (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE)


def plain(text: str) -> str:
    """Join strings that stand on several lines, and take names in braces for anything."""
    joined = re.sub(r"\"\s*\n\s*f?\"", "", text)
    return re.sub(r"\s+", " ", joined.replace("{MANIFEST}", "model.json"))


SOURCES = [plain(path.read_text(encoding="utf-8")) for path in (ROOT / "runtime").rglob("*.py")]


@pytest.mark.parametrize("message", QUOTED)
def test_a_message_that_is_explained_is_one_of_ours(message):
    assert any(message in source for source in SOURCES)


def test_the_page_quotes_messages():
    assert len(QUOTED) > 20

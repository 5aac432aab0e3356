"""For the site: pages from outside of docs/, and links that lead out of it."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
    "runtime/ps3d_rt/models/default.md": "model-card.md",
}
"""Page of the repository → its place in the site."""
_LINK = re.compile(r"(?P<start>!?\[(?P<text>[^\]]*)\]\()(?P<path>[^):#\s]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that lie elsewhere."""
    for source, place in PAGES.items():
        text = relinked((ROOT / source).read_text(encoding="utf-8"), source, place)
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Let the links of a page lead to where things are in the site."""
    place = page.file.src_uri
    return markdown if place in PAGES.values() else relinked(markdown, f"docs/{place}", place)


def relinked(text: str, source: str, place: str) -> str:
    """Rewrite the links of a page; of one to a file that the site has not, the text is left.

    Args:
        text: Markdown.
        source: the page's path in the repository.
        place: its path in the site.
    """

    def link(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), found["path"]))
        inside = PAGES.get(target, target.removeprefix("docs/") if target.startswith("docs/") else None)
        if inside is None or (ROOT / target).is_dir():
            return found["text"]
        return f"{found['start']}{posixpath.relpath(inside, posixpath.dirname(place) or '.')}{found['anchor'] or ''})"

    return _LINK.sub(link, text)

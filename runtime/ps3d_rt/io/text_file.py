"""Text that scanners' programs and people write beside a scan."""

from __future__ import annotations

import codecs
from pathlib import Path


def read_text(path: Path) -> str:
    """Read a text file: UTF-8 or UTF-16 if it begins with a byte order mark, as Windows writes it; else Latin-1."""
    content = path.read_bytes()
    if content.startswith(codecs.BOM_UTF8):
        return content.decode("utf-8-sig", "replace")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace")
    return content.decode("latin-1")

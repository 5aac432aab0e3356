"""Paths and names of people and machines in texts, shortened: of a path the last name is left."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

GONE = "…"
"""Stands for the folders of a path."""
_SEPARATOR = r"[\\/]+"
_WORD = r"[^\s\\/:*?\"'<>|,;()\[\]{}]+"
_START = (
    r"(?:file:/+(?:[A-Za-z]:[\\/]+)?"
    r"|(?<![A-Za-z0-9])[A-Za-z]:[\\/]+"  # a drive
    r"|(?<![\w\\/.:~…])[\\/]{2,}(?:[?.][\\/]+(?:[A-Za-z]:[\\/]+)?)?"  # a share
    rf"|{GONE}{_SEPARATOR}"
    r"|(?<![\w\\/.~…])/(?![\\/]))"
)
_PATH = re.compile(rf"{_START}(?:{_WORD}(?: {_WORD}){{0,3}}{_SEPARATOR})*({_WORD})?")
_QUOTED = re.compile(r"""(["'])((?:[A-Za-z]:|…)?[\\/][^"'\n]*)\1""")
_HOME = re.compile(rf"([\\/](?:home|users){_SEPARATOR}){_WORD}", re.IGNORECASE)


@dataclass(frozen=True)
class Shortener:
    """What is known of this machine, to be taken out of texts."""

    roots: frozenset[str] = frozenset()
    """Folders in full, as that of the user: what is below them may have blanks and brackets in its names."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Name → what stands in its place, such as the user's."""

    def text(self, text: str) -> str:
        """Shorten everything in a text, a log for example.

        >>> Shortener(names={"jane": "USER"}).text("/data/of jane/a.tif: jane may not read it, see https://docs/a/b")
        '…/a.tif: USER may not read it, see https://docs/a/b'
        """
        for root in sorted(filter(_is_telling, self.roots), key=len, reverse=True):
            for spelled in {root, root.replace("\\", "\\\\"), root.replace("\\", "/"), _escaped(root)}:
                text = re.sub(rf"{re.escape(spelled)}(?![\w-])", GONE, text, flags=re.IGNORECASE)
        text = _HOME.sub(r"\1USER", text)
        text = _QUOTED.sub(_last_in_quotes, text)
        text = _PATH.sub(_last, text)
        for name, instead in self.names.items():
            for spelled in {name, _escaped(name)}:
                text = re.sub(rf"(?<!\w){re.escape(spelled)}(?!\w)", instead, text, flags=re.IGNORECASE)
        return text

    def value(self, value: Any) -> Any:
        """Shorten every text of a value of JSON; a text that is a path as a whole, whatever is in its names."""
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.value(found) for key, found in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(found) for found in value]
        if not isinstance(value, str):
            return value
        path = as_path(value)
        return self.text(value if path is None else f"{GONE}/{path.name}")

    def knowing(self, values: Iterable[Any]) -> Shortener:
        """Know the folders of all paths in values of JSON too."""
        found = {str(path.parent) for value in values for text in texts_in(value) if (path := as_path(text))}
        return Shortener(self.roots | found, self.names)


def texts_in(value: Any) -> Iterable[str]:
    """Give every text in a value of JSON but the keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for found in value.values() if isinstance(value, Mapping) else value:
            yield from texts_in(found)


def as_path(text: str) -> PurePosixPath | PureWindowsPath | None:
    """Take a text that is one absolute path, of whatever system; None if it is none.

    >>> as_path("a/b"), as_path("D:/a b/c (1).tif").name
    (None, 'c (1).tif')
    """
    if "\n" in text:
        return None
    if text.startswith((f"{GONE}/", f"{GONE}\\")):
        return PureWindowsPath(text.removeprefix(GONE))  # it takes both signs
    windows = PureWindowsPath(text)
    if windows.drive and windows.root:
        return windows
    return PurePosixPath(text) if text.startswith("/") else None


def _is_telling(root: str) -> bool:
    return len(root.strip("\\/")) > 2


def _escaped(text: str) -> str:
    return json.dumps(text)[1:-1]


def _last(found: re.Match[str]) -> str:
    if found[0] in ("/", f"{GONE}/"):
        return found[0]
    return f"{GONE}/{found[1] or ''}"


def _last_in_quotes(found: re.Match[str]) -> str:
    """Between quotes a path may have any sign in its names."""
    path = as_path(found[2])
    return found[0] if path is None else f"{found[1]}{GONE}/{path.name}{found[1]}"

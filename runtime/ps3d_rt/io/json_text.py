"""JSON that others may have written: whatever is in it, it is read or it is a ValueError."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MOST_BYTES = 64 * 2**20
"""Of a file that describes something."""
MOST_LEVELS = 64
"""Of lists and objects in each other: more of them end in Python's own limits, here or where they are written again."""


def parse_json(text: str | bytes) -> Any:
    """Read a text; of bytes the encoding is found out.

    Raises:
        ValueError: if it is no JSON, or its lists and objects lie more than :data:`MOST_LEVELS` deep in each other.

    >>> parse_json("[1]"), parse_json(b'{"a": "\\xc2\\xb5m"}')
    ([1], {'a': 'µm'})
    """
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    except ValueError as error:
        if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
            raise
        raise ValueError("a whole number in it has thousands of digits") from error
    level = [found]
    for _ in range(MOST_LEVELS):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return found
    raise ValueError(_TOO_DEEP)


def read_json(path: Path) -> Any:
    """Read a file.

    Raises:
        OSError: if it cannot be read.
        ValueError: as :func:`parse_json`, or if it is larger than :data:`MOST_BYTES`.
    """
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES >> 20} MiB")
    return parse_json(content)


_TOO_DEEP = f"its lists and objects lie more than {MOST_LEVELS} deep in each other"


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [inner for inner in value.values() if isinstance(inner, dict | list)]
    return [inner for inner in value if isinstance(inner, dict | list)] if isinstance(value, list) else []

"""The description that lies beside a raw file."""

from __future__ import annotations

from collections.abc import Callable
from configparser import Error as ConfigError
from pathlib import Path

from ps3d_rt.io.read_errors import read_errors
from ps3d_rt.io.sidecars.esrf import read_info
from ps3d_rt.io.sidecars.layout import RawLayout
from ps3d_rt.io.sidecars.nikon import read_xtekct
from ps3d_rt.io.sidecars.ours import read_json
from ps3d_rt.io.sidecars.phoenix import read_pcr
from ps3d_rt.io.sidecars.vgstudio import read_vgi

_READERS: dict[str, Callable[[Path, Path | None], RawLayout]] = {
    ".json": read_json,
    ".info": read_info,
    ".vgi": read_vgi,
    ".pcr": read_pcr,
    ".xtekct": read_xtekct,
}

DESCRIPTIONS = frozenset(_READERS) - {".json"}
"""Endings of descriptions that can be opened themselves."""


def descriptions_beside(data: Path) -> list[Path]:
    """List the descriptions that lie beside ``data``, the one to be believed first."""
    beside = [data.with_name(data.name + ending) for ending in (".json", ".info")]
    beside += [data.with_suffix(ending) for ending in _READERS if ending != ".info"]
    return [path for path in beside if path.is_file() and path != data]


def read_layout(path: Path, data: Path | None = None) -> RawLayout:
    """Read a description; ``data`` is the file it lies beside, if that was given, else the one it names.

    Raises:
        InputError: if it is broken, or names a file that is not there.
    """
    with read_errors(str(path), "the description of the raw file", also=(ConfigError,)):
        return _READERS[path.suffix.lower()](path, data)

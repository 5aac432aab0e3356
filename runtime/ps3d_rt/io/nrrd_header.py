"""The header of a NRRD file: fields of text, up to an empty line.

Read here, and not by a library, because the one there is drops bytes beyond ASCII: 10 µm became 10 m.
Source: https://teem.sourceforge.net/nrrd/format.html
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from math import hypot
from pathlib import Path
from typing import IO

from ps3d_rt.errors import InputError
from ps3d_rt.io.data_file import header_text

_LONGEST_LINE = 2**16
_MOST_LINES = 2**20
_VALUES = re.compile(r"color|vector|matrix|quaternion|complex|gradient|normal|covariant", re.IGNORECASE)
"""Kinds of an axis whose entries are the parts of one value."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis, the fastest first.

    Attributes:
        size: entries.
        kind: what it counts, lower case; '' if the header does not say.
        step: from entry to entry, in ``unit``; None if there is none.
        unit: of ``step``.
    """

    size: int
    kind: str
    step: float | None
    unit: str | None


@dataclass(frozen=True, slots=True)
class NrrdHeader:
    """Fields by name, lower case and without spaces; ``lines`` follow a ``data file: LIST``."""

    path: Path
    fields: dict[str, str]
    lines: list[str]

    def text(self, name: str) -> str:
        """Return a field that every file needs, in lower case."""
        if name not in self.fields:
            raise InputError(
                f"{self.path}: the NRRD header lacks the field '{name}'; it is cut short or incomplete: "
                "copy or export it again."
            )
        return self.fields[name].lower()

    def whole(self, name: str, default: int = 0) -> int:
        """Return a whole number."""
        return default if name not in self.fields else self._numbers(name)[0]

    def axes(self) -> list[Axis]:
        """Return all axes; a field that does not have one entry for each counts for nothing."""
        sizes = self._numbers("sizes")
        if len(sizes) != self.whole("dimension", len(sizes)):
            raise InputError(
                f"{self.path}: dimension is {self.fields['dimension']}, sizes are {self.fields['sizes']}; "
                "there must be a size for each: correct the header."
            )
        directions = re.findall(r"\([^()]*\)|\S+", self.fields.get("spacedirections", ""))[: len(sizes)]
        steps = [_length(text) for text in directions]
        places = [index for index, step in enumerate(steps) if step is not None]
        units: list[str | None] = [None] * len(sizes)
        if directions:
            for place, unit in zip(places, _quoted(self.fields.get("spaceunits", "")), strict=False):
                units[place] = unit
        else:
            steps = [_number(text) for text in self.fields.get("spacings", "").split()]
            units = list(_quoted(self.fields.get("units", ""))) or units
        kinds = self.fields.get("kinds", "").lower().split()
        return [
            Axis(
                size,
                kinds[index] if len(kinds) == len(sizes) else "",
                steps[index] if len(steps) == len(sizes) else None,
                units[index] if len(units) == len(sizes) else None,
            )
            for index, size in enumerate(sizes)
        ]

    def _numbers(self, name: str) -> list[int]:
        text = self.text(name)
        try:
            return [int(part) for part in text.split()] or [int(text)]
        except ValueError as error:
            raise InputError(
                f"{self.path}: the field '{name}' of the NRRD header is '{text[:80]}'; it must be whole "
                "numbers: correct it, or export the file again."
            ) from error


def read_header(file: IO[bytes], path: Path) -> NrrdHeader:
    """Read up to the empty line that ends the header, or the end of a detached one.

    Raises:
        InputError: if it is not an NRRD header.
    """
    magic = file.readline(_LONGEST_LINE).rstrip().removeprefix(codecs.BOM_UTF8)
    if not magic.startswith(b"NRRD"):
        raise InputError(f"{path}: does not start with NRRD as a NRRD file does; check what it is.")
    if not re.fullmatch(rb"NRRD000[1-5]", magic):
        raise InputError(
            f"{path}: is NRRD of version {header_text(magic[4:12])!r}; versions 1 to 5 are supported: save it as 5."
        )
    fields: dict[str, str] = {}
    lines: list[str] = []
    for _ in range(_MOST_LINES):
        line = header_text(file.readline(_LONGEST_LINE)).strip()
        if not line and "datafile" not in fields:
            break
        if fields.get("datafile", "").upper().startswith("LIST"):
            if not line:
                break
            lines.append(line)
            continue
        if not line:
            break
        name, colon, value = line.partition(":")
        if line.startswith("#") or value.startswith("="):  # a comment; a key of the user's own
            continue
        if not colon:
            raise InputError(
                f"{path}: the NRRD header has the line '{line[:80]}', which is not a field of the format; "
                "correct it, or copy or export the file again."
            )
        fields[name.replace(" ", "").lower()] = value.strip()
    return NrrdHeader(path, fields, lines)


def spatial_axes(axes: list[Axis], path: Path) -> list[Axis]:
    """Return x, y, z: three axes are left when those of one entry are dropped, other than of space first.

    Raises:
        InputError: if that leaves more or less, or an axis holds the parts of one value, or time.
    """
    for axis in axes:
        if axis.size > 1 and (_VALUES.search(axis.kind) or axis.kind == "time"):
            raise InputError(
                f"{path}: an axis of kind '{axis.kind}' has {axis.size} entries; a volume has one gray value per "
                "voxel: save one channel and one time point."
            )
    # Axes that are not of space go first, then the slowest.
    order = sorted(range(len(axes)), key=lambda index: (_is_of_space(axes[index]), -index))
    dropped = [index for index in order if axes[index].size == 1][: max(0, len(axes) - 3)]
    kept = [axis for index, axis in enumerate(axes) if index not in dropped]
    if len(kept) != 3 or min(axis.size for axis in kept) < 1:
        sizes = ", ".join(f"{axis.size} ({axis.kind})" if axis.kind else str(axis.size) for axis in axes)
        raise InputError(
            f"{path}: the axes have {sizes} entries; a volume has x, y, z, and any other axis one entry: "
            "save one channel and one time point."
        )
    return kept


def _is_of_space(axis: Axis) -> bool:
    return axis.step is not None and axis.kind in ("", "domain", "space")


def _quoted(text: str) -> list[str | None]:
    found = re.findall(r'"([^"]*)"|(\S+)', text)
    return [(quoted or bare).strip() or None for quoted, bare in found]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _length(text: str) -> float | None:
    """Length of a vector ``(a,b,c)``; None for ``none``."""
    return hypot(*map(_number, text[1:-1].split(","))) if text.startswith("(") else None

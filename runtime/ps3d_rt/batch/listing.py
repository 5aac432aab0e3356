"""The samples of a batch as a folder or a listing names them. What is wrong with one entry stays with that entry."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from ps3d_rt.batch.samples import Length, Sample, checked
from ps3d_rt.batch.scans_in import scans_in
from ps3d_rt.core.minerals.phases import PhasesAsked
from ps3d_rt.errors import InputError
from ps3d_rt.io.json_text import parse_json
from ps3d_rt.io.names import stem_of
from ps3d_rt.io.phases import phases_asked
from ps3d_rt.io.read_errors import parse_errors

METADATA, SAMPLES, IMAGES = "metadata.json", "samples.csv", "images"
COLUMNS = ("path", "spacing", "particle_size", "name", "model", "phases")
_MOST_BYTES = 64 * 2**20
"""Of a listing: a million samples."""


def is_batch(folder: Path) -> bool:
    """Whether a path stands for several scans, by what lies in it."""
    return folder.is_dir() and (
        (folder / SAMPLES).is_file()
        or ((folder / METADATA).is_file() and (folder / IMAGES).is_dir())
        or bool(scans_in(folder))
    )


def list_samples(folder: Path, listing: Path | None = None) -> list[Sample]:
    """List the samples of a folder.

    Args:
        folder: with ``samples.csv``, with ``metadata.json`` and ``images``, or with scans, looked for in this order.
        listing: a CSV in another place; its paths are below ``folder`` all the same.

    Raises:
        InputError: if there is no sample, or the listing as a whole cannot be read. What is wrong with one sample is
            its ``problem``.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give the folder that the scans of the batch lie in.")
    if listing is None and (folder / SAMPLES).is_file():
        listing = folder / SAMPLES
    if listing is not None:
        found = parse_csv(_text(listing), folder, listing.name)
    elif (folder / METADATA).is_file() and (folder / IMAGES).is_dir():
        found = _from_metadata(_text(folder / METADATA), folder)
    else:
        found = [Sample(name=stem_of(path), path=path) for path in scans_in(folder)]
    if not found:
        raise InputError(f"{folder} holds no scan and lists none; see docs/production.md for what a batch may be.")
    return checked(found)


def parse_csv(text: str, folder: Path, source: str) -> list[Sample]:
    """Read samples.csv: a heading with names of :data:`COLUMNS`, then a line a sample; comma, semicolon or tab.

    Raises:
        InputError: if the heading is not of these.
    """
    heading = text.lstrip("\ufeff").partition("\n")[0]
    parts_at = max(",;\t", key=heading.count)
    rows = csv.reader(io.StringIO(text.lstrip("\ufeff"), newline=""), delimiter=parts_at)
    columns = [cell.strip().lower() for cell in next(rows, [])]
    unknown = [column for column in columns if column not in COLUMNS]
    if unknown or "path" not in columns or len(set(columns)) < len(columns):
        raise InputError(
            f"{source}: its first line names the columns {', '.join(columns) or 'of nothing'}; it needs path, and may "
            f"have {', '.join(COLUMNS[1:])}, each once."
        )
    try:
        lines = [(rows.line_num, row) for row in rows if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise InputError(f"{source}: line {rows.line_num} cannot be read; export the table again – {error}") from error
    return [_from_row(columns, row, folder, f"{source}, line {line}") for line, row in lines]


def _from_row(columns: Sequence[str], row: Sequence[str], folder: Path, where: str) -> Sample:
    cells = dict(zip(columns, (cell.strip() for cell in row), strict=False))
    name = cells.get("name") or stem_of(Path((cells.get("path") or "sample").replace("\0", "")))
    try:
        if len(row) != len(columns):
            raise InputError(f"it has {len(row)} cells and the heading {len(columns)}; mend the line.")
        return Sample(
            name=name,
            path=_inside(folder, cells["path"]),
            spacing_mm=_spacing(cells.get("spacing") or None),
            particle_size=_size(cells.get("particle_size") or None),
            model=cells.get("model") or None,
            phases=_phases(folder, cells.get("phases") or None),
        )
    except InputError as error:
        return Sample(name=name, problem=f"{where}: {error}")


def _from_metadata(text: str, folder: Path) -> list[Sample]:
    """Read the published layout: ``{"NAME": {"spacing": mm, "particle_size": mm}}``, scans in ``images``."""
    layout = f'{METADATA} is {{"NAME": {{"spacing": mm, "particle_size": mm}}}}'
    with parse_errors(folder / METADATA, "JSON", layout):
        content = parse_json(text)
    if not isinstance(content, dict):
        raise InputError(f"{folder / METADATA} holds no object; {layout}.")
    images: dict[str, list[Path]] = {}
    for path in sorted((folder / IMAGES).iterdir()):
        images.setdefault(stem_of(path), []).append(path)
    return [_from_entry(name, entry, images) for name, entry in content.items()]


def _from_entry(name: str, entry: Any, images: Mapping[str, Sequence[Path]]) -> Sample:
    try:
        if not isinstance(entry, dict):
            raise InputError("it is no object; give spacing and particle_size, in mm.")
        found = images.get(name, [])
        if len(found) != 1:
            raise InputError(f"{IMAGES} holds {len(found)} volumes called {name}; it must hold one.")
        return Sample(
            name=name,
            path=found[0],
            spacing_mm=_spacing(entry.get("spacing")),
            particle_size=_size(entry.get("particle_size")),
        )
    except InputError as error:
        return Sample(name=name, problem=f"{METADATA}: {error}")


def _phases(folder: Path, text: str | None) -> PhasesAsked | None:
    """Read ``auto:N``, or a file below the folder."""
    if text is None:
        return None
    return phases_asked(text if text.lower().startswith("auto:") else _inside(folder, text))


def _inside(folder: Path, text: str) -> Path:
    """Take a path of a listing, which must stay below the folder, whatever system it was written on."""
    if not text:
        raise InputError("it has no path; give that of the scan, below the folder.")
    path = PurePosixPath(text.replace("\\", "/"))
    if path.is_absolute() or PureWindowsPath(text).drive or ".." in path.parts or "\0" in text:
        raise InputError(f"path {text!r} leads out of {folder}; give paths below the folder of the batch.")
    return folder / path


def _spacing(value: Any) -> tuple[float, ...] | None:
    if value is None:
        return None
    parts = value.replace(";", " ").replace(",", " ").split() if isinstance(value, str) else value
    numbers = tuple(_number(part) for part in (parts if isinstance(parts, list) else [parts]))
    if len(numbers) not in (1, 3) or not all(n is not None and n > 0 for n in numbers):
        raise InputError(f"spacing is {value!r}; give one number above 0 in mm, or three: z y x.")
    return tuple(n for n in numbers if n is not None) * (3 // len(numbers))


def _size(value: Any) -> Length | None:
    if value is None:
        return None
    if isinstance(value, str) and value.lower() == "auto":
        return "auto"
    size = _number(value)
    if size is None or size <= 0:
        raise InputError(f"particle_size is {value!r}; give a diameter in mm above 0, or auto.")
    return size


def _number(value: Any) -> float | None:
    """Read a finite number; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if isfinite(found) else None


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"{path} is larger than {_MOST_BYTES >> 20} MiB; that is no list of samples.")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text in UTF-8; save it again as UTF-8 – {error}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read; look after it – {error.strerror or error}") from error

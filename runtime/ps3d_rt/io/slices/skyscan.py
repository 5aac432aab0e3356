"""Logs of Bruker SkyScan beside the slices that NRecon writes: the voxel size, and how many slices there should be.

    ore_rec.log   [Reconstruction] Pixel Size (um), Section to Section Step, Sections Count, Result Image Width …
    ore.log       of the acquisition, without that section: Image Pixel Size (um) of the projections
    ore_rec_spr.bmp   a preview, no slice

Source: such logs in public repositories, and the readers of SlicerMorph and others; Bruker publishes no description.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from configparser import Error as ConfigError
from dataclasses import dataclass
from pathlib import Path

from ps3d_rt.errors import InputError
from ps3d_rt.io.base import SpacingMm, check_spacing
from ps3d_rt.io.ini import Sections, ini_sections, number_in
from ps3d_rt.io.read_errors import read_errors
from ps3d_rt.io.text_file import read_text

_RECONSTRUCTION, _ACQUISITION = "reconstruction", "acquisition"
_PIXEL, _IMAGE_PIXEL, _STEP = "Pixel Size (um)", "Image Pixel Size (um)", "Section to Section Step"
_SIZES = ("Sections Count", "Result Image Height (pixels)", "Result Image Width (pixels)")
_PREVIEW = "_spr"


@dataclass(frozen=True, slots=True)
class SkyScanFacts:
    """What the logs say of the slices: voxel size, z, y, x, and sentences for a person."""

    spacing_mm: SpacingMm | None = None
    remarks: tuple[str, ...] = ()


def read_logs(folder: Path, names: Sequence[str]) -> dict[str, Sections]:
    """Read the files of ``names`` that are SkyScan logs; name → sections. Logs of other programs are left alone."""
    logs = {}
    for name in names:
        if name.lower().endswith(".log"):
            with read_errors(str(folder / name), "the log"):
                text = read_text(folder / name)
            try:
                sections = ini_sections(text)
            except ConfigError:
                continue
            if {_RECONSTRUCTION, _ACQUISITION} & sections.keys():
                logs[name] = sections
    return logs


def previews(names: Sequence[str], logs: Mapping[str, Sections]) -> list[str]:
    """Give the names that are NRecon's pictures of a projection, not slices."""
    ends = {Path(log).stem.casefold() + _PREVIEW for log in logs}
    return [name for name in names if Path(name).stem.casefold() in ends]


def facts_of(
    logs: Mapping[str, Sections], *, prefix: str, count: int, shape: tuple[int, ...], folder: Path
) -> SkyScanFacts:
    """Say what the log that belongs to the slices says.

    Args:
        logs: from :func:`read_logs`.
        prefix: what stands before the number in the names of the slices.
        count: number of slices.
        shape: of one slice, y, x.
        folder: for messages.

    Raises:
        InputError: if the images are projections.
    """
    own = [name for name in logs if Path(name).stem.casefold() == prefix.casefold()]
    if own and _RECONSTRUCTION not in logs[own[0]] and _is_projection(logs[own[0]][_ACQUISITION], shape):
        raise InputError(
            f"{folder}: {own[0]} says that the images are projections, not slices: reconstruct them, and give the "
            "folder of the result."
        )
    found = [name for name in own or logs if _RECONSTRUCTION in logs[name]]
    if len(found) > 1:
        return SkyScanFacts(None, (f"none of {', '.join(found)} belongs to the slices {prefix}…: not used.",))
    try:
        if found:
            return _of_reconstruction(logs[found[0]][_RECONSTRUCTION], found[0], prefix, (count, *shape))
        if len(logs) == 1:
            return _of_acquisition(*next(iter(logs.items())))
    except InputError as error:  # the log is no reason to refuse good slices: --spacing serves
        return SkyScanFacts(None, (f"no voxel size is taken from the log: {error}",))
    return SkyScanFacts()


def _is_projection(said: Mapping[str, str], shape: tuple[int, ...]) -> bool:
    """Whether an image of ``shape`` is as large as the projections; so it is if the log does not say."""
    sizes = [said.get(f"number of {axis}", "").strip() for axis in ("rows", "columns")]
    return all(size in ("", str(side)) for size, side in zip(sizes, shape, strict=True))


def _of_acquisition(log: str, sections: Sections) -> SkyScanFacts:
    size = number_in(sections[_ACQUISITION], _IMAGE_PIXEL, log) / 1000
    remark = f"the voxel size comes from {log}, a log of the acquisition: check it if the slices were scaled."
    return SkyScanFacts(check_spacing(size, log), (remark,))


def _of_reconstruction(said: dict[str, str], log: str, prefix: str, shape: tuple[int, ...]) -> SkyScanFacts:
    size = number_in(said, _PIXEL, log) / 1000
    step = number_in(said, _STEP, log) if _STEP.lower() in said else 1.0
    remarks = []
    if Path(log).stem.casefold() != prefix.casefold():
        remarks.append(f"the voxel size comes from {log}, the slices are called {prefix}…: check that they belong.")
    sizes = dict(zip(_SIZES, shape, strict=True))
    expected = {key: number_in(said, key, log) for key in _SIZES if key.lower() in said}
    if differing := [f"{key} {expected[key]:g}, found {sizes[key]}" for key in expected if expected[key] != sizes[key]]:
        remarks.append(
            f"{log} says {'; '.join(differing)}: slices may be missing at the ends, or they were cropped or scaled; "
            "if they were scaled, pass --spacing."
        )
    return SkyScanFacts(check_spacing((size * step, size, size), log), tuple(remarks))

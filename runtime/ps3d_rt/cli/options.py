"""Options that several commands share: one type, one help text. A default stands in the command."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from ps3d_rt.errors import InputError
from ps3d_rt.io.units import mm_per

AUTO: Final = "auto"
"""A particle size that is to be estimated."""

about_scan = partial(typer.Option, rich_help_panel="Scan")
about_model = partial(typer.Option, rich_help_panel="Model")
about_speed = partial(typer.Option, rich_help_panel="Speed and memory")
about_batch = partial(typer.Option, rich_help_panel="Batch")
about_output = partial(typer.Option, rich_help_panel="Output")
"""An option in its group of the help."""

Scan = Annotated[Path, typer.Argument(help="TIFF, folder of slices, OME-Zarr, NIfTI, NRRD, HDF5, npy, raw …")]
Spacing = Annotated[str | None, about_scan(help="Side of a voxel, mm: 0.01, or z,y,x; or 10um.")]
RawShape = Annotated[str | None, about_scan(help="Voxels z,y,x of a raw file.")]
RawDtype = Annotated[str | None, about_scan(help="Type of a raw file's voxels: uint8, uint16, >u2 …")]
RawOffset = Annotated[int | None, about_scan(help="Bytes of a header in front of a raw file's voxels.", min=0)]
GrayBins = Annotated[
    str | None,
    about_output(help="LOW:HIGH of the 64 bins of the gray histograms, so that samples compare; default: the scan's."),
]
AsJson = Annotated[
    bool, about_output("--json", help="Print the result as JSON; the default where stdout is not a terminal.")
]
EdgeCorrection = Annotated[
    bool,
    about_output(
        "--edge-correction/--no-edge-correction",
        help="Correct the size distribution for the particles that the boundary cuts.",
    ),
]
Overwrite = Annotated[bool, about_output("--overwrite", help="Replace an output that is there.")]


def spacing_mm(text: str | None) -> list[float] | None:
    """Parse ``--spacing``: one length for all axes, or ``z,y,x``; mm, unless a unit is there. None if it was not given.

    >>> spacing_mm("0.01"), spacing_mm("1,2,3"), spacing_mm("250 µm")
    ([0.01, 0.01, 0.01], [1.0, 2.0, 3.0], [0.25, 0.25, 0.25])
    """
    if text is None:
        return None
    parts = text.split(",")
    values, have_units = [_length_mm(part) for part in parts], {part.strip()[-1:].isalpha() for part in parts}
    if len(values) not in (1, 3) or None in values or len(have_units) > 1:
        raise InputError(
            f"--spacing is {text!r}; give one length in mm with a decimal point, such as 0.01, or three as z,y,x; or "
            "each with a unit: 10um."
        )
    return [value for value in values if value is not None] * (3 // len(values))


def particle_size(text: str) -> float | Literal["auto"]:
    """Parse ``--particle-size``: a length, mm, unless a unit is there; or ``auto``.

    >>> particle_size("0.29"), particle_size("290um"), particle_size("Auto")
    (0.29, 0.29, 'auto')
    """
    if text.strip().lower() == AUTO:
        return AUTO
    size = _length_mm(text)
    if size is None:
        raise InputError(
            f"--particle-size is {text!r}; give a length in mm with a decimal point, such as 0.29, or with a unit: "
            f"290um; or {AUTO}."
        )
    return size


def _length_mm(text: str) -> float | None:
    """Read a number that may have a unit; None if it is none. A comma is refused: it could part decimals or axes."""
    found = re.fullmatch(r"\s*([-+.\deE]+?)\s*([^\W\d_]+)?\s*", text)
    factor = mm_per(found[2] or "mm") if found else None
    if found is None or factor is None:
        return None
    try:
        # As decimals: 10 µm are 0.01 mm, not 0.010000000000000002.
        return float(Decimal(found[1]) * Decimal(repr(factor)))
    except InvalidOperation:
        return None


def roi(text: str | None) -> list[tuple[int | None, int | None]] | None:
    """Parse ``--roi``: ``z0:z1,y0:y1,x0:x1``, an end left out is the face of the volume; None if it was not given.

    >>> roi("0:64,:,32:")
    [(0, 64), (None, None), (32, None)]
    """
    if text is None:
        return None
    found = re.fullmatch(r"\s*,\s*".join([r"(\d*):(\d*)"] * 3), text.strip())
    if found is None:
        raise InputError(
            f"--roi is {text!r}; give three ranges of voxels as z0:z1,y0:y1,x0:x1, such as 0:200,:,50:400."
        )
    ends = [int(end) if end else None for end in found.groups()]
    return list(zip(ends[::2], ends[1::2], strict=True))


def sides(text: str | None) -> tuple[int, int, int] | None:
    """Parse ``--shape``: one whole number for all axes, or ``z,y,x``; None if it was not given.

    >>> sides("256"), sides("64,128,128")
    ((256, 256, 256), (64, 128, 128))
    """
    if text is None:
        return None
    words = text.split(",")
    if len(words) not in (1, 3) or not all(word.strip().isdecimal() and int(word) for word in words):
        raise InputError(f"--shape is {text!r}; give one whole number above 0, or three as z,y,x without spaces.")
    z, y, x = [int(word) for word in words] * (3 // len(words))
    return z, y, x

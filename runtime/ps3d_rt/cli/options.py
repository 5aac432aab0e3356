"""Options that several commands share: one type, one help text. A default stands in the command."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from ps3d_rt.errors import InputError

Scan = Annotated[Path, typer.Argument(help="TIFF, folder of slices, OME-Zarr, NIfTI, NRRD, HDF5, npy, raw …")]
ParticleSize = Annotated[str, typer.Option(help="Rough mean diameter of the particles, mm; auto: estimate it.")]
Spacing = Annotated[str | None, typer.Option(help="Side of a voxel, mm: 0.01, or z,y,x.")]
Model = Annotated[str, typer.Option(help="Bundled model, or path of a .ps3d bundle.")]
EngineName = Annotated[str, typer.Option(help="auto, or an engine by its name: openvino, onnxruntime, tensorrt …")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda:N, or several GPUs: cuda:0,cuda:1 or cuda:all.")]
GpuMemory = Annotated[float, typer.Option(help="Memory of a GPU that the run may take, GiB.")]
Memory = Annotated[
    float | None,
    typer.Option(help="Memory that the run may take, GiB; default: 4, or half of what is free if that is less."),
]
Threads = Annotated[int | None, typer.Option(help="Threads of the engine; default: all cores.", min=1)]
Overlap = Annotated[float | None, typer.Option(help="Share of a patch covered again; default: the model's.")]
Mirror = Annotated[
    bool | None,
    typer.Option("--mirror/--no-mirror", help="Average over 8 mirror images, 8 times as long; default: the model's."),
]
Embedding = Annotated[
    float | None,
    typer.Option(help="Gray value of what the particles lie in; default: found. For models that count from it."),
]
Dark = Annotated[bool, typer.Option("--dark", help="The particles are darker than what they lie in.")]
Mask = Annotated[Path | None, typer.Option(help="Volume of the same shape: only where it is not 0 counts.")]
Roi = Annotated[str | None, typer.Option(help="Only this box counts: z0:z1,y0:y1,x0:x1, voxels.")]
RawShape = Annotated[str | None, typer.Option(help="Voxels z,y,x of a raw file.")]
RawDtype = Annotated[str | None, typer.Option(help="Type of a raw file's voxels: uint8, uint16, >u2 …")]
RawOffset = Annotated[int | None, typer.Option(help="Bytes of a header in front of a raw file's voxels.", min=0)]
WorkerCount = Annotated[int, typer.Option(help="Processes; 1 works in this one.", min=1)]
ChunkSide = Annotated[int, typer.Option(help="Side of a chunk in which particles are put together, voxels.")]
Sieve = Annotated[bool, typer.Option("--sieve", help="Size particles by the sieve that they pass, not by volume.")]
EdgeCorrection = Annotated[
    bool, typer.Option(help="Correct the size distribution for the particles that the faces cut.")
]


def spacing_mm(text: str | None) -> list[float] | None:
    """Parse ``--spacing``: one number for all axes, or ``z,y,x``; None if it was not given.

    >>> spacing_mm("0.01"), spacing_mm("1,2,3")
    ([0.01, 0.01, 0.01], [1.0, 2.0, 3.0])
    """
    if text is None:
        return None
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in (1, 3):
        raise InputError(f"--spacing is {text!r}; give one number, or three as z,y,x without spaces.")
    return values * (3 // len(values))


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

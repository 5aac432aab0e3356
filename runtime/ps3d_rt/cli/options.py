"""Options that several commands share: one type, one help text. A default stands in the command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Scan = Annotated[Path, typer.Argument(help="TIFF, folder of slices, OME-Zarr, NIfTI, NRRD, HDF5, npy, raw …")]
ParticleSize = Annotated[str, typer.Option(help="Rough mean diameter of the particles, mm; auto: estimate it.")]
Spacing = Annotated[str | None, typer.Option(help="Side of a voxel, mm: 0.01, or z,y,x.")]
Model = Annotated[str, typer.Option(help="Bundled model, or path of a .ps3d bundle.")]
EngineName = Annotated[str, typer.Option(help="auto, or an engine by its name: openvino, onnxruntime, tensorrt …")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda:N, or several cards: cuda:0,cuda:1 or cuda:all.")]
GpuMemory = Annotated[float, typer.Option(help="Memory of a card that the run may take, GiB.")]
Threads = Annotated[int | None, typer.Option(help="Threads of the engine; default: all cores.", min=1)]
Overlap = Annotated[float | None, typer.Option(help="Share of a patch covered again; default: the model's.")]
Mirror = Annotated[
    bool | None,
    typer.Option("--mirror/--no-mirror", help="Average over 8 mirror images, 8 times as long; default: the model's."),
]
RawShape = Annotated[str | None, typer.Option(help="Voxels z,y,x of a raw file.")]
RawDtype = Annotated[str | None, typer.Option(help="Type of a raw file's voxels: uint8, uint16, >u2 …")]
RawOffset = Annotated[int | None, typer.Option(help="Bytes of a header in front of a raw file's voxels.", min=0)]
WorkerCount = Annotated[int, typer.Option(help="Processes; 1 works in this one.", min=1)]
ChunkSide = Annotated[int, typer.Option(help="Side of a chunk in which particles are put together, voxels.")]
Sieve = Annotated[bool, typer.Option("--sieve", help="Size particles by the sieve that they pass, not by volume.")]
EdgeCorrection = Annotated[
    bool, typer.Option(help="Correct the size distribution for the particles that the faces cut.")
]

"""The options that ``predict`` and ``plan`` share: what is segmented, with which model, and what it may take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ps3d_rt.cli import options
from ps3d_rt.cli.options import about_model, about_scan, about_speed


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Texts as they were typed; :func:`ps3d_rt.cli.opened.opened` reads them."""

    particle_size: Annotated[
        str, about_scan(help="Rough mean diameter of the particles, mm, or 290um; auto: estimate it.")
    ] = options.AUTO
    spacing: options.Spacing = None
    dark: Annotated[bool, about_scan("--dark", help="The particles are darker than what they lie in.")] = False
    embedding: Annotated[
        float | None,
        about_scan(help="Gray value of what the particles lie in; default: found. For models that count from it."),
    ] = None
    mask: Annotated[Path | None, about_scan(help="Volume of the same shape: only where it is not 0 counts.")] = None
    roi: Annotated[str | None, about_scan(help="Only this box counts: z0:z1,y0:y1,x0:x1, voxels.")] = None
    shape: options.RawShape = None
    dtype: options.RawDtype = None
    offset: options.RawOffset = None

    model: Annotated[str, about_model(help="Bundled model, or path of a .ps3d bundle.")] = "default"
    overlap: Annotated[float | None, about_model(help="Share of a patch covered again; default: the model's.")] = None
    mirror: Annotated[
        bool | None,
        about_model(
            "--mirror/--no-mirror", help="Average over 8 mirror images, 8 times as long; default: the model's."
        ),
    ] = None
    skip: Annotated[bool, about_model(help="Leave out patches without contrast.")] = True

    engine: Annotated[str, about_speed(help="auto, or an engine by its name: openvino, onnxruntime, tensorrt …")] = (
        "auto"
    )
    device: Annotated[str, about_speed(help="auto, cpu, cuda:N, or several GPUs: cuda:0,cuda:1 or cuda:all.")] = "auto"
    precision: Annotated[
        str, about_speed(help="On the CPU fp32, bf16 or int8; auto: the fastest here that is as good as fp32.")
    ] = "auto"
    memory: Annotated[
        float | None,
        about_speed(help="Memory that the run may take, GiB; default: 4, or half of what is free if that is less."),
    ] = None
    gpu_memory: Annotated[float, about_speed(help="Memory of a GPU that the run may take, GiB.")] = 12
    threads: Annotated[int | None, about_speed(help="CPU threads; default: all cores.", min=1)] = None
    workers: Annotated[int, about_speed(help="Processes; 1 works in this one.", min=1)] = 1
    cluster: Annotated[
        str | None,
        about_speed(help="Address of a Dask scheduler, or local:N: the tasks go to its workers (docs/cluster.md)."),
    ] = None
    store: Annotated[
        str | None, about_speed(help="Address for the working arrays: s3://bucket/work; default: beside OUT.")
    ] = None
    chunk: Annotated[int, about_speed(help="Side of a chunk in which particles are put together, voxels.")] = 256

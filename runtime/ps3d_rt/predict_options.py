"""What may be asked of a run in Python, and the config that follows once scan and model are open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from ps3d_rt.cluster import find_cluster
from ps3d_rt.core.distribution import PLAIN_SIZES, SizeOptions
from ps3d_rt.core.gray import GrayBins
from ps3d_rt.core.minerals.phases import PhasesAsked
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import Volume, check_spacing, spacing_warnings
from ps3d_rt.io.phases import phases_asked
from ps3d_rt.io.remote import address_of
from ps3d_rt.io.selected import Roi
from ps3d_rt.io.spacing import contradicted
from ps3d_rt.io.table_files import CSV_ONLY, TableFiles
from ps3d_rt.memory import default_bytes
from ps3d_rt.model import ModelBundle
from ps3d_rt.plan import PredictConfig, check_particle_size, particle_size_warnings

AUTO: Final = "auto"
"""A particle size that is to be estimated."""
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """The keywords of :func:`ps3d_rt.predict` and :func:`ps3d_rt.predict_to_folder`."""

    particle_size: float | Literal["auto"] = AUTO
    """Rough mean diameter of the particles, mm. The scan is resized by it: within a factor of about 1.5 is enough.
    ``auto`` estimates it first, from a few parts of the scan."""
    spacing: float | Sequence[float] | None = None
    """Side of a voxel in mm, one number or z, y, x; may be left out if the scan knows it."""
    model: str | Path | ModelBundle = "default"
    """Name of a bundled model, path of a bundle, or a loaded one."""
    engine: str = "auto"
    """``auto``, or an engine by its name, such as ``openvino`` or ``tensorrt``."""
    device: str = "auto"
    """``auto``, ``cpu`` or ``cuda:N``; ``auto`` is the GPU of an array that lies on one."""
    precision: str = "auto"
    """On a CPU ``fp32``, ``bf16`` or ``int8``; ``auto`` is the fastest here of those that passed the model's accuracy
    gate. Labels depend on it a little, and ``run.json`` says which it was."""
    threads: int | None = None
    """CPU threads of the run, shared by its workers; None takes all cores."""
    overlap: float | None = None
    """Share of a patch covered again by the next one; None takes the model's."""
    mirror: bool | None = None
    """Average over 8 mirror images, 8 times as long; None does what the model asks for."""
    skip_empty: bool = True
    """Leave out patches without contrast."""
    embedding: float | None = None
    """Gray value of what the particles lie in; None finds it. For models that count from it."""
    dark: bool = False
    """The particles are darker than what they lie in."""
    mask: Any = None
    """Path, array or volume of the same shape; only where it is not 0 counts for gray values and is segmented."""
    roi: Roi | None = None
    """Only this box counts: (start, stop) along z, y, x, voxels; None is a face. Labels keep the scan's shape."""
    gray_bins: tuple[float, float] | None = None
    """Least and largest gray value of the 64 bins of the gray histograms, so that samples compare; None: chosen from
    the scan."""
    sizes: SizeOptions = PLAIN_SIZES
    """Of the size distribution."""
    files: TableFiles = CSV_ONLY
    """Of the table, for other programs, in the folder of a run."""
    phases: str | Path | PhasesAsked | None = None
    """Minerals to find, in the folder of a run: a file of phases, or ``auto:N`` to propose at most N of them."""
    shape: Sequence[int] | None = None
    """Of a raw file, as for :func:`ps3d_rt.open_volume`, as the next two."""
    dtype: str | None = None
    offset: int | None = None
    memory_gib: float | None = None
    """Memory that the run may take, beside the arrays that are given and returned. None: 4, or half of what is free if
    that is less. Never changes a label."""
    gpu_memory_gib: float = 12
    """Memory of a GPU that the run may take; never changes a label."""
    workers: int = 1
    """Processes, for runs into a folder; 1 works in this one. A script that asks for more does its work under
    ``if __name__ == "__main__":``."""
    cluster: str | None = None
    """Where the tasks of a run into a folder go: address of a Dask scheduler, or ``local:N``. ``workers`` is then how
    many the run is cut for (1: as many as there are), and memory and threads are of each."""
    store: str | None = None
    """Address for the working arrays of a run into a folder, such as ``s3://bucket/work``; None: beside the output."""
    chunk: int = 256
    """Side of a chunk in which particles are put together, voxels."""


def with_options(function: Function) -> Function:
    """Show the fields of :class:`PredictOptions` in the signature of a function that takes them as ``**options``."""
    own = [one for one in signature(function).parameters.values() if one.kind is not Parameter.VAR_KEYWORD]
    keywords = [
        Parameter(
            one.name,
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if one.default is MISSING else one.default,
            annotation=one.type,
        )
        for one in fields(PredictOptions)
    ]
    function.__signature__ = Signature([*own, *keywords])  # type: ignore[attr-defined]
    return function


def configure(scan: Volume, bundle: ModelBundle, options: PredictOptions) -> PredictConfig:
    """Fill in what the scan and the model know, and check it before an engine is built.

    Raises:
        InputError: if the spacing is not known, or a value cannot be used.
    """
    spacing_mm = scan.spacing_mm if options.spacing is None else check_spacing(options.spacing, scan.source)
    scan.warn(*contradicted(spacing_mm, "the caller", scan.spacing_mm, scan.source))
    if spacing_mm is None:
        why = "".join(f" {text}" for text in scan.warnings)
        raise InputError(
            f"{scan.source} does not say how large its voxels are; pass the spacing in mm (--spacing).{why}"
        )
    cluster = None if options.cluster is None else find_cluster(options.cluster, options.workers)
    processes = 1 if cluster is None else max(1, cluster.processes_here)
    config = PredictConfig(
        spacing_mm=spacing_mm,
        particle_size_mm=None if options.particle_size == AUTO else options.particle_size,
        overlap=bundle.overlap if options.overlap is None else options.overlap,
        embedding=options.embedding,
        dark=options.dark,
        gray_bins=None if options.gray_bins is None else GrayBins.between(*options.gray_bins),
        sizes=options.sizes,
        files=options.files,
        phases=None if options.phases is None else phases_asked(options.phases),
        skip_empty=options.skip_empty,
        store=None if options.store is None else _store_at(options.store),
        chunk=options.chunk,
        workers=options.workers if cluster is None else 1,
        cluster=cluster,
        cluster_by_default=options.workers == 1,
        threads=options.threads,
        memory_bytes=default_bytes() // processes if options.memory_gib is None else int(options.memory_gib * 2**30),
        memory_by_default=options.memory_gib is None,
        gpu_memory_bytes=int(options.gpu_memory_gib * 2**30),
    )
    scan.warn(*spacing_warnings(spacing_mm, scan.source))
    if config.particle_size_mm is not None:
        scan.warn(*particle_size_warnings(check_particle_size(scan.shape, config)))
    return config


def _store_at(given: str) -> str:
    address = address_of(given)
    if address is None:
        raise InputError(
            f"the store is {given!r}; give an address such as s3://bucket/work, or leave it out: working arrays then "
            "lie beside the output."
        )
    return address

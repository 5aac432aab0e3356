"""The Python API: the commands without the shell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

from ps3d_rt.core import measure as _measure
from ps3d_rt.core import metrics as _metrics
from ps3d_rt.core.arrays import Array, borrowed
from ps3d_rt.core.measure import ParticleTable
from ps3d_rt.core.metrics import Metrics
from ps3d_rt.devices import device_named
from ps3d_rt.devices.gpu_volume import array_volume
from ps3d_rt.engines import DeviceLimits, open_engine
from ps3d_rt.engines.base import Engine
from ps3d_rt.errors import InputError
from ps3d_rt.events import Listener, ignore
from ps3d_rt.io.base import ArrayVolume, Volume, check_spacing
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.selected import Roi, select
from ps3d_rt.io.spacing import contradicted
from ps3d_rt.memory import default_bytes
from ps3d_rt.model import ModelBundle, load_model
from ps3d_rt.pipeline import Result, predict_volume
from ps3d_rt.plan import PredictConfig, check_particle_size
from ps3d_rt.stages.gray_scale import volume_bins
from ps3d_rt.workers import usable_cores

AUTO: Final = "auto"
"""A particle size that is to be estimated."""


def predict(  # noqa: PLR0913 - keyword-only, each with a default but the one that nobody can guess
    volume: Any,
    *,
    particle_size: float | Literal["auto"],
    spacing: float | Sequence[float] | None = None,
    model: str | Path | ModelBundle = "default",
    engine: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    overlap: float | None = None,
    mirror: bool | None = None,
    skip_empty: bool = True,
    embedding: float | None = None,
    dark: bool = False,
    mask: Any = None,
    roi: Roi | None = None,
    gpu_memory_gib: float = 12,
    memory_gib: float | None = None,
    labels_device: str = "cpu",
    progress: Listener = ignore,
) -> Result:
    """Segment a scan in memory: one label per particle, and their table. A large one: :func:`predict_to_folder`.

    Args:
        volume: path of a scan, (z, y, x) array of gray values, or what :func:`ps3d_rt.open_volume` returns. An array
            may be of NumPy, CuPy, torch, pycuda or any library with DLPack or the CUDA array interface; it is read
            where it lies.
        particle_size: rough mean diameter of the particles, mm. The scan is resized by it: within a factor of
            about 1.5 is enough. ``auto`` estimates it first, from a few parts of the scan.
        spacing: side of a voxel in mm, one number or z, y, x; may be left out if the volume knows it.
        model: name of a bundled model, path of a bundle, or a loaded one.
        engine: ``auto``, or an engine by its name, such as ``openvino`` or ``tensorrt``.
        device: ``auto``, ``cpu`` or ``cuda:N``; ``auto`` is the GPU of an array that lies on one.
        threads: threads of the engine; None takes all cores.
        overlap: share of a patch covered again by the next one; None takes the model's.
        mirror: average over 8 mirror images, 8 times as long; None does what the model asks for.
        skip_empty: leave out patches without contrast.
        embedding: gray value of what the particles lie in; None finds it. For models that count from it.
        dark: the particles are darker than what they lie in.
        mask: path, array or volume of the same shape; only where it is not 0 counts for gray values and is segmented.
        roi: only this box does: (start, stop) along z, y, x, voxels; None is a face. Labels keep the scan's shape.
        gpu_memory_gib: memory of a GPU that the run may take; never changes a label.
        memory_gib: memory that the run may take beside what stays in memory here: scan, labels, table and four bytes a
            voxel of the network's grid. None: 4, or half of what is free if that is less. Never changes a label.
        labels_device: where the labels are wanted: ``cpu``, a NumPy array; ``cuda:N``, a CuPy array on that GPU,
            which torch and others take over by DLPack.
        progress: called with every event of :mod:`ps3d_rt.events`.

    Raises:
        InputError: if the volume, the spacing or the particle size cannot be used.
        CapabilityError: if the engine or the device is not there.
        KeyboardInterrupt: within one call of the engine.
    """
    labels_on = device_named(labels_device)
    labels_on.check()
    with prepared(
        volume,
        particle_size=particle_size,
        spacing=spacing,
        model=model,
        engine=engine,
        device=device,
        threads=threads,
        overlap=overlap,
        mirror=mirror,
        skip_empty=skip_empty,
        memory_gib=memory_gib,
        gpu_memory_gib=gpu_memory_gib,
        embedding=embedding,
        dark=dark,
        mask=mask,
        roi=roi,
    ) as (scan, bundle, ready, config):
        result = predict_volume(scan, bundle, ready, config, progress)
    return replace(result, labels=labels_on.upload(result.labels))


def predict_to_folder(
    volume: Any,
    folder: str | Path,
    *,
    particle_size: float | Literal["auto"],
    overwrite: bool = False,
    progress: Listener = ignore,
    **options: Any,
) -> dict[str, Any]:
    """Segment a scan of any size and write what ``ps3d-rt predict`` writes; a call that was stopped goes on.

    Args:
        volume: as for :func:`predict`; the path of a scan is best, for worker processes open it themselves.
        folder: the output: labels (OME-Zarr), table, report and ``run.json``; appears when it is complete.
        particle_size: as for :func:`predict`.
        overwrite: replace an output that is there, at the very end.
        progress: called with every event of :mod:`ps3d_rt.events`.
        options: those of :func:`predict` but ``labels_device``; ``shape``, ``dtype`` and ``offset`` of a raw file;
            ``workers``, processes, 1 works in this one: with more, a script does its work under
            ``if __name__ == "__main__":``; and ``chunk``, voxels.

    Returns:
        The content of ``run.json``.

    Raises:
        InputError: as :func:`predict`, or if the output is there, or cannot be written.
        CapabilityError: as :func:`predict`.
        InterruptedRun: if the disk is full: the same call goes on.
        KeyboardInterrupt: within one call of the engine: the same call goes on.
    """
    from ps3d_rt import output  # noqa: PLC0415 - loads the writers

    output.check_output(Path(folder), overwrite=overwrite)
    with prepared(volume, particle_size=particle_size, **options) as (scan, bundle, ready, config):
        return output.predict_to_folder(
            scan, bundle, ready, config, Path(folder), overwrite=overwrite, on_event=progress
        )


@contextmanager
def prepared(  # noqa: PLR0913 - as for predict
    volume: Any,
    *,
    particle_size: float | Literal["auto"],
    spacing: float | Sequence[float] | None = None,
    model: str | Path | ModelBundle = "default",
    engine: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    mirror: bool | None = None,
    gpu_memory_gib: float = 12,
    shape: Sequence[int] | None = None,
    dtype: str | None = None,
    offset: int | None = None,
    mask: Any = None,
    roi: Roi | None = None,
    workers: int = 1,
    **rest: Any,
) -> Iterator[tuple[Volume, ModelBundle, Engine, PredictConfig]]:
    """Open everything that a run needs, the engine last: it takes longest. Workers share the threads.

    Args:
        volume: as for :func:`predict`; a file is closed again, a volume stays open.
        particle_size: as for :func:`predict`, as all that follow to ``gpu_memory_gib``.
        spacing: see there.
        model: see there.
        engine: see there.
        device: see there.
        threads: see there.
        mirror: see there.
        gpu_memory_gib: see there.
        shape: of a raw file, as for :func:`ps3d_rt.open_volume`, as the next two.
        dtype: see there.
        offset: see there, ``offset_bytes``.
        mask: path, array or volume, as for :func:`predict`, as the next one.
        roi: see there.
        workers: processes.
        rest: as for :func:`configure`.

    Raises:
        InputError: if the volume, the model or an option cannot be used.
        CapabilityError: if the engine or the device is not there.
    """
    bundle = model if isinstance(model, ModelBundle) else load_model(model)
    with ExitStack() as files:
        layout = {"spacing_mm": spacing, "shape": shape, "dtype": dtype, "offset_bytes": offset}
        whole = _scan_of(volume, files, spacing, **layout)
        where = None if mask is None else _scan_of(mask, files)
        scan = select(whole, roi, where)
        config = configure(
            scan,
            bundle,
            particle_size=particle_size,
            spacing=spacing,
            threads=threads,
            workers=workers,
            gpu_memory_bytes=int(gpu_memory_gib * 2**30),
            **rest,
        )
        limits = DeviceLimits(memory_bytes=config.network_bytes)
        share = threads if workers == 1 else max(1, (threads or usable_cores()) // workers)
        place = whole.device_for(device)
        with open_engine(bundle, engine=engine, device=place, threads=share, mirror=mirror, limits=limits) as ready:
            yield scan, bundle, ready, config


def _scan_of(given: Any, files: ExitStack, spacing: float | Sequence[float] | None = None, **layout: Any) -> Volume:
    """Open a path, to be closed with ``files``; see an array as a volume."""
    if isinstance(given, str | Path):
        return files.enter_context(open_volume(given, **layout))
    return given if isinstance(given, Volume) else as_volume(given, spacing)


def as_volume(array: Any, spacing: float | Sequence[float] | None = None) -> Volume:
    """See an array of any library as a volume, in its own memory.

    Raises:
        InputError: if it is no array of three axes, or does not hand out its memory.
        CapabilityError: if it is on a GPU and CuPy does not load.
    """
    return array_volume(borrowed(array), spacing)


def configure(
    scan: Volume,
    bundle: ModelBundle,
    *,
    particle_size: float | Literal["auto"],
    spacing: float | Sequence[float] | None = None,
    overlap: float | None = None,
    memory_gib: float | None = None,
    **rest: Any,
) -> PredictConfig:
    """Fill in what the volume and the model know, and check it before an engine is built.

    Args:
        scan: knows its spacing, perhaps.
        bundle: knows its overlap.
        particle_size: as for :func:`predict`, as the next two.
        spacing: wins over what the volume says.
        overlap: wins over what the model says.
        memory_gib: of the run; None takes what the machine has free, at most 4.
        rest: other fields of :class:`ps3d_rt.plan.PredictConfig`.

    Raises:
        InputError: if the spacing is not known, or a value cannot be used.
    """
    spacing_mm = scan.spacing_mm if spacing is None else check_spacing(spacing, scan.source)
    scan.warn(*contradicted(spacing_mm, "the caller", scan.spacing_mm, scan.source))
    if spacing_mm is None:
        why = "".join(f" {text}" for text in scan.warnings)
        raise InputError(
            f"{scan.source} does not say how large its voxels are; pass the spacing in mm (--spacing).{why}"
        )
    config = PredictConfig(
        spacing_mm=spacing_mm,
        particle_size_mm=None if particle_size == AUTO else particle_size,
        overlap=bundle.overlap if overlap is None else overlap,
        memory_bytes=default_bytes() if memory_gib is None else int(memory_gib * 2**30),
        memory_by_default=memory_gib is None,
        **rest,
    )
    if config.particle_size_mm is not None:
        check_particle_size(scan.shape, config)
    return config


def measure(labels: Array, *, spacing: float | Sequence[float], image: Array | None = None) -> ParticleTable:
    """Measure every particle of a label volume.

    Args:
        labels: (z, y, x) ids, 0 is background; gaps are allowed.
        spacing: side of a voxel in mm, one number or z, y, x.
        image: (z, y, x) gray values, for the gray columns and histograms.

    Raises:
        InputError: if shapes disagree, labels are not ids, or the spacing is not positive.
    """
    bins = None if image is None else volume_bins(ArrayVolume(image))
    return _measure.measure(labels, check_spacing(spacing, "spacing"), image, bins)


def evaluate(prediction: Array, reference: Array) -> Metrics:
    """Compare labels with a reference: the five metrics of the ParticleSeg3D paper.

    Args:
        prediction: (z, y, x) ids, 0 is background.
        reference: the same shape.

    Raises:
        InputError: if the shapes differ or the labels are not ids.
    """
    return _metrics.evaluate(prediction, reference)

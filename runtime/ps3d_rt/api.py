"""The Python API: the commands without the shell."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ps3d_rt.clock import Clock
from ps3d_rt.cluster import processes_here
from ps3d_rt.core import measure as _measure
from ps3d_rt.core.arrays import Array, borrowed
from ps3d_rt.core.label_check import LabelCheck
from ps3d_rt.devices import device_named
from ps3d_rt.devices.gpu_volume import array_volume
from ps3d_rt.engines import DeviceLimits, open_engine
from ps3d_rt.engines.base import Engine
from ps3d_rt.errors import CapabilityError, InputError
from ps3d_rt.events import Listener, ignore
from ps3d_rt.first_run import announced
from ps3d_rt.io import open as _open
from ps3d_rt.io.base import ArrayVolume, Volume, check_spacing
from ps3d_rt.io.phases import NAME as PHASES
from ps3d_rt.io.phases import read_phases
from ps3d_rt.io.samples import simulated_note
from ps3d_rt.io.selected import select
from ps3d_rt.model import ModelBundle, load_model
from ps3d_rt.notebook import notebook_progress
from ps3d_rt.particles import Particles
from ps3d_rt.pipeline import predict_volume
from ps3d_rt.predict_options import AUTO, PredictOptions, configure, with_options
from ps3d_rt.result import Result, read_result
from ps3d_rt.run_folder import known_precision, work_of
from ps3d_rt.stages.gray_scale import volume_bins
from ps3d_rt.stages.label_slabs import checked_slabs, measure_slabs
from ps3d_rt.stages.prediction import Opened
from ps3d_rt.workers import usable_cores

if TYPE_CHECKING:
    from ps3d_rt.comparison import Comparison
    from ps3d_rt.core.metrics import Metrics
    from ps3d_rt.mineralogy.folder import Minerals


@with_options
def predict(volume: Any, *, labels_device: str = "cpu", progress: Listener | None = None, **options: Any) -> Result:
    """Segment a scan in memory: one label per particle, and their table. A large one: :func:`predict_to_folder`.

    Args:
        volume: path of a scan, (z, y, x) array of gray values, or what :func:`ps3d_rt.open_volume` returns. An array
            may be of NumPy, CuPy, torch, pycuda or any library with DLPack or the CUDA array interface; it is read
            where it lies.
        labels_device: where the labels are wanted: ``cpu``, a NumPy array; ``cuda:N``, a CuPy array on that GPU,
            which torch and others take over by DLPack.
        progress: called with every event of :mod:`ps3d_rt.events`; None: a bar in a notebook only.
        options: fields of :class:`ps3d_rt.predict_options.PredictOptions`, which says what they mean.
            ``spacing`` is needed unless the scan knows it.

    Raises:
        InputError: if the volume, the spacing or the particle size cannot be used.
        CapabilityError: if the engine or the device is not there.
        KeyboardInterrupt: within one call of the engine.
    """
    labels_on = device_named(labels_device)
    labels_on.check()
    asked = PredictOptions(**options)
    if asked.workers != 1 or asked.cluster is not None or asked.store is not None:
        raise InputError(
            f"workers is {asked.workers}, cluster is {asked.cluster}, store is {asked.store}; they are for runs into a "
            "folder: call predict_to_folder."
        )
    if asked.phases is not None:
        raise InputError("minerals are found in the folder of a run only: call predict_to_folder, or leave phases out.")
    heard = progress or notebook_progress()
    with prepared(volume, asked, on_event=heard) as (scan, bundle, engine, config):
        found = predict_volume(scan, bundle, engine, config, heard)
    layout = {"shape": asked.shape, "dtype": asked.dtype, "offset_bytes": asked.offset}
    return Result(
        labels=labels_on.upload(found.labels),
        particles=Particles.from_table(found.particles),
        dropped=found.dropped,
        run=found.run,
        scan=volume,
        layout=layout,
    )


@with_options
def predict_to_folder(
    volume: Any, folder: str | Path, *, overwrite: bool = False, progress: Listener | None = None, **options: Any
) -> dict[str, Any]:
    """Segment a scan of any size and write what ``ps3d-rt predict`` writes; a call that was stopped goes on.

    Args:
        volume: as for :func:`predict`; the path of a scan is best, for worker processes open it themselves.
        folder: the output: labels (OME-Zarr), table, report and ``run.json``; appears when it is complete.
        overwrite: replace an output that is there, at the very end.
        progress: called with every event of :mod:`ps3d_rt.events`; None: a bar in a notebook only.
        options: as for :func:`predict`.

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
    heard = progress or notebook_progress()
    with prepared(volume, PredictOptions(**options), Path(folder), on_event=heard) as opened:
        return output.predict_to_folder(opened, Path(folder), overwrite=overwrite, on_event=heard)


@contextmanager
def prepared(
    volume: Any,
    options: PredictOptions,
    folder: Path | None = None,
    ready: Engine | None = None,
    on_event: Listener = ignore,
) -> Iterator[Opened]:
    """Open everything that a run needs, the engine last: most often it takes longest. A file is closed again.

    Args:
        volume: as for :func:`predict`.
        options: what was asked for.
        folder: the output; a run to it that was stopped has chosen the precision.
        ready: engine of the model, if it is open already; it stays open.
        on_event: called with the events of two stages, for a large compressed scan is unpacked first.

    Raises:
        InputError: if the volume, the model or an option cannot be used.
        CapabilityError: if the engine or the device is not there.
    """
    bundle = options.model if isinstance(options.model, ModelBundle) else load_model(options.model)
    clock = Clock(on_event)
    with ExitStack() as files:
        layout = {"shape": options.shape, "dtype": options.dtype, "offset_bytes": options.offset}
        with clock.stage("opening", 0):
            whole = _scan_of(volume, files, options.spacing, **layout)
            if isinstance(volume, str | Path):
                whole.warn(*simulated_note(Path(volume)))
            scan = select(whole, options.roi, None if options.mask is None else _scan_of(options.mask, files))
        config = configure(scan, bundle, options)
        if ready is not None:
            yield scan, bundle, ready, config
            return
        known = None if folder is None or options.precision != AUTO else known_precision(work_of(folder), bundle)
        device = whole.device_for(options.device)
        with clock.stage("engine", 0):
            engine = engine_for(bundle, options, device, config.network_bytes, known)
        with engine, announced():
            yield scan, bundle, engine, config


def engine_for(
    bundle: ModelBundle, options: PredictOptions, device: str, memory_bytes: int, known: str | None = None
) -> Engine:
    """Open the engine, in the precision of the run that goes on if there is one and this CPU has it.

    Args:
        bundle: the model.
        options: what was asked for.
        device: where.
        memory_bytes: of a GPU, that the network may take.
        known: precision of the run that goes on.

    Raises:
        CapabilityError: if the engine or the device is not there.
    """
    threads, workers = options.threads, options.workers if options.cluster is None else 1
    workers = max(workers, processes_here(options.cluster))
    share = threads if workers == 1 else max(1, (threads or usable_cores()) // workers)
    open_in = partial(
        open_engine,
        bundle,
        engine=options.engine,
        device=device,
        mirror=options.mirror,
        limits=DeviceLimits(threads=share, memory_bytes=memory_bytes),
    )
    if known is not None:
        with suppress(CapabilityError):
            engine = open_in(precision=known)
            engine.spec = replace(engine.spec, reason="as before the run was stopped")
            return engine
    return open_in(precision=options.precision)


def _scan_of(given: Any, files: ExitStack, spacing: float | Sequence[float] | None = None, **layout: Any) -> Volume:
    """Open a path, to be closed with ``files``; see an array as a volume."""
    if isinstance(given, str | Path):
        return files.enter_context(_open.open_volume(given, spacing_mm=spacing, **layout))
    return given if isinstance(given, Volume) else as_volume(given, spacing)


def as_volume(array: Any, spacing: float | Sequence[float] | None = None) -> Volume:
    """See an array of any library as a volume, in its own memory.

    Raises:
        InputError: if it is not an array of three axes, or does not hand out its memory.
        CapabilityError: if it is on a GPU and CuPy does not load.
    """
    return array_volume(borrowed(array), spacing)


def open_volume(
    path: str | Path,
    *,
    spacing: float | Sequence[float] | None = None,
    shape: Sequence[int] | None = None,
    dtype: str | np.dtype[Any] | None = None,
    offset: int | None = None,
) -> Volume:
    """Open a scan or labels: like an array of which voxels are read when they are asked for.

    ``volume[0]``, ``volume[10:20, :, ::2]`` and ``numpy.asarray(volume)`` read; ``dask.array.from_array`` and napari
    take it as it is. All functions of this package take it where they take an array or a path.

    Args:
        path: of any format that is read; a dataset of an HDF5 file is ``scan.h5:/group/data``.
        spacing: side of a voxel in mm, one number or z, y, x; wins over what the file says.
        shape: voxels z, y, x; for raw files, which do not say, as the next two.
        dtype: NumPy name such as ``uint16``, or ``>u2`` for big endian.
        offset: bytes of a header in front of the voxels; None is 0.

    Raises:
        InputError: if the file is missing, broken, of an unknown format, or not a single-channel 3-D volume.
    """
    return _open.open_volume(path, spacing_mm=spacing, shape=shape, dtype=dtype, offset_bytes=offset)


def open_result(folder: str | Path) -> Result:
    """Open what ``ps3d-rt predict`` or ``Result.save`` wrote.

    Returns:
        The same as :func:`predict` gives; its labels are a volume, read when asked for.

    Raises:
        InputError: if the folder is not an output of ours, or a file in it is damaged.
    """
    return read_result(Path(folder))


def measure(labels: Any, *, spacing: float | Sequence[float] | None = None, image: Any = None) -> Particles:
    """Measure every particle of a label volume. What looks like a mask or gray values is warned of (UserWarning).

    Args:
        labels: path, (z, y, x) array or volume of ids, 0 is background; gaps are allowed.
        spacing: side of a voxel in mm, one number or z, y, x; may be left out if the labels' file knows it.
        image: path, array or volume of gray values, for the gray columns and histograms.

    Raises:
        InputError: if shapes disagree, labels are not ids, or the spacing is not positive or not known.
    """
    with ExitStack() as files:
        if not isinstance(labels, str | Path | Volume):
            gray = None if image is None else np.asarray(_scan_of(image, files))
            bins = None if gray is None else volume_bins(ArrayVolume(gray))
            table = _measure.measure(labels, check_spacing(_known(spacing, "labels"), "spacing"), gray, bins)
            _warn_of(labels, "labels")
            return Particles.from_table(table)
        ids, scan = _scan_of(labels, files), None if image is None else _scan_of(image, files)
        known = spacing or ids.spacing_mm or (None if scan is None else scan.spacing_mm)
        check = LabelCheck(ids.source, ids.dtype)
        spacing_mm = check_spacing(_known(known, ids.source), ids.source)
        table = measure_slabs(checked_slabs(ids, check), ids, spacing_mm, scan)
    for doubt in check.warnings():
        warnings.warn(doubt, stacklevel=2)
    return Particles.from_table(table)


def _known(spacing: float | Sequence[float] | None, source: str) -> float | Sequence[float]:
    if spacing is None:
        raise InputError(f"{source} does not say how large a voxel is; pass spacing, its side in mm.")
    return spacing


def evaluate(prediction: Any, reference: Any) -> Metrics:
    """Compare labels with a reference: the five metrics of the ParticleSeg3D paper.

    What looks like a mask or gray values is warned of (UserWarning).

    Args:
        prediction: path, (z, y, x) array or volume of ids, 0 is background.
        reference: the same, of the same shape.

    Raises:
        InputError: if the shapes differ or the labels are not ids.
    """
    from ps3d_rt.core import metrics as _metrics  # noqa: PLC0415 - it takes a fifth of what loads for predict

    with ExitStack() as files:
        one, other = (_labels_of(labels, files) for labels in (prediction, reference))
    metrics = _metrics.evaluate(one, other)
    _warn_of(one, "prediction")
    _warn_of(other, "reference")
    return metrics


def _labels_of(given: Any, files: ExitStack) -> Any:
    """Read labels of a file or a volume; an array stays as it is."""
    return np.asarray(_scan_of(given, files)) if isinstance(given, str | Path | Volume) else given


def _warn_of(labels: Array, name: str) -> None:
    """Warn whoever called the caller if labels are a mask, in several pieces an id, or gray values."""
    check = LabelCheck(name, labels.dtype)
    check.add(labels)
    for doubt in check.warnings():
        warnings.warn(doubt, stacklevel=3)


def minerals(folder: str | Path, phases: str | Path | None = None, *, edge_correction: bool = True) -> Minerals:
    """Find the minerals of an output of ``predict`` and write them into it and its report: ``ps3d-rt minerals``.

    Args:
        folder: the output; minerals that it has are replaced.
        phases: file of phases; None: ``phases.json`` of the output.
        edge_correction: leave out particles that a face cuts, and weigh the others for them.

    Returns:
        The table of particles, and tables of the sample in ``frames``: ``pandas.DataFrame`` takes each, and
        ``particles.columns()``.

    Raises:
        InputError: if the folder is no output, its scan is not there, or the phases do not fit.
    """
    from ps3d_rt.mineralogy.of_output import ReadOptions, minerals_of  # noqa: PLC0415 - loads the writers

    given = read_phases(Path(folder) / PHASES if phases is None else Path(phases))
    return minerals_of(Path(folder), given, edge_correction=edge_correction, options=ReadOptions(overwrite=True))


def compare(*outputs: str | Path, edge_correction: bool = True) -> Comparison:
    """Compare samples: ``ps3d-rt compare``.

    Args:
        outputs: folders that ``predict`` wrote, the others are compared with the first; or one ``samples.csv``.
        edge_correction: leave out particles that a face cuts, and weigh the others for them.

    Returns:
        Statistics, differences, tests, and the separation; ``frames()`` are tables that ``pandas.DataFrame`` takes,
        ``write(folder)`` writes page and tables.

    Raises:
        InputError: if there are not two samples, or they cannot be compared.
    """
    from ps3d_rt import comparison  # noqa: PLC0415 - loads the report

    listed = comparison.listed([Path(output) for output in outputs])
    return comparison.compare(listed, edge_correction=edge_correction)

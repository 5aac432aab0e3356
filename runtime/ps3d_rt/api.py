"""The Python API: the commands without the shell."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ps3d_rt.core import measure as _measure
from ps3d_rt.core.arrays import Array, borrowed
from ps3d_rt.core.label_check import LabelCheck
from ps3d_rt.core.measure import ParticleTable
from ps3d_rt.devices import device_named
from ps3d_rt.devices.gpu_volume import array_volume
from ps3d_rt.engines import DeviceLimits, open_engine
from ps3d_rt.engines.base import Engine
from ps3d_rt.errors import CapabilityError, InputError
from ps3d_rt.events import Listener, ignore
from ps3d_rt.first_run import announced
from ps3d_rt.io.base import ArrayVolume, Volume, check_spacing
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.selected import select
from ps3d_rt.model import ModelBundle, load_model
from ps3d_rt.pipeline import Result, predict_volume
from ps3d_rt.plan import PredictConfig
from ps3d_rt.predict_options import AUTO, PredictOptions, configure, with_options
from ps3d_rt.run_folder import known_precision, work_of
from ps3d_rt.stages.gray_scale import volume_bins
from ps3d_rt.stages.prediction import Opened
from ps3d_rt.workers import usable_cores

if TYPE_CHECKING:
    from ps3d_rt.core.metrics import Metrics


@with_options
def predict(volume: Any, *, labels_device: str = "cpu", progress: Listener = ignore, **options: Any) -> Result:
    """Segment a scan in memory: one label per particle, and their table. A large one: :func:`predict_to_folder`.

    Args:
        volume: path of a scan, (z, y, x) array of gray values, or what :func:`ps3d_rt.open_volume` returns. An array
            may be of NumPy, CuPy, torch, pycuda or any library with DLPack or the CUDA array interface; it is read
            where it lies.
        labels_device: where the labels are wanted: ``cpu``, a NumPy array; ``cuda:N``, a CuPy array on that GPU,
            which torch and others take over by DLPack.
        progress: called with every event of :mod:`ps3d_rt.events`.
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
    if asked.workers != 1:
        raise InputError(f"workers is {asked.workers}; processes share a run in a folder only: call predict_to_folder.")
    with prepared(volume, asked) as (scan, bundle, engine, config):
        result = predict_volume(scan, bundle, engine, config, progress)
    return replace(result, labels=labels_on.upload(result.labels))


@with_options
def predict_to_folder(
    volume: Any, folder: str | Path, *, overwrite: bool = False, progress: Listener = ignore, **options: Any
) -> dict[str, Any]:
    """Segment a scan of any size and write what ``ps3d-rt predict`` writes; a call that was stopped goes on.

    Args:
        volume: as for :func:`predict`; the path of a scan is best, for worker processes open it themselves.
        folder: the output: labels (OME-Zarr), table, report and ``run.json``; appears when it is complete.
        overwrite: replace an output that is there, at the very end.
        progress: called with every event of :mod:`ps3d_rt.events`.
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
    with prepared(volume, PredictOptions(**options), Path(folder)) as opened:
        return output.predict_to_folder(opened, Path(folder), overwrite=overwrite, on_event=progress)


@contextmanager
def prepared(volume: Any, options: PredictOptions, folder: Path | None = None) -> Iterator[Opened]:
    """Open everything that a run needs, the engine last: it takes longest. A file is closed again.

    Args:
        volume: as for :func:`predict`.
        options: what was asked for.
        folder: the output; a run to it that was stopped has chosen the precision.

    Raises:
        InputError: if the volume, the model or an option cannot be used.
        CapabilityError: if the engine or the device is not there.
    """
    bundle = options.model if isinstance(options.model, ModelBundle) else load_model(options.model)
    with ExitStack() as files:
        layout = {"shape": options.shape, "dtype": options.dtype, "offset_bytes": options.offset}
        whole = _scan_of(volume, files, options.spacing, **layout)
        scan = select(whole, options.roi, None if options.mask is None else _scan_of(options.mask, files))
        config = configure(scan, bundle, options)
        known = None if folder is None or options.precision != AUTO else known_precision(work_of(folder), bundle)
        with _engine(bundle, options, whole.device_for(options.device), config, known) as engine, announced():
            yield scan, bundle, engine, config


def _engine(
    bundle: ModelBundle, options: PredictOptions, device: str, config: PredictConfig, known: str | None
) -> Engine:
    """Open the engine, in the precision of the run that goes on if there is one and this CPU has it."""
    threads, workers = options.threads, options.workers
    share = threads if workers == 1 else max(1, (threads or usable_cores()) // workers)
    open_in = partial(
        open_engine,
        bundle,
        engine=options.engine,
        device=device,
        mirror=options.mirror,
        limits=DeviceLimits(threads=share, memory_bytes=config.network_bytes),
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
        return files.enter_context(open_volume(given, spacing_mm=spacing, **layout))
    return given if isinstance(given, Volume) else as_volume(given, spacing)


def as_volume(array: Any, spacing: float | Sequence[float] | None = None) -> Volume:
    """See an array of any library as a volume, in its own memory.

    Raises:
        InputError: if it is no array of three axes, or does not hand out its memory.
        CapabilityError: if it is on a GPU and CuPy does not load.
    """
    return array_volume(borrowed(array), spacing)


def measure(labels: Array, *, spacing: float | Sequence[float], image: Array | None = None) -> ParticleTable:
    """Measure every particle of a label volume. What looks like a mask or gray values is warned of (UserWarning).

    Args:
        labels: (z, y, x) ids, 0 is background; gaps are allowed.
        spacing: side of a voxel in mm, one number or z, y, x.
        image: (z, y, x) gray values, for the gray columns and histograms.

    Raises:
        InputError: if shapes disagree, labels are not ids, or the spacing is not positive.
    """
    bins = None if image is None else volume_bins(ArrayVolume(image))
    table = _measure.measure(labels, check_spacing(spacing, "spacing"), image, bins)
    _warn_of(labels, "labels")
    return table


def evaluate(prediction: Array, reference: Array) -> Metrics:
    """Compare labels with a reference: the five metrics of the ParticleSeg3D paper.

    What looks like a mask or gray values is warned of (UserWarning).

    Args:
        prediction: (z, y, x) ids, 0 is background.
        reference: the same shape.

    Raises:
        InputError: if the shapes differ or the labels are not ids.
    """
    from ps3d_rt.core import metrics as _metrics  # noqa: PLC0415 - it takes a fifth of what loads for predict

    metrics = _metrics.evaluate(prediction, reference)
    _warn_of(prediction, "prediction")
    _warn_of(reference, "reference")
    return metrics


def _warn_of(labels: Array, name: str) -> None:
    """Warn whoever called the caller if labels are a mask, in several pieces an id, or gray values."""
    check = LabelCheck(name, labels.dtype)
    check.add(labels)
    for doubt in check.warnings():
        warnings.warn(doubt, stacklevel=3)

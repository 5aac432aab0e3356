"""The Python API: the commands without the shell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ps3d_rt.core import measure as _measure
from ps3d_rt.core import metrics as _metrics
from ps3d_rt.core.measure import ParticleTable
from ps3d_rt.core.metrics import Metrics
from ps3d_rt.engines import CardUse, open_engine
from ps3d_rt.errors import InputError
from ps3d_rt.events import Listener, ignore
from ps3d_rt.io.volume import ArrayVolume, Volume, check_spacing
from ps3d_rt.model import ModelBundle, load_model
from ps3d_rt.pipeline import Result, predict_volume
from ps3d_rt.plan import PredictConfig, check_particle_size

Array = np.ndarray[Any, Any]


def predict(  # noqa: PLR0913 - keyword-only, each with a default but the one that nobody can guess
    volume: Array | Volume,
    *,
    particle_size: float,
    spacing: float | Sequence[float] | None = None,
    model: str | Path | ModelBundle = "default",
    engine: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    overlap: float | None = None,
    skip_empty: bool = True,
    gpu_memory_gib: float = 12,
    progress: Listener = ignore,
) -> Result:
    """Segment a scan: one label per particle, and their table.

    Args:
        volume: (z, y, x) array of gray values, or what :func:`ps3d_rt.open_volume` returns.
        particle_size: rough mean diameter of the particles, mm. The scan is resized by it: within a factor of
            about 1.5 is enough.
        spacing: side of a voxel in mm, one number or z, y, x; may be left out if the volume knows it.
        model: name of a bundled model, path of a bundle, or a loaded one.
        engine: ``auto``, or an engine by its name, such as ``openvino`` or ``tensorrt``.
        device: ``auto``, ``cpu`` or ``cuda:N``.
        threads: threads of the engine; None takes all cores.
        overlap: share of a patch covered again by the next one; None takes the model's.
        skip_empty: leave out patches without contrast.
        gpu_memory_gib: memory of a card that the run may take; never changes a label.
        progress: called with every event of :mod:`ps3d_rt.events`.

    Raises:
        InputError: if the volume, the spacing or the particle size cannot be used.
        CapabilityError: if the engine or the device is not there.
    """
    scan = volume if isinstance(volume, Volume) else ArrayVolume(volume, spacing)
    bundle = model if isinstance(model, ModelBundle) else load_model(model)
    config = configure(
        scan,
        bundle,
        particle_size=particle_size,
        spacing=spacing,
        overlap=overlap,
        skip_empty=skip_empty,
        threads=threads,
        gpu_memory_bytes=int(gpu_memory_gib * 2**30),
    )
    use = CardUse(memory_bytes=config.network_bytes)
    with open_engine(bundle, engine=engine, device=device, threads=threads, use=use) as ready:
        return predict_volume(scan, bundle, ready, config, progress)


def configure(
    scan: Volume,
    bundle: ModelBundle,
    *,
    particle_size: float,
    spacing: float | Sequence[float] | None = None,
    overlap: float | None = None,
    **rest: Any,
) -> PredictConfig:
    """Fill in what the volume and the model know, and check it before an engine is built.

    Args:
        scan: knows its spacing, perhaps.
        bundle: knows its overlap.
        particle_size: as for :func:`predict`, as the next two.
        spacing: wins over what the volume says.
        overlap: wins over what the model says.
        rest: other fields of :class:`ps3d_rt.plan.PredictConfig`.

    Raises:
        InputError: if the spacing is not known, or a value cannot be used.
    """
    spacing_mm = scan.spacing_mm if spacing is None else check_spacing(spacing, scan.source)
    if spacing_mm is None:
        raise InputError(f"{scan.source} does not say how large its voxels are; pass the spacing in mm (--spacing).")
    config = PredictConfig(
        spacing_mm=spacing_mm,
        particle_size_mm=particle_size,
        overlap=bundle.overlap if overlap is None else overlap,
        **rest,
    )
    check_particle_size(scan.shape, config)
    return config


def measure(labels: Array, *, spacing: float | Sequence[float], image: Array | None = None) -> ParticleTable:
    """Measure every particle of a label volume.

    Args:
        labels: (z, y, x) ids, 0 is background; gaps are allowed.
        spacing: side of a voxel in mm, one number or z, y, x.
        image: (z, y, x) gray values, for the gray mean.

    Raises:
        InputError: if shapes disagree, labels are not ids, or the spacing is not positive.
    """
    return _measure.measure(labels, check_spacing(spacing, "spacing"), image)


def evaluate(prediction: Array, reference: Array) -> Metrics:
    """Compare labels with a reference: the five metrics of the ParticleSeg3D paper.

    Args:
        prediction: (z, y, x) ids, 0 is background.
        reference: the same shape.

    Raises:
        InputError: if the shapes differ or the labels are not ids.
    """
    return _metrics.evaluate(prediction, reference)

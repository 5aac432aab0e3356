"""The stages of a prediction in order: volume → classes → particles → labels on the source grid → table."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from math import prod
from typing import Any

import numpy as np

from ps3d_rt.core.blend import BlendRing
from ps3d_rt.core.border_core import keep_and_number, to_instances
from ps3d_rt.core.contrast import is_empty
from ps3d_rt.core.grid import Box, PatchLattice, Zyx
from ps3d_rt.core.measure import ParticleTable, measure_slabs
from ps3d_rt.core.normalize import GrayScale, gray_scale, normalized_shape, size_zoom, zscore
from ps3d_rt.core.resample import Zoom, resample_labels, resample_slab
from ps3d_rt.core.runs import z_slabs
from ps3d_rt.engines.base import Engine
from ps3d_rt.errors import InputError
from ps3d_rt.events import Listener, RunDone, RunStarted, StageAdvanced, StageDone, StageStarted, ignore
from ps3d_rt.io.volume import SpacingMm, Volume
from ps3d_rt.model import ModelBundle
from ps3d_rt.versions import versions

Array = np.ndarray[Any, Any]

_SCALE_PLANES = 64
_SCALE_PLANE_VOXELS = 65_536
_BATCHES_PER_CALL = 8


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """How one volume is segmented. Built once at the edge, passed down unchanged."""

    spacing_mm: SpacingMm
    """Side lengths of a voxel, z, y, x."""
    particle_size_mm: float
    """Rough mean diameter of the particles."""
    overlap: float
    """Least share of a patch covered again by the next one, in [0, 1)."""
    skip_empty: bool = True
    """Leave out patches without contrast; the labels are the same, the run is shorter."""


@dataclass(frozen=True)
class Result:
    """What a prediction gives."""

    labels: Array
    """(z, y, x) uint32 on the source grid: particles 1..N in raster order of their first voxels, 0 elsewhere."""
    particles: ParticleTable
    """One row a particle."""
    run: dict[str, Any]
    """What ran: scan, model, engine, parameters, seconds per stage, patches, versions. The content of ``run.json``."""


@dataclass
class _Clock:
    """Times the stages and tells the listener."""

    tell: Listener
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str, total: int, unit: str, voxels: int) -> Iterator[None]:
        self.tell(StageStarted(name, total, unit, voxels / max(1, total)))
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 3)
        self.tell(StageDone(name, self.seconds[name]))


def predict_volume(
    volume: Volume, model: ModelBundle, engine: Engine, config: PredictConfig, tell: Listener = ignore
) -> Result:
    """Segment one volume into particles and measure them.

    Args:
        volume: (z, y, x), any real dtype.
        model: what the engine runs.
        engine: open engine of ``model``.
        config: spacing, particle size, overlap.
        tell: called with every event.

    Raises:
        InputError: if the particle size does not fit the volume, or the volume has NaN, Inf or no contrast.
    """
    started = datetime.now(UTC)
    check_particle_size(volume.shape, config)
    zoom = size_zoom(config.spacing_mm, config.particle_size_mm, model.target_size_voxels)
    shape = normalized_shape(volume.shape, zoom)
    lattice = PatchLattice.plan(shape, engine.spec.patch, config.overlap)
    spec = engine.spec
    tell(RunStarted(volume.name, volume.shape, shape, lattice.count, f"{spec.name} {spec.precision} on {spec.device}"))
    clock, voxels = _Clock(tell), prod(volume.shape)

    with clock.stage("gray scale", 1, "planes", voxels):
        scale = gray_scale_of(volume, model)
    source = NormalizedPlanes(volume, lattice, shape, zoom, scale, lowpass=model.lowpass)
    with clock.stage("network", lattice.count, "patches", voxels):
        classes, computed = segment(source, engine, skip_empty=config.skip_empty, tell=tell)
    with clock.stage("particles", 1, "planes", voxels):
        instances = to_instances(classes, min_relative_volume=model.min_relative_volume)
    with clock.stage("source grid", 1, "planes", voxels):
        # A particle can vanish between the voxels of a coarser source grid: number again, so ids have no gaps.
        labels = keep_and_number(resample_labels(instances, volume.shape, zoom=zoom), 0)
    with clock.stage("table", volume.shape[0], "planes", voxels):
        slabs = ((labels[box.slices], volume.read(box)) for box in z_slabs(volume.shape))
        table = measure_slabs(slabs, config.spacing_mm)

    tell(RunDone(len(table), round(sum(clock.seconds.values()), 3)))
    run = {
        "date": started.isoformat(timespec="seconds"),
        "particles": len(table),
        "scan": {
            "name": volume.name,
            "source": volume.source,
            "shape": volume.shape,
            "dtype": volume.dtype.name,
            "spacing_mm": config.spacing_mm,
        },
        "engine": asdict(spec),
        "model": {"name": model.name, "sha256": model.hash},
        "parameters": {
            "particle_size_mm": config.particle_size_mm,
            "target_size_voxels": model.target_size_voxels,
            "zoom": zoom,
            "normalized_shape": shape,
            "overlap": config.overlap,
            "skip_empty": config.skip_empty,
            "gray_scheme": model.gray_scheme,
            "gray_mean": scale.mean,
            "gray_std": scale.std,
            "min_relative_volume": model.min_relative_volume,
        },
        "patches": {"planned": lattice.count, "computed": computed, "skipped": lattice.count - computed},
        "seconds": clock.seconds,
        "versions": versions(),
    }
    return Result(labels, table, run)


def check_particle_size(shape: Zyx, config: PredictConfig) -> None:
    """Refuse a particle size that the volume cannot hold, or that no voxel grid can show."""
    sides = [n * s for n, s in zip(shape, config.spacing_mm, strict=True)]
    if not config.particle_size_mm > 0:
        raise InputError(f"the particle size is {config.particle_size_mm} mm; pass a length above 0 mm.")
    if config.particle_size_mm > max(sides):
        raise InputError(
            f"the particle size is {config.particle_size_mm:g} mm, but the volume's longest side is only "
            f"{max(sides):g} mm ({max(shape)} voxels); check --particle-size and --spacing, both are in mm."
        )
    if config.particle_size_mm < 2 * min(config.spacing_mm):
        raise InputError(
            f"the particle size is {config.particle_size_mm:g} mm, less than two voxels of "
            f"{min(config.spacing_mm):g} mm; check --particle-size and --spacing, both are in mm."
        )


def gray_scale_of(volume: Volume, model: ModelBundle) -> GrayScale:
    """Gray scale of a volume under the model's scheme.

    The scheme ``volume`` looks at voxels on a fixed raster of at most 64 planes, which belongs to the volume, so
    that neither chunks nor workers can change it.
    """
    if model.gray_mean is not None and model.gray_std is not None:
        return GrayScale(model.gray_mean, model.gray_std)
    depth, height, width = volume.shape
    step = max(1, int(np.sqrt(height * width / _SCALE_PLANE_VOXELS)))
    planes = np.unique(np.linspace(0, depth - 1, min(depth, _SCALE_PLANES)).round().astype(int))
    sample = [volume.read(Box((z, 0, 0), (z + 1, height, width)))[0, ::step, ::step] for z in planes.tolist()]
    return gray_scale(np.stack(sample))


class NormalizedPlanes:
    """The normalized volume, z-scored and padded to the lattice, a layer of patches at a time.

    Layers come in ascending z; planes that two layers share are kept, so no voxel is resampled twice.
    """

    def __init__(
        self, volume: Volume, lattice: PatchLattice, shape: Zyx, zoom: Zoom, scale: GrayScale, *, lowpass: bool
    ) -> None:
        self.lattice = lattice
        self.shape = shape
        """Of the normalized volume without padding."""
        self._volume = volume
        self._zoom = zoom
        self._scale = scale
        self._lowpass = lowpass
        self._first = 0
        self._kept = np.empty((0, *shape[1:]), np.float32)

    def layer(self, z: int) -> Array:
        """Planes of the patches that start at ``z``: float32 (patch_z, padded Y, padded X)."""
        stop = min(z + self.lattice.patch[0], self.shape[0])
        kept = self._kept[z - self._first :]
        fresh = (z + len(kept), stop)
        if fresh[0] < stop:
            image = resample_slab(
                self._read, fresh, self._volume.shape, self.shape, zoom=self._zoom, lowpass=self._lowpass
            )
            kept = np.concatenate([kept, zscore(image, self._scale)])
        self._first, self._kept = z, kept
        sides = zip((self.lattice.patch[0], *self.lattice.padded[1:]), kept.shape, strict=True)
        return np.pad(kept, [(0, want - have) for want, have in sides], mode="edge")

    def _read(self, first: int, stop: int) -> Array:
        planes = self._volume.read(Box((first, 0, 0), (stop, *self._volume.shape[1:])))
        if planes.dtype.kind == "f" and not np.isfinite(planes).all():
            raise InputError(
                f"{self._volume.source}: planes {first} to {stop - 1} hold NaN or Inf; "
                "replace them by the gray value of the embedding and start again."
            )
        return planes


def segment(source: NormalizedPlanes, engine: Engine, *, skip_empty: bool, tell: Listener) -> tuple[Array, int]:
    """Run the network over all patches and blend.

    Returns:
        (z, y, x) uint8 classes of the normalized volume, and the number of patches that were computed.
    """
    lattice = source.lattice
    ring = BlendRing(lattice)
    classes = np.empty(source.shape, np.uint8)
    done = computed = 0
    for z in lattice.starts[0]:
        planes, base = source.layer(z), Box((z, 0, 0), (z, 0, 0))
        patches = [(at, planes[at.relative_to(base).slices]) for at in lattice.layer(z)]
        live = [not (skip_empty and is_empty(patch)) for _, patch in patches]
        scores = _scores(engine, [patch for (_, patch), alive in zip(patches, live, strict=True) if alive])
        for (at, _), alive in zip(patches, live, strict=True):
            if alive:
                ring.add(next(scores), at)
            else:
                ring.skip(at)
            done += 1
            tell(StageAdvanced("network", done))
        computed += sum(live)
        first, ready = ring.take()
        ready = ready[: source.shape[0] - first, : source.shape[1], : source.shape[2]]
        classes[first : first + len(ready)] = ready
    return classes, computed


def _scores(engine: Engine, patches: list[Array]) -> Iterator[Array]:
    """Scores of every patch, in order, some batches at a time: engines rest between calls."""
    size = _BATCHES_PER_CALL * engine.spec.batch
    for i in range(0, len(patches), size):
        yield from engine.infer(np.stack(patches[i : i + size])[:, None])

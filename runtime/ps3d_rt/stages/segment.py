"""Scan → border-core map, one sweep of the network through the planes of a column of the volume.

    read → resample → standardize │ score │ blend → classes
            a thread ahead        │ a thread ahead │ this thread

The three run at the same time. At most one layer of patches and one call of the engine wait between them. On a GPU all
of it runs there: planes are uploaded in the file's dtype, and only classes and two scores are downloaded. These are
written in slabs as deep as a shard of the store, and each finished slab is recorded. A sweep that was killed goes on
after its last slab. The bytes are the same, because blending does not depend on where it starts.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from ps3d_rt.clock import Resumed
from ps3d_rt.core.arrays import array_namespace
from ps3d_rt.core.blend import BlendRing
from ps3d_rt.core.contrast import is_empty
from ps3d_rt.core.grid import Box, PatchLattice, Sweep, Zyx
from ps3d_rt.core.normalize import EmbeddingScale, GrayScale, network_input
from ps3d_rt.core.resample import PlaneStream, Zoom
from ps3d_rt.devices import Device, device_named
from ps3d_rt.engines.base import Engine
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import Volume
from ps3d_rt.journal import Journal
from ps3d_rt.prefetch import prefetch
from ps3d_rt.stages.run import Run
from ps3d_rt.stages.storage import BORDER_CORE, CORE_SCORE, FOREGROUND_SCORE, Store
from ps3d_rt.workers import check_stop, report_progress

NETWORK_ARRAYS = (BORDER_CORE, FOREGROUND_SCORE, CORE_SCORE)
"""What :func:`segment` writes to the store, uint8 each."""


@dataclass(frozen=True, kw_only=True)
class Segmentation:
    """What every sweep of a run shares."""

    volume: Volume
    engine: Engine
    store: Store
    """Gets :data:`NETWORK_ARRAYS`, which are there."""
    journal: Journal | None
    """Where finished slabs are recorded; None in a run that cannot be resumed."""
    lattice: PatchLattice
    shape: Zyx
    """The normalized volume, voxels."""
    zoom: Zoom
    scale: GrayScale | EmbeddingScale
    lowpass: bool
    skip_empty: bool
    core_bias: float
    slab_planes: int
    """Planes written at a time: the depth of a shard of the store."""

    @property
    def device(self) -> Device:
        """Where the engine works, and all that comes before and after it."""
        return device_named(self.engine.spec.device)


@dataclass(frozen=True)
class PatchCount:
    """What became of the patches of a sweep; a resumed sweep counts none twice."""

    computed: int = 0
    skipped: int = 0
    engine_seconds: float = 0.0
    """Time in the engine, of this process only."""


LayerCounts = dict[int, tuple[int, int]]
"""First plane of a layer of patches → how many of them were computed and how many skipped."""


def segment_volume(run: Run) -> PatchCount:
    """Run the network over the volume: one sweep after the other in this process, or one a process.

    Raises:
        InputError: if the volume cannot be read, or holds NaN or Inf.
    """
    prediction, plan, store = run.prediction, run.prediction.plan, run.storage.store
    for name in NETWORK_ARRAYS:
        store.create(name, np.uint8)
    stage = Segmentation(
        volume=prediction.volume,
        engine=prediction.engine,
        store=store,
        journal=run.storage.journal,
        lattice=plan.lattice,
        shape=plan.shape,
        zoom=plan.zoom,
        scale=prediction.gray.scale,
        lowpass=prediction.model.lowpass,
        skip_empty=prediction.config.skip_empty,
        core_bias=prediction.model.core_bias,
        slab_planes=plan.shard[0],
    )
    with run.clock.stage("network", run.voxels, plan.patches, "patches") as advance:
        counts = list(run.placement.sweeps.map(partial(segment, stage), plan.sweeps, on_progress=advance))
    return PatchCount(*(sum(column) for column in zip(*(astuple(count) for count in counts), strict=True)))


def segment(stage: Segmentation, sweep: Sweep) -> PatchCount:
    """Write the classes of a sweep and count its patches. Progress is reported in patches.

    Raises:
        InputError: if the volume cannot be read, or holds NaN or Inf.
    """
    stage.device.start()
    first, *_ = sweep.write.start
    slabs = list(pairwise([*range(first, sweep.write.stop[0], stage.slab_planes), sweep.write.stop[0]]))
    layers: LayerCounts = {}
    while slabs and stage.journal is not None and (key := _key(sweep, slabs[0][0])) in stage.journal:
        layers |= stage.journal.load(key)
        slabs.pop(0)
    if layers:
        report_progress(Resumed(sum(computed + skipped for computed, skipped in layers.values())))
    engine_time = _EngineTime()
    for (z, stop), planes, blended in _planes(stage, sweep, slabs, engine_time):
        box = Box((z, *sweep.write.start[1:]), (stop, *sweep.write.stop[1:]))
        for name, values in zip(NETWORK_ARRAYS, planes, strict=True):
            stage.store.write(name, box, stage.device.download(values))
        if stage.journal is not None:
            stage.journal.record(_key(sweep, z), blended)
        layers |= blended
    return PatchCount(sum(c for c, _ in layers.values()), sum(s for _, s in layers.values()), engine_time.seconds)


def _key(sweep: Sweep, z: int) -> str:
    _, y, x = sweep.write.start
    return f"network/{y:06d}-{x:06d}-{z:06d}"


@dataclass
class _EngineTime:
    seconds: float = 0.0


def _planes(
    stage: Segmentation, sweep: Sweep, slabs: Sequence[tuple[int, int]], engine_time: _EngineTime
) -> Iterator[tuple[tuple[int, int], Any, LayerCounts]]:
    """Blend scored patches and hand out the slabs as they become complete, with the layers blended since the last.

    A slab is (3, z, y, x) uint8: the :data:`NETWORK_ARRAYS`.
    """
    if not slabs:
        return
    write = Box((slabs[0][0], *sweep.write.start[1:]), sweep.write.stop)
    xp = stage.device.namespace
    ring = BlendRing(stage.lattice, write, core_bias=stage.core_bias, scores=True, xp=xp)
    planes = xp.empty((len(NETWORK_ARRAYS), 0, *write.shape[1:]), np.uint8)
    layers: LayerCounts = {}
    waiting = deque(slabs)
    for scored in prefetch(_scored(stage, prefetch(_layers(stage, ring, write)), engine_time)):
        for at, scores in scored.patches:
            if scores is None:
                ring.skip(at)
            else:
                ring.add(scores, at)
        stage.device.finish()
        live = sum(scores is not None for _, scores in scored.patches)
        computed, skipped = layers.get(scored.z, (0, 0))
        layers[scored.z] = (computed + live, skipped + len(scored.patches) - live)
        report_progress(len(scored.patches))
        if not scored.ends_layer:
            continue
        planes = xp.concatenate([planes, ring.take()[1]], axis=1)
        while waiting and planes.shape[1] >= (depth := waiting[0][1] - waiting[0][0]):
            yield waiting.popleft(), planes[:, :depth], layers
            planes, layers = planes[:, depth:], {}


@dataclass(frozen=True)
class _Layer:
    """The patches that start at one plane."""

    z: int
    patches: list[tuple[Box, Any | None]]
    """Place and voxels, or None for an empty patch; raster order."""


def _layers(stage: Segmentation, ring: BlendRing, write: Box) -> Iterator[_Layer]:
    """Read, resample and standardize, a layer of patches at a time; no voxel is resampled twice."""
    stage.device.start()
    xp = stage.device.namespace
    lattice, shape, source = stage.lattice, stage.shape, stage.volume.shape
    region = lattice.read_box(write).intersect(Box.of_shape(shape))
    stream = PlaneStream(
        lambda box: _finite(stage, box),
        region,
        (source, shape),
        zoom=stage.zoom,
        lowpass=stage.lowpass,
        planes_per_read=stage.volume.planes_per_read,
    )
    first, kept = region.start[0], xp.empty((0, *region.shape[1:]), np.float32)
    for z, boxes in ring.layers():
        kept, first = kept[z - first :], z
        missing = min(z + lattice.patch[0], shape[0]) - (z + len(kept))
        if missing:
            kept = xp.concatenate([kept, network_input(stream.take(missing), stage.scale)])
        at = Box((z, *region.start[1:]), (z, *region.start[1:]))
        patches = [(box, _patch(kept, box, at, lattice.patch, stage.skip_empty)) for box in boxes]
        stage.device.finish()
        yield _Layer(z, patches)


def _patch(planes: Any, box: Box, at: Box, shape: Zyx, skip_empty: bool) -> Any | None:
    """Cut out a patch, padded at the far ends where the volume is smaller than a patch; None if it is empty."""
    patch = planes[box.relative_to(at).slices]
    if patch.shape != shape:
        missing = [(0, want - have) for want, have in zip(shape, patch.shape, strict=True)]
        patch = array_namespace(patch).pad(patch, missing, mode="edge")
    return None if skip_empty and is_empty(patch) else patch


def _finite(stage: Segmentation, box: Box) -> Any:
    """Read to the device; what lies there already stays there."""
    check_stop()
    volume, xp = stage.volume, stage.device.namespace
    planes = stage.device.upload(volume.read_in_place(box))
    if planes.dtype.kind == "f" and not bool(xp.isfinite(planes).all()):
        raise InputError(
            f"{volume.source}: planes {box.start[0]} to {box.stop[0] - 1} hold NaN or Inf; "
            "replace them by the gray value of the embedding and start again."
        )
    return planes


@dataclass(frozen=True)
class _Scored:
    """Some patches of a layer with their scores."""

    z: int
    patches: list[tuple[Box, Any | None]]
    ends_layer: bool


def _scored(stage: Segmentation, layers: Iterator[_Layer], engine_time: _EngineTime) -> Iterator[_Scored]:
    """Score the patches, some batches a call: the engine rests between calls, blending and writing go on meanwhile."""
    stage.device.start()
    xp = stage.device.namespace
    size = stage.engine.spec.batch * stage.device.batches_per_call
    for layer in layers:
        left = len(layer.patches)
        for group in calls(layer.patches, size):
            left -= len(group)
            live = [patch for _, patch in group if patch is not None]
            check_stop()
            start = time.perf_counter()
            scores = iter(stage.engine.infer(xp.stack(live)[:, None]) if live else ())
            stage.device.finish()
            engine_time.seconds += time.perf_counter() - start
            found = [(box, None if patch is None else next(scores)) for box, patch in group]
            yield _Scored(layer.z, found, not left)


def calls(patches: list[tuple[Box, Any | None]], size: int) -> Iterator[list[tuple[Box, Any | None]]]:
    """Cut a layer where ``size`` patches that are not empty have come together, so that calls are full.

    >>> [[name for name, _ in call] for call in calls([("a", 1), ("b", None), ("c", 3), ("d", None), ("e", 5)], 2)]
    [['a', 'b', 'c'], ['d', 'e']]
    """
    call: list[tuple[Box, Any | None]] = []
    for place, patch in patches:
        call.append((place, patch))
        if sum(patch is not None for _, patch in call) == size:
            yield call
            call = []
    if call:
        yield call

"""The stages beside the network, one at a time on one device, and their share of what the device can copy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import numpy as np

from ps3d_bench.ceilings import ceilings, seconds_of
from ps3d_bench.gpu_bench import Bench
from ps3d_rt.core.blend import BlendRing
from ps3d_rt.core.border_core import to_border_core
from ps3d_rt.core.grid import Box, PatchLattice, Zyx
from ps3d_rt.core.normalize import GrayScale, normalized_shape, zscore
from ps3d_rt.core.resample import PlaneStream
from ps3d_rt.devices import Device, device_named
from ps3d_rt.stages.particles import to_particles
from ps3d_rt.stages.storage import BORDER_CORE, DeviceStore, MemoryStore

ZOOM = 0.4
OVERLAP = 0.4
GRAIN = 24
"""Voxels across, of the balls that are put together."""


def stages(bench: Bench) -> dict[str, Any]:
    """Time upload, resampling, blending, particles and download; bytes are the least that each has to move."""
    side, patch = (64, 32) if bench.quick else (512, 64)
    device = device_named(bench.device)
    device.start()
    xp = device.namespace
    repeats = 1 if bench.quick else 5
    shape: Zyx = (side,) * 3
    image = np.random.default_rng(0).integers(0, 60_000, shape, dtype=np.uint16)
    there = device.upload(image)
    small = normalized_shape(shape, (ZOOM,) * 3)
    lattice = PatchLattice.plan(shape, (patch,) * 3, OVERLAP)
    scores = device.upload(np.random.default_rng(0).random((3, patch, patch, patch), dtype=np.float32))
    classes = to_border_core(balls(side), 2.5)
    works: list[tuple[str, Callable[[], object], int]] = [
        ("upload", lambda: device.upload(image), image.nbytes),
        ("resample and standardize", partial(_resample, there, small, xp), image.nbytes + 4 * prod(small)),
        # A patch: two scores and the weight in, two sums in and out. A plane: two sums in and out, two bytes out.
        ("blend", partial(_blend, lattice, scores, xp), lattice.count * patch**3 * 28 + prod(lattice.padded) * 18),
        ("particles", partial(_particles, device, classes), 5 * classes.size),
        ("download", lambda: device.download(there), image.nbytes),
    ]
    limits = ceilings(bench.device, quick=bench.quick)
    rows = []
    for name, work, count in works:
        seconds = seconds_of(work, device.finish, repeats)
        limit = limits["copy_gb_per_s"]
        if bench.on_gpu and name in ("upload", "download"):
            limit = limits["to_device_gb_per_s" if name == "upload" else "to_host_gb_per_s"]
        gb_per_s = count / 1e9 / seconds
        rows.append(
            {
                "stage": name,
                "seconds": round(seconds, 4),
                "mvoxels_per_s": round(image.size / seconds / 1e6, 1),
                "gb_per_s": round(gb_per_s, 2),
                "share_of_copy_ceiling": round(gb_per_s / limit, 4),
            }
        )
    return {"shape": shape, "ceilings": limits, "stages": rows}


def balls(side: int) -> Any:
    """(side, side, side) uint32: balls in a lattice, each with an id."""
    centre = np.arange(side) // GRAIN
    offset = (np.arange(side) % GRAIN - (GRAIN - 1) / 2) ** 2
    inside = offset[:, None, None] + offset[:, None] + offset <= (GRAIN / 2) ** 2
    count = centre[-1] + 1
    ids = (centre[:, None, None] * count + centre[:, None]) * count + centre + 1
    return np.where(inside, ids, 0).astype(np.uint32)


def _resample(image: Any, shape: Zyx, xp: Any) -> None:
    whole = Box.of_shape(shape)
    stream = PlaneStream(
        lambda box: image[box.slices], whole, (image.shape, shape), zoom=(ZOOM,) * 3, lowpass=True, planes_per_read=64
    )
    for first in range(0, shape[0], 16):
        zscore(stream.take(min(16, shape[0] - first)), GrayScale(30_000.0, 17_000.0))


def _blend(lattice: PatchLattice, scores: Any, xp: Any) -> None:
    ring = BlendRing(lattice, scores=True, xp=xp)
    for _, boxes in ring.layers():
        for at in boxes:
            ring.add(scores, at)
        ring.take()


def _particles(device: Device, classes: Any) -> None:
    store = MemoryStore(classes.shape)
    store.arrays[BORDER_CORE] = classes
    to_particles(DeviceStore(store, device), classes.shape, (256, 256, 256))

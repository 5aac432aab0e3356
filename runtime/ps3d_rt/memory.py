"""How a run spends one budget of memory: how many tasks may run side by side, beside what the particles take.

Bytes a voxel and bytes a particle are upper bounds of what was measured (``benchmarks/memory.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, prod
from pathlib import Path
from typing import cast

import psutil

from ps3d_rt.core.chunks import ChunkGrid
from ps3d_rt.core.grid import Zyx

DEFAULT_BYTES = 4 * 2**30
"""Of a run, if the machine has twice as much free."""

BASE_BYTES = 512 * 2**20
"""Of a process: interpreter, libraries, a small network, and what many threads leave unused between their arrays."""
HALO = 16
"""Voxels that a task reads beyond its chunk to grow particles: borders are thinner, so one round does."""
CHUNK_BYTES_PER_VOXEL = 16
"""Of a chunk with its halo, while its particles grow; as stated in ``stages/particles.py``."""
BOX: Zyx = (64, 512, 512)
"""Most voxels of a box of the source grid that is measured or written at a time: a shard of the labels."""
BOX_BYTES_PER_VOXEL = 8
"""Of such a box, beside its gray values: its labels, twice for a moment."""
BOX_BYTES = 192 * 2**20
"""Of such a box: what is read, summed and made some planes at a time."""
ROW_BYTES = 1536
"""Of a particle that boxes may still add to."""
FRAGMENTS_PER_PARTICLE = 2
"""A particle on the network's grid falls into fragments where chunks cut it, and its border may be one."""
FRAGMENT_BYTES, JOINED_FRAGMENT_BYTES = 40, 120
"""Of a fragment while chunks are worked on, and while fragments are put together and no chunk is."""
PARTICLE_BYTES = 128
"""Of a particle from its numbering to its row: where it begins and ends, ids, scores, what a rule said of it."""
SORTED_BYTES = 64
"""Of a particle in the size distribution and the report, which read a few columns at a time."""

PICTURES_BYTES = 2**28
"""Of the planes that the report shows, at most 45 of 800 × 800 pixels, until it is written."""

SWEEP_SHARE = 3 / 8
"""Of the budget, for the planes of sweeps: the network's own memory is not known before it runs."""
DENSEST = 0.64
"""Share of a volume that round particles fill, packed as tight as they fall."""

_CGROUP_LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Files with what a container may take and what it takes, version 2 and 1."""


def free_bytes() -> int:
    """Give the memory that is free, of the machine or of the container that this process is in."""
    free = int(psutil.virtual_memory().available)
    for most, taken in _CGROUP_LIMITS:
        try:
            free = min(free, int(Path(most).read_text()) - int(Path(taken).read_text()))
        except (OSError, ValueError):  # there is no such file, or no limit ("max")
            continue
    return max(free, 0)


def default_bytes() -> int:
    """Choose a budget: the smaller of 4 GiB and half of what is free."""
    return min(DEFAULT_BYTES, free_bytes() // 2)


def most_particles(shape: Zyx, spacing_mm: tuple[float, float, float], diameter_mm: float) -> int:
    """Count the balls that fill a volume as tight as they fall.

    >>> most_particles((100, 100, 100), (1.0, 1.0, 1.0), 10.0)
    1222
    """
    return int(DENSEST * prod(shape) * prod(spacing_mm) / (pi / 6 * diameter_mm**3))


def task_bytes(chunk: Zyx, volume: Zyx | None = None) -> int:
    """Memory of a task of a chunk, of a volume that may end before its halo does."""
    sides = [n + 2 * HALO for n in chunk]
    return prod(sides if volume is None else map(min, sides, volume)) * CHUNK_BYTES_PER_VOXEL


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """What the tasks of a run take, and how many fit into its budget."""

    budget_bytes: int
    workers: int
    """Processes."""
    chunk_bytes: int
    """Of a task that puts the particles of a chunk together."""
    box_bytes: int
    """Of a task that measures or writes a box of the source grid."""
    boxes: int
    """Of the source grid."""
    layers: int
    """Of boxes, along z."""

    @classmethod
    def for_budget(
        cls, budget_bytes: int, workers: int, chunks: ChunkGrid, source: Zyx, bytes_per_voxel: int
    ) -> MemoryPlan:
        """Plan for the chunks of a normalized volume and the boxes of a scan."""
        layers, rows, columns = (-(-n // side) for n, side in zip(source, BOX, strict=True))
        box = prod(min(n, side) for n, side in zip(source, BOX, strict=True))
        return cls(
            budget_bytes=budget_bytes,
            workers=workers,
            chunk_bytes=task_bytes(cast(Zyx, tuple(map(min, chunks.shape, chunks.chunk))), chunks.shape),
            box_bytes=box * (BOX_BYTES_PER_VOXEL + bytes_per_voxel) + BOX_BYTES,
            boxes=layers * rows * columns,
            layers=layers,
        )

    @property
    def base_bytes(self) -> int:
        """What the processes take, whatever they do."""
        return self.workers * BASE_BYTES

    def chunks_at_once(self, particles: int) -> int:
        """Chunks that may be worked on at a time, at least 1."""
        return self._at_once(self.chunk_bytes, particles * FRAGMENTS_PER_PARTICLE * FRAGMENT_BYTES)

    def boxes_at_once(self, particles: int) -> int:
        """Boxes that may be worked on at a time, at least 1; as many results may wait."""
        waiting = 2 * particles * ROW_BYTES // max(1, self.boxes)
        return self._at_once(self.box_bytes + waiting, self.rows_bytes(particles))

    def rows_bytes(self, particles: int) -> int:
        """Count what is held while boxes are measured: pictures, something of all particles, the sums of two layers."""
        return PICTURES_BYTES + particles * PARTICLE_BYTES + 2 * particles * ROW_BYTES // max(2, self.layers)

    def _at_once(self, task_bytes: int, held_bytes: int) -> int:
        return max(1, (self.budget_bytes - self.base_bytes - held_bytes) // task_bytes)

    def peak_bytes(self, sweep_bytes: int, at_once: int, chunks: int, particles: int) -> int:
        """Forecast the peak of all processes together.

        Args:
            sweep_bytes: of the planes of all sweeps at a time.
            at_once: tasks that the threads or processes run at a time if memory allows it.
            chunks: of the normalized grid.
            particles: how many there are.
        """
        fragments = particles * FRAGMENTS_PER_PARTICLE
        tasks = min(at_once, chunks, self.chunks_at_once(particles)) * self.chunk_bytes
        boxes = min(at_once, self.boxes, self.boxes_at_once(particles))
        waiting = 2 * boxes * particles * ROW_BYTES // max(1, self.boxes)
        return self.base_bytes + max(
            sweep_bytes,
            tasks + fragments * FRAGMENT_BYTES,
            fragments * JOINED_FRAGMENT_BYTES,
            boxes * self.box_bytes + waiting + self.rows_bytes(particles),
            particles * SORTED_BYTES,
        )

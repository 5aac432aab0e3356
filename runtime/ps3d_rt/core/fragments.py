"""The foreground of a border-core map, cut into cores and groups; what rule 2 asks of a core.

On a CPU all of it works on runs: voxels of one class in a row along x. A map has 10 to 30 times fewer runs than voxels,
so the map is walked once and nothing as large as the map is made on the way. On a GPU every voxel has a thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.arrays import CudaKernel, KernelDispatch, array_namespace, asnumpy, compiled, is_array
from ps3d_rt.core.components import component_roots, numbered
from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.core.runs import find_runs, paint
from ps3d_rt.errors import InputError

BACKGROUND, CORE, BORDER = 0, 1, 2

DEEP_REACH = 2
"""Voxels around a voxel that tell whether its distance to outside its core is 3 or more."""


def check_border_core(border_core: Any) -> None:
    """Refuse what is not a border-core map, in a numpy or CuPy array."""
    if not is_array(border_core) or border_core.ndim != 3 or border_core.dtype != np.uint8:
        got = f"{getattr(border_core, 'dtype', type(border_core))} of shape {getattr(border_core, 'shape', '?')}"
        raise InputError(f"a border-core map is a (Z, Y, X) uint8 numpy array, got {got}.")
    largest = int(border_core.max()) if border_core.size else 0
    if largest > BORDER:
        raise InputError(f"a border-core map holds 0, 1 and 2, got {largest}; instances need to_border_core.")


@dataclass(frozen=True, eq=False)
class FragmentFacts:
    """What is known of the fragments of a box: its cores, 1..cores, and the border of every group, cores + group.

    Arrays are indexed by fragment; entry 0 means nothing.
    """

    group_id: NDArray[np.uint32]
    """The border fragment that stands for the group of a fragment; it may be a fragment without voxels."""
    shallow: NDArray[np.int64]
    """By core: voxels at distance ≤ 1 to outside the core; 0 if it is deep."""
    deep: NDArray[np.bool_]
    """By core: whether a voxel has distance ≥ 3; if so the core stays, however many voxels are shallow."""

    @property
    def count(self) -> int:
        """Number of fragments."""
        return self.group_id.size - 1

    @property
    def cores(self) -> int:
        """Number of cores, which are the fragments 1..cores; the others are border."""
        return self.deep.size - 1


@dataclass(frozen=True, eq=False)
class Fragments(FragmentFacts):
    """The foreground in a box as fragments."""

    labels: Any
    """(z, y, x) uint32, 0 where there is no foreground; lies where the classes lay."""


@KernelDispatch
def find_fragments(classes: Any, box: Box) -> Fragments:
    """Cut the foreground in ``box`` of a border-core map into fragments.

    Args:
        classes: (Z, Y, X) uint8, C-contiguous; what lies beyond it lies beyond the volume. So it goes
            :data:`DEEP_REACH` past ``box``.
        box: at most 2^31 voxels.
    """
    runs = foreground_runs(classes, box)
    shallow, deep = shallow_and_deep(classes, box, runs)
    group_id = np.arange(runs.cores + runs.groups + 1, dtype=np.uint32)
    group_id[runs.core] = runs.cores + runs.group
    group_id[0] = 0
    fragment = np.where(runs.core > 0, runs.core, runs.cores + runs.group).astype(np.uint32)
    labels = np.zeros(box.shape, np.uint32)
    paint(labels.reshape(-1), runs.first_index, runs.lengths, fragment)
    return Fragments(group_id, shallow, deep, labels)


@dataclass(frozen=True, eq=False)
class ForegroundRuns:
    """The foreground in a box as runs of one class along x, in raster order; one entry a run."""

    first_index: NDArray[np.int32]
    """Raster index, in the box, of the first voxel."""
    lengths: NDArray[np.int32]
    """Voxels."""
    core: NDArray[np.int32]
    """Core, 1..cores in raster order of the first voxels; 0 on border. Cores are 6-connected."""
    group: NDArray[np.int32]
    """Group, 1..groups in raster order of the first voxels. Groups are the 26-connected foreground."""

    @property
    def cores(self) -> int:
        """Number of cores."""
        return int(self.core.max(initial=0))

    @property
    def groups(self) -> int:
        """Number of groups."""
        return int(self.group.max(initial=0))


def foreground_runs(classes: NDArray[np.uint8], box: Box) -> ForegroundRuns:
    """Cut the foreground in ``box`` of a border-core map, (Z, Y, X), into cores and groups; the rest is not seen.

    The box holds at most 2^31 voxels.
    """
    runs = find_runs(classes, box)
    is_core = runs.values == CORE
    core, group = _joined(runs.first_index, runs.lengths, is_core, runs.rows, np.array(box.shape))
    _number(core, is_core)
    _number(group, np.ones_like(is_core))
    return ForegroundRuns(runs.first_index, runs.lengths, core, group)


@compiled
def _joined(
    first_index: NDArray[Any], lengths: NDArray[Any], is_core: NDArray[Any], rows: NDArray[Any], shape: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Join runs that touch, into cores and into groups: a run points to one before it, the first of all to itself."""

    def root(of: NDArray[Any], i: int) -> int:
        while of[i] != i:
            of[i] = of[of[i]]
            i = of[i]
        return i

    def join(of: NDArray[Any], i: int, j: int) -> None:
        if of[i] != of[j]:
            a, b = root(of, i), root(of, j)
            of[max(a, b)] = min(a, b)

    depth, height, width = shape
    core, group = np.arange(first_index.size, dtype=np.int32), np.arange(first_index.size, dtype=np.int32)
    for z in range(depth):
        for y in range(height):
            here = z * height + y
            for i in range(rows[here] + 1, rows[here + 1]):
                if first_index[i - 1] + lengths[i - 1] == first_index[i]:
                    join(group, i - 1, i)
            for dz, dy in ((0, -1), (-1, -1), (-1, 0), (-1, 1)):
                if z + dz < 0 or y + dy < 0 or y + dy >= height:
                    continue
                other = here + dz * height + dy
                shift = (here - other) * width
                i, j = rows[here], rows[other]
                while i < rows[here + 1] and j < rows[other + 1]:
                    a, b = first_index[i], first_index[j] + shift
                    a_stop, b_stop = a + lengths[i], b + lengths[j]
                    if a <= b_stop and b <= a_stop:  # 26 neighbours: a step aside counts
                        join(group, i, j)
                        if dz * dy == 0 and is_core[i] and is_core[j] and a < b_stop and b < a_stop:
                            join(core, i, j)
                    if a_stop <= b_stop:
                        i += 1
                    else:
                        j += 1
    return core, group


@compiled
def _number(of: NDArray[Any], counts: NDArray[Any]) -> None:
    """Give joined runs the numbers 1..n in place, in the order of their roots; runs that do not count get 0."""
    last = 0
    for i in range(of.size):
        if not counts[i]:
            of[i] = 0
        elif of[i] == i:
            last += 1
            of[i] = last
        else:
            of[i] = of[of[i]]  # it points to a run before it, which has its number by now


def shallow_and_deep(
    classes: NDArray[np.uint8], box: Box, runs: ForegroundRuns
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Find what rule 2 asks of the cores in ``box``: whether a voxel has distance ≥ 3, and how many have ≤ 1.

    The voxels around a core voxel, nearer than 3, are one 6-connected fragment if all of them are core; if one is not,
    it is outside. So no core needs to be known beyond the box, only classes.

    Args:
        classes: (Z, Y, X); what lies beyond it lies beyond the volume. So it goes :data:`DEEP_REACH` past ``box``.
        box: where the runs lie.
        runs: from :func:`foreground_runs`.

    Returns:
        (cores + 1,) voxels at distance ≤ 1, 0 if the core is deep; (cores + 1,) whether it is deep.
    """
    where = np.array(box.start), np.array(box.shape)
    shallow, deep = _shallow_and_deep(classes, *where, runs.first_index, runs.lengths, runs.core, runs.cores, _ball())
    shallow[deep] = 0
    return shallow, deep


def _ball() -> NDArray[np.int64]:
    """List the steps (z, y, x) to the voxels nearer than 3; the nearest decide most often and come first."""
    side = range(-DEEP_REACH, DEEP_REACH + 1)
    steps = [(z, y, x) for z in side for y in side for x in side if 0 < z * z + y * y + x * x < 9]
    return np.array(sorted(steps, key=lambda step: sum(n * n for n in step)))


@compiled
def _shallow_and_deep(
    classes: NDArray[Any],
    start: NDArray[Any],
    shape: NDArray[Any],
    first_index: NDArray[Any],
    lengths: NDArray[Any],
    core: NDArray[Any],
    cores: int,
    ball: NDArray[Any],
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Count the shallow voxels of every core until it shows a deep one; the first 6 of ``ball`` are face neighbours."""
    shallow = np.zeros(cores + 1, np.int64)
    deep = np.zeros(cores + 1, np.bool_)
    depth, height, width = classes.shape
    for i in range(first_index.size):
        own = core[i]
        z = start[0] + first_index[i] // (shape[1] * shape[2])
        y = start[1] + first_index[i] // shape[2] % shape[1]
        first = start[2] + first_index[i] % shape[2]
        for x in range(first, first + lengths[i]):
            if own == 0 or deep[own]:
                break
            clear = 0
            for k in range(ball.shape[0]):
                at_z, at_y, at_x = z + ball[k, 0], y + ball[k, 1], x + ball[k, 2]
                inside = 0 <= at_z < depth and 0 <= at_y < height and 0 <= at_x < width
                if inside and classes[at_z, at_y, at_x] != CORE:
                    break
                clear += 1
            shallow[own] += clear < 6
            deep[own] = clear == ball.shape[0]
    return shallow, deep


@find_fragments.on_gpu
def _find_fragments_on_gpu(classes: Any, box: Box) -> Fragments:
    xp = array_namespace(classes)
    own = xp.ascontiguousarray(classes[box.slices])
    core, first_index = numbered(component_roots(own == CORE, corners=False))
    group, groups = numbered(component_roots(own != BACKGROUND, corners=True))
    cores = first_index.size
    group_id = np.arange(cores + groups.size + 1, dtype=np.uint32)
    group_id[1 : cores + 1] = cores + asnumpy(group.reshape(-1)[first_index])
    labels = xp.where(core > 0, core, xp.where(group > 0, group + cores, 0)).astype(xp.uint32)
    return Fragments(group_id, *_shallow_and_deep_on_gpu(classes, box, core, cores), labels)


def _shallow_and_deep_on_gpu(
    classes: Any, box: Box, core: Any, cores: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Do what :func:`shallow_and_deep` does; ``core`` is (z, y, x) int32, the cores in ``box``."""
    xp = array_namespace(classes)
    wide = Box(_moved(box.start, -DEEP_REACH), _moved(box.stop, DEEP_REACH))
    here = wide.intersect(Box.of_shape(cast(Zyx, classes.shape)))
    padded_classes = xp.full(wide.shape, CORE, xp.uint8)  # beyond the volume is not outside
    padded_classes[here.relative_to(wide).slices] = classes[here.slices]
    steps = xp.asarray(_ball() @ np.array([wide.shape[1] * wide.shape[2], wide.shape[2], 1]))
    shallow, deep = xp.zeros(cores + 1, xp.int32), xp.zeros(cores + 1, xp.int32)
    _measure_cores(core.size, core, *core.shape[1:], DEEP_REACH, padded_classes, steps.size, steps, shallow, deep)
    is_deep = asnumpy(deep) > 0
    return np.where(is_deep, 0, asnumpy(shallow)).astype(np.int64), is_deep


def _moved(at: Zyx, by: int) -> Zyx:
    z, y, x = at
    return z + by, y + by, x + by


_measure_cores = CudaKernel("""
__global__ void measure_cores(long long count, const int* core, long long height, long long width, long long reach,
                              const unsigned char* padded_classes, long long ball, const long long* steps,
                              int* shallow, int* deep) {
    long long i = thread();
    if (i >= count || core[i] == 0) return;
    long long x = i % width + reach, y = i / width % height + reach, z = i / width / height + reach;
    long long at = (z * (height + 2 * reach) + y) * (width + 2 * reach) + x, clear = 0;
    while (clear < ball && padded_classes[at + steps[clear]] == 1) clear++;
    if (clear < 6) atomicAdd(&shallow[core[i]], 1);
    if (clear == ball) deep[core[i]] = 1;
}
""")

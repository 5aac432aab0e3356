"""Instances → border-core map (training) and border-core map → instances (inference).

A border-core map is uint8: 0 background, 1 core, 2 border. The kernels are CPU twins: numpy arrays in and out.
"""

from __future__ import annotations

from typing import Any, Literal

import cc3d
import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.arrays import compiled
from ps3d_rt.errors import InputError

BACKGROUND, CORE, BORDER = 0, 1, 2

UNCLAIMED = np.uint32(0xFFFFFFFF)
"""Foreground that no particle has claimed yet, while particles grow."""


def to_border_core(instances: NDArray[Any], thickness_voxels: float) -> NDArray[np.uint8]:
    """Cut every instance into a core and the border around it.

    A voxel is core when its Euclidean distance to the nearest voxel of another label, background included, is
    more than ``thickness_voxels``: the instance eroded by a ball. Instances that touch are so parted by border.
    What lies beyond the volume's faces does not count.

    The distance is split: along x to the nearest other label (1), then over rows at (dz, dy) (2). A row's voxel
    of the same label knows its own x distance, one of another label has 0; so the least dz² + dy² + dx² is exact.

    Args:
        instances: (Z, Y, X), any integer dtype, 0 is background.
        thickness_voxels: thickness of the border, 0 or more.

    Returns:
        uint8 of the same shape.
    """
    if instances.ndim != 3 or instances.dtype.kind not in "iu":
        raise InputError(f"instances are {instances.dtype} of shape {instances.shape}; (Z, Y, X) integers are needed.")
    if not 0 <= thickness_voxels < np.inf:
        raise InputError(f"the border thickness is {thickness_voxels} voxels; 0 or more is needed.")
    reach = int(thickness_voxels)
    rows = np.array(
        [
            (dz, dy)
            for dz in range(-reach, reach + 1)
            for dy in range(-reach, reach + 1)
            if dz * dz + dy * dy <= thickness_voxels**2
        ],
        dtype=np.int64,
    )
    rows = rows[np.argsort((rows**2).sum(axis=1), kind="stable")]  # nearest first: border is found early
    instances = np.ascontiguousarray(instances)
    return _cut(instances, _x_distance(instances, reach + 1), rows, float(thickness_voxels) ** 2)


@compiled
def _x_distance(labels: NDArray[Any], limit: int) -> NDArray[np.int32]:
    """Voxels along x to the nearest other label in the row, at most ``limit``."""
    depth, height, width = labels.shape
    out: NDArray[np.int32] = np.empty(labels.shape, np.int32)
    for z in range(depth):
        for y in range(height):
            run = limit
            for x in range(width):
                edge = x > 0 and labels[z, y, x] != labels[z, y, x - 1]
                run = 1 if edge else min(run + 1, limit)
                out[z, y, x] = run
            run = limit
            for x in range(width - 1, -1, -1):
                edge = x < width - 1 and labels[z, y, x] != labels[z, y, x + 1]
                run = 1 if edge else min(run + 1, limit)
                out[z, y, x] = min(out[z, y, x], run)
    return out


@compiled
def _cut(labels: NDArray[Any], near_x: NDArray[Any], rows: NDArray[Any], limit: float) -> NDArray[np.uint8]:
    depth, height, width = labels.shape
    out = np.zeros(labels.shape, np.uint8)
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                label = labels[z, y, x]
                if label == 0:
                    continue
                out[z, y, x] = CORE
                for i in range(rows.shape[0]):
                    dz, dy = rows[i, 0], rows[i, 1]
                    if not (0 <= z + dz < depth and 0 <= y + dy < height):
                        continue
                    dx = 0
                    if labels[z + dz, y + dy, x] == label:
                        dx = near_x[z + dz, y + dy, x]
                    if dz * dz + dy * dy + dx * dx <= limit:
                        out[z, y, x] = BORDER
                        break
    return out


def to_instances(border_core: NDArray[np.uint8], *, min_relative_volume: float = 0.005) -> NDArray[np.uint32]:
    """Turn a border-core map into one label per particle.

    1. Cores are the 6-connected components of class core, counted in raster order of their first voxels.
    2. A core is dropped, and becomes border, when at least 95 % of its voxels have Euclidean distance ≤ 1 to
       outside the core and none has ≥ 3. Beyond the volume's faces is not outside.
    3. Foreground, core or border, is grouped by 26-connectivity. A group with no core left is one particle.
    4. Every other foreground voxel joins the core it reaches first, step by step through 26-neighbours inside
       the foreground; a tie goes to the core whose first voxel comes first in raster order.
    5. Particles smaller than ``min_relative_volume`` times the mean volume are dropped; the others are numbered
       1..N in raster order of their first voxels.

    Args:
        border_core: (Z, Y, X) uint8, 0 background, 1 core, 2 border.
        min_relative_volume: share of the mean particle volume, 0 or more.

    Returns:
        uint32 of the same shape.

    Raises:
        InputError: if ``border_core`` is not such a map.

    Source: ParticleSeg3D, arXiv 2301.13319; the rules are made exact so that no order of work can change them.
    """
    check_border_core(border_core)
    cores = label_cores(border_core)
    labels = grow(cores, border_core != BACKGROUND)
    return keep_and_number(labels, min_relative_volume)


def label_cores(border_core: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Apply rules 1 and 2 of :func:`to_instances`: the cores that count, 1..n in raster order of first voxels."""
    cores, count = components(border_core == CORE, connectivity=6)
    keep = ~_is_small(cores, count)
    return _number(cores, keep)


def grow(cores: NDArray[np.uint32], foreground: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Apply rules 3 and 4 of :func:`to_instances`.

    A single first-in-first-out queue does the steps: it starts with the cores' rims in the order of their
    ids, and a voxel is appended when it is claimed, so the queue stays ordered by (step, id). The first claim on a
    voxel is then the earliest one, of the lowest id.

    Args:
        cores: (Z, Y, X) uint32, ids 1..n, a lower id wins a tie.
        foreground: (Z, Y, X), true on all cores.

    Returns:
        uint32: the ids of ``cores``, then n + 1, … for groups without a core.
    """
    room = np.pad(np.where(foreground & (cores == 0), UNCLAIMED, cores), 1)  # a shell of 0 saves all bound checks
    flat, steps = room.reshape(-1), neighbour_steps(room.shape)
    rim = rim_of(flat, steps, UNCLAIMED)
    flood(flat, rim[np.argsort(flat[rim], kind="stable")], steps, UNCLAIMED, flat.size)
    labels = room[1:-1, 1:-1, 1:-1]
    coreless, _ = components(labels == UNCLAIMED, connectivity=26)
    first_new = np.uint32(int(cores.max(initial=0)))
    return np.where(coreless != 0, coreless + first_new, labels)


def keep_and_number(labels: NDArray[np.uint32], min_relative_volume: float) -> NDArray[np.uint32]:
    """Apply rule 5 of :func:`to_instances`; gaps between the ids of ``labels`` do not count as particles."""
    volumes = np.bincount(labels.reshape(-1), minlength=1)
    volumes[0] = 0
    count = np.count_nonzero(volumes)
    keep = (volumes > 0) & (volumes * count >= min_relative_volume * volumes.sum())
    return _number(labels, keep)


def check_border_core(border_core: NDArray[Any]) -> None:
    """Refuse what is not a border-core map."""
    if not isinstance(border_core, np.ndarray) or border_core.ndim != 3 or border_core.dtype != np.uint8:
        got = f"{getattr(border_core, 'dtype', type(border_core))} of shape {getattr(border_core, 'shape', '?')}"
        raise InputError(f"a border-core map is a (Z, Y, X) uint8 numpy array, got {got}.")
    if border_core.max(initial=0) > BORDER:
        raise InputError(f"a border-core map holds 0, 1 and 2, got {border_core.max()}; instances need to_border_core.")


def components(mask: NDArray[np.bool_], *, connectivity: Literal[6, 26]) -> tuple[NDArray[np.uint32], int]:
    """Label the connected pieces of ``mask`` 1..n, in raster order of their first voxels, and count them."""
    if mask.size == 0:
        return np.zeros(mask.shape, np.uint32), 0
    # For 26 neighbours cc3d 4.1 reserves room for about a quarter of the voxels as components and fails past it:
    # too few where axes are odd and short (3 x 3 x 3 has 8 corners). On even axes at most an eighth can be apart.
    even = np.pad(mask, [(0, n % 2) for n in mask.shape])
    labels, count = cc3d.connected_components(even, connectivity=connectivity, return_N=True, out_dtype=np.uint32)
    z, y, x = mask.shape
    return np.ascontiguousarray(labels[:z, :y, :x], dtype=np.uint32), int(count)


def _number(labels: NDArray[np.uint32], keep: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Renumber the labels to keep 1..N in raster order of first voxels; the others become 0."""
    return _first_come(np.ascontiguousarray(labels).reshape(-1), keep).reshape(labels.shape)


@compiled
def _first_come(labels: NDArray[Any], keep: NDArray[Any]) -> NDArray[Any]:
    number = np.zeros(keep.size, np.uint32)
    out = np.zeros(labels.size, np.uint32)
    last = 0
    for i in range(labels.size):
        label = labels[i]
        if label != 0 and keep[label]:
            if number[label] == 0:
                last += 1
                number[label] = last
            out[i] = number[label]
    return out


def _is_small(cores: NDArray[np.uint32], count: int) -> NDArray[np.bool_]:
    """Tell for every core id, 0 included, whether rule 2 drops it."""
    side = range(-2, 3)
    ball = np.array([(z, y, x) for z in side for y in side for x in side if 0 < z * z + y * y + x * x < 9])
    volume, thin = _count_thin(cores, count)
    small = 20 * thin >= 19 * volume
    if small.any():
        _clear_deep(cores, small, ball)
    return small


@compiled
def _count_thin(cores: NDArray[Any], count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Volume of every core, and how many of its voxels have distance ≤ 1: a face neighbour outside the core."""
    volume = np.zeros(count + 1, np.int64)
    thin = np.zeros(count + 1, np.int64)
    depth, height, width = cores.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                core = cores[z, y, x]
                if core == 0:
                    continue
                volume[core] += 1
                thin[core] += (
                    (z > 0 and cores[z - 1, y, x] != core)
                    or (z < depth - 1 and cores[z + 1, y, x] != core)
                    or (y > 0 and cores[z, y - 1, x] != core)
                    or (y < height - 1 and cores[z, y + 1, x] != core)
                    or (x > 0 and cores[z, y, x - 1] != core)
                    or (x < width - 1 and cores[z, y, x + 1] != core)
                )
    return volume, thin


@compiled
def _clear_deep(cores: NDArray[Any], small: NDArray[Any], ball: NDArray[Any]) -> None:
    """Unmark the cores that have a voxel at distance ≥ 3: no voxel outside the core in the ball around it."""
    depth, height, width = cores.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                core = cores[z, y, x]
                if core == 0 or not small[core]:
                    continue
                deep = True
                for i in range(ball.shape[0]):
                    at_z, at_y, at_x = z + ball[i, 0], y + ball[i, 1], x + ball[i, 2]
                    inside = 0 <= at_z < depth and 0 <= at_y < height and 0 <= at_x < width
                    if inside and cores[at_z, at_y, at_x] != core:
                        deep = False
                        break
                if deep:
                    small[core] = False


def neighbour_steps(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """List the steps to the 26 neighbours in the flat index of an array of ``shape``."""
    side = (-1, 0, 1)
    steps = [(z * shape[1] + y) * shape[2] + x for z in side for y in side for x in side]
    return np.array([step for i, step in enumerate(steps) if i != 13], dtype=np.int64)


@compiled
def rim_of(room: NDArray[Any], steps: NDArray[Any], unclaimed: np.uint32) -> NDArray[Any]:
    """Flat indices, ascending, of claimed voxels that have an unclaimed neighbour."""
    rim = [np.int64(0) for _ in range(0)]
    for i in range(room.size):
        if room[i] != 0 and room[i] != unclaimed:
            for step in steps:
                if room[i + step] == unclaimed:
                    rim.append(np.int64(i))
                    break
    return np.array(rim)


@compiled
def flood(room: NDArray[Any], rim: NDArray[Any], neighbours: NDArray[Any], unclaimed: np.uint32, steps: int) -> None:
    """Claim voxels in place, first in first out, for at most ``steps`` steps; ``room`` has a shell of zeros."""
    queue = np.empty(rim.size + np.count_nonzero(room == unclaimed), np.int64)
    queue[: rim.size] = rim
    head, tail = 0, rim.size
    for _ in range(steps):
        level = tail
        while head < level:
            here = queue[head]
            head += 1
            for step in neighbours:
                if room[here + step] == unclaimed:
                    room[here + step] = room[here]
                    queue[tail] = here + step
                    tail += 1
        if tail == level:
            break

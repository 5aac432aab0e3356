"""Connected components on a GPU: a union-find in which every voxel is an entry.

1. A voxel points to the first voxel of its run along x.
2. Runs of neighbouring rows that touch are joined: the larger of two roots points to the smaller, by an atomic minimum.
   If another thread has changed the larger root in the meantime, the root it found is joined too.
3. Every voxel points to its root.

A root is the smallest index of its tree, so in the end the first voxel of its component in raster order, whatever the
order in which threads ran. On a CPU the same is done with runs, in :mod:`ps3d_rt.core.fragments`.
"""

from __future__ import annotations

from typing import Any

from ps3d_rt.core.arrays import CudaKernel, array_namespace
from ps3d_rt.errors import Ps3dError

_start_runs = CudaKernel("""
__global__ void start_runs(long long count, const unsigned char* inside, int* root, long long width) {
    long long i = thread();
    if (i >= count) return;
    long long first = i;
    for (long long x = i % width; x > 0 && inside[first - 1]; x--) first--;
    root[i] = inside[i] ? (int)first : -1;
}
""")

_join_rows = CudaKernel("""
__device__ void join(int* root, int a, int b) {
    while (true) {
        while (root[a] != a) a = root[a];
        while (root[b] != b) b = root[b];
        if (a == b) return;
        int high = a > b ? a : b, low = a > b ? b : a;
        int before = atomicMin(&root[high], low);
        if (before == high) return;
        a = before;
        b = low;
    }
}

// Join voxel i with what touches it in another row, where j lies opposite; not again what its neighbours in x join.
__device__ void join_row(const unsigned char* inside, int* root, long long i, long long j, bool left, bool right,
                         bool corners) {
    if (inside[j]) {
        if (!(left && inside[i - 1] && inside[j - 1])) join(root, i, j);
    } else if (corners) {
        if (left && inside[j - 1] && !inside[i - 1]) join(root, i, j - 1);
        if (right && inside[j + 1] && !inside[i + 1]) join(root, i, j + 1);
    }
}

__global__ void join_rows(long long count, const unsigned char* inside, int* root, long long height, long long width,
                          long long corners) {
    long long i = thread();
    if (i >= count || !inside[i]) return;
    long long x = i % width, y = i / width % height, z = i / width / height, plane = height * width;
    bool left = x > 0, right = x + 1 < width;
    if (y > 0) join_row(inside, root, i, i - width, left, right, corners);
    if (z > 0) join_row(inside, root, i, i - plane, left, right, corners);
    if (corners && z > 0 && y > 0) join_row(inside, root, i, i - plane - width, left, right, true);
    if (corners && z > 0 && y + 1 < height) join_row(inside, root, i, i - plane + width, left, right, true);
}
""")

_point_to_roots = CudaKernel("""
__global__ void point_to_roots(long long count, int* root) {
    long long i = thread();
    if (i >= count || root[i] < 0) return;
    int at = root[i];
    while (root[at] != at) at = root[at];
    root[i] = at;
}
""")


def component_roots(inside: Any, *, corners: bool) -> Any:
    """Find the component of every voxel.

    Args:
        inside: (Z, Y, X) uint8 or bool CuPy array, C-contiguous; which voxels count.
        corners: whether voxels also touch over edges and corners (26 neighbours), or over faces only (6).

    Returns:
        (Z, Y, X) int32: raster index of the component's first voxel; -1 where ``inside`` is 0.

    Raises:
        Ps3dError: if an index does not fit int32.
    """
    if inside.size > 2**31 - 1:
        raise Ps3dError(
            f"{inside.size} voxels at once; components on a GPU take at most 2^31 - 1. Use a smaller chunk."
        )
    xp = array_namespace(inside)
    _, height, width = inside.shape
    root = xp.empty(inside.shape, xp.int32)
    _start_runs(inside.size, inside, root, width)
    _join_rows(inside.size, inside, root, height, width, int(corners))
    _point_to_roots(inside.size, root)
    return root


def numbered(root: Any) -> tuple[Any, Any]:
    """Give components numbers in raster order of their first voxels.

    Args:
        root: from :func:`component_roots`.

    Returns:
        (Z, Y, X) int32: 1..n, and 0 where there is none; and (n,) the raster indices of the first voxels, ascending.
    """
    xp = array_namespace(root)
    flat = root.reshape(-1)
    is_first = flat == xp.arange(flat.size, dtype=xp.int32)
    number = xp.cumsum(is_first, dtype=xp.int32)
    numbers = xp.where(flat < 0, xp.int32(0), number[flat])
    return numbers.reshape(root.shape), xp.flatnonzero(is_first)

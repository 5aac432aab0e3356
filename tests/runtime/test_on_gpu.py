"""Every function with a body for a GPU gives there what it gives on a CPU, to the byte."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ps3d_rt.core.arrays import CudaKernel, KernelDispatch, asnumpy, gpu_index, namespace_of
from ps3d_rt.core.blend import BlendRing
from ps3d_rt.core.chunks import label_statistics
from ps3d_rt.core.components import component_roots, numbered
from ps3d_rt.core.contrast import is_empty
from ps3d_rt.core.fragments import find_fragments
from ps3d_rt.core.grid import Box, PatchLattice
from ps3d_rt.core.growth import claim, planes_to_others
from ps3d_rt.core.normalize import GrayScale, normalized_shape, zscore
from ps3d_rt.core.resample import PlaneStream
from ps3d_rt.core.stitch import relabel
from ps3d_rt.devices import GpuDevice, device_named
from ps3d_rt.devices.several import LimitedTask
from ps3d_rt.errors import CapabilityError, InputError, Ps3dError
from ps3d_rt.stages.particles import to_instances_chunked
from ps3d_rt.stages.storage import BORDER_CORE, INSTANCES, DeviceStore, MemoryStore

# A fixture that is made once for all examples is what is wanted: CuPy, or its stand-in.
ONE_FIXTURE = [HealthCheck.function_scoped_fixture]
SHARES = st.sampled_from([(0.2, 0.5, 0.3), (0.7, 0.2, 0.1), (0.9, 0.05, 0.05), (0, 0.5, 0.5), (0, 1, 0), (1, 0, 0)])
SHAPES = st.tuples(st.integers(1, 7), st.integers(1, 9), st.integers(1, 40))


def border_core(shape: tuple[int, ...], seed: int, share: tuple[float, ...]) -> Any:
    return np.random.default_rng(seed).choice(np.array([0, 1, 2], np.uint8), shape, p=share)


def grains(shape: tuple[int, ...], seed: int, *, thickness: float = 2.2) -> Any:
    """Balls that touch, with cores inside, cubes with a core too small to stay, and threads of border between them."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.indices(shape), -1)
    classes = np.zeros(shape, np.uint8)
    for radius in (7, 6, 5, 4, 3):
        distance = np.sqrt(((grid - rng.integers(0, shape)) ** 2).sum(-1))
        classes[distance <= radius] = 2
        classes[distance <= radius - thickness] = 1
    for z, y, x in rng.integers(3, np.array(shape) - 8, (6, 3)):
        classes[z : z + 4, y : y + 4, x : x + 4] = 2
        classes[z + 1 : z + 3, y + 1 : y + 3, x + 1 : x + 3] = 1
    classes[:, shape[1] // 2, ::2][classes[:, shape[1] // 2, ::2] == 0] = 2
    return classes


@given(shape=SHAPES, seed=st.integers(0, 2**32 - 1), share=SHARES, corners=st.booleans())
@settings(max_examples=60, suppress_health_check=ONE_FIXTURE)
def test_components_are_numbered_in_raster_order(cupy, shape, seed, share, corners):
    inside = border_core(shape, seed, share) == 1
    want, count = ndimage.label(inside, ndimage.generate_binary_structure(3, 3 if corners else 1))
    numbers, first_index = numbered(component_roots(cupy.asarray(inside), corners=corners))
    np.testing.assert_array_equal(asnumpy(numbers), want)
    np.testing.assert_array_equal(asnumpy(first_index), [np.flatnonzero(want == k + 1)[0] for k in range(count)])


def test_touching_over_every_edge_and_corner_joins(cupy):
    for step in np.ndindex(3, 3, 3):
        inside = np.zeros((3, 3, 3), bool)
        inside[1, 1, 1] = inside[step] = True
        for corners in (False, True):
            joined = step == (1, 1, 1) or corners or np.abs(np.subtract(step, 1)).sum() == 1
            _, first_index = numbered(component_roots(cupy.asarray(inside), corners=corners))
            assert first_index.size == (1 if joined else 2), step


def test_many_threads_at_one_root_lose_no_contact(cupy):
    combs = np.zeros((200, 2, 41), bool)
    combs[::2, 0, ::2] = True  # the teeth, every one a root, to be joined by their threads to the root of the back
    combs[::2, 1] = True
    numbers, first_index = numbered(component_roots(cupy.asarray(combs), corners=False))
    assert first_index.size == 100
    np.testing.assert_array_equal(asnumpy(numbers)[::2, 1, 0], np.arange(1, 101))


def test_a_winding_component_is_one(cupy):
    inside = np.zeros((3, 40, 300), bool)
    inside[1, ::2] = True
    inside[1, 1::4, -1] = inside[1, 3::4, 0] = True
    roots = asnumpy(component_roots(cupy.asarray(inside), corners=False))
    assert set(roots[inside].tolist()) == {np.flatnonzero(inside)[0]}
    assert set(roots[~inside].tolist()) == {-1}


@given(shape=SHAPES, seed=st.integers(0, 2**32 - 1), share=SHARES, draw=st.data())
@settings(max_examples=60, suppress_health_check=ONE_FIXTURE)
def test_fragments_are_those_of_the_cpu(cupy, shape, seed, share, draw):
    classes = border_core(shape, seed, share)
    start = tuple(draw.draw(st.integers(0, n - 1)) for n in shape)
    box = Box(start, tuple(draw.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True)))
    assert_same_pieces(cupy, classes, box)


def test_fragments_with_deep_and_shallow_cores_are_those_of_the_cpu(cupy):
    classes = grains((20, 30, 40), 0)
    for box in (Box.of_shape(classes.shape), Box((2, 2, 2), (18, 28, 38)), Box((0, 5, 2), (11, 30, 33))):
        found = assert_same_pieces(cupy, classes, box)
        assert found.deep.any()
        assert found.shallow.any()


def assert_same_pieces(cupy: Any, classes: Any, box: Box) -> Any:
    want, found = find_fragments(classes, box), find_fragments(cupy.asarray(classes), box)
    for name in ("group_id", "shallow", "deep"):
        assert getattr(found, name).dtype == getattr(want, name).dtype
        np.testing.assert_array_equal(getattr(found, name), getattr(want, name), err_msg=name)
    assert found.labels.dtype == want.labels.dtype
    np.testing.assert_array_equal(asnumpy(found.labels), want.labels)
    return want


@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 100)),
    seed=st.integers(0, 2**32 - 1),
    reach=st.integers(0, 4),
    repeat=st.integers(1, 40),
)
@settings(max_examples=60, suppress_health_check=ONE_FIXTURE)
def test_tallies_are_those_of_the_cpu(cupy, shape, seed, reach, repeat):
    labels = np.random.default_rng(seed).integers(0, 6, shape).astype(np.uint32)
    labels = np.repeat(labels, repeat, axis=2)[:, :, : shape[2]]
    box = Box((9, 0, 3), tuple(np.add((9, 0, 3), labels.shape).tolist()))
    want = label_statistics(labels, 7, box, (40, 50, 200), reach)
    found = label_statistics(cupy.asarray(labels), 7, box, (40, 50, 200), reach)
    for name in ("volumes", "first_index", "near"):
        assert getattr(found, name).dtype == getattr(want, name).dtype
        np.testing.assert_array_equal(getattr(found, name), getattr(want, name), err_msg=name)


def test_labels_take_their_names_on_the_gpu(cupy):
    chunk = np.array([[[0, 1, 2], [2, 2, 1]]], np.uint32)
    room = cupy.zeros((1, 4, 3), np.uint32)
    relabel(cupy.asarray(chunk), np.array([0, 7, 2**31]), room[:, 1:3])
    np.testing.assert_array_equal(asnumpy(room)[0], [[0] * 3, [0, 7, 2**31], [2**31, 2**31, 7], [0] * 3])
    with pytest.raises(InputError, match="the table ends at 1"):
        relabel(cupy.asarray(chunk), np.array([0, 7]), room[:, 1:3])


@given(
    volume=st.tuples(*[st.integers(4, 12)] * 3),
    seed=st.integers(0, 2**32 - 1),
    share=st.sampled_from([(0.5, 0.1, 0.4), (0.75, 0.02, 0.23), (0.85, 0.01, 0.14), (0, 0.01, 0.99)]),
    steps=st.integers(1, 4),
    draw=st.data(),
)
@settings(max_examples=60, suppress_health_check=ONE_FIXTURE)
def test_a_round_claims_what_it_claims_on_the_cpu(cupy, volume, seed, share, steps, draw):
    start = tuple(draw.draw(st.integers(0, n - 2)) for n in volume)
    chunk = Box(start, tuple(draw.draw(st.integers(a + 1, n)) for a, n in zip(start, volume, strict=True)))
    read = chunk.grow(steps, Box.of_shape(volume))
    rng = np.random.default_rng(seed)
    room = np.zeros([n + 2 for n in read.shape], np.uint32)
    kinds = rng.choice(np.array([0, 1, 2**32 - 1], np.uint32), read.shape, p=share)
    room[1:-1, 1:-1, 1:-1] = np.where(kinds == 1, rng.integers(1, 5, read.shape), kinds)
    planes = planes_to_others(chunk, read, volume)
    on_gpu = cupy.asarray(room)
    claim(room, planes, steps)
    claim(on_gpu, planes, steps)
    np.testing.assert_array_equal(asnumpy(on_gpu), room)


@given(
    shape=st.tuples(*[st.integers(1, 14)] * 3),
    chunk=st.tuples(*[st.integers(2, 9)] * 3),
    seed=st.integers(0, 2**32 - 1),
    share=st.sampled_from([(0.2, 0.2, 0.6), (0.5, 0.1, 0.4), (0.65, 0.05, 0.3), (0.8, 0.01, 0.19), (0, 0.02, 0.98)]),
    halo=st.integers(1, 4),
)
@settings(max_examples=40, suppress_health_check=ONE_FIXTURE)
def test_particles_are_those_of_the_cpu(cupy, shape, chunk, seed, share, halo):
    assert_same_particles(border_core(shape, seed, share), chunk, halo)


@pytest.mark.parametrize("halo", [1, 3, 16])
def test_particles_of_grains_are_those_of_the_cpu(cupy, halo):
    assert_same_particles(grains((25, 30, 35), 3), (16, 12, 20), halo)
    assert_same_particles(grains((25, 30, 35), 4, thickness=4.5), (16, 30, 20), halo)


def assert_same_particles(classes: Any, chunk: tuple[int, int, int], halo: int) -> None:
    found = []
    for name in ("cpu", "cuda:0"):
        store = MemoryStore(classes.shape)
        store.arrays[BORDER_CORE] = classes
        used = DeviceStore(store, device_named(name))
        count = to_instances_chunked(used, classes.shape, chunk, min_relative_volume=0, halo=halo)
        found.append((count, store.arrays[INSTANCES]))
    assert found[0][0] == found[1][0]
    np.testing.assert_array_equal(found[0][1], found[1][1])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("zoom", [(1, 1, 1), (0.4, 0.7, 1.6)])
def test_planes_are_resampled_to_the_bytes_of_the_cpu(cupy, dtype, zoom):
    image = np.random.default_rng(0).integers(0, 250, (13, 14, 15)).astype(dtype)
    shape = normalized_shape(image.shape, zoom)
    region = Box((1, 0, 2), shape)
    planes = []
    for xp in (np, cupy):
        stream = PlaneStream(
            lambda box, xp=xp: xp.asarray(image[box.slices]), region, (image.shape, shape), zoom=zoom, planes_per_read=4
        )
        parts = [stream.take(2), stream.take(region.shape[0] - 2)]
        planes.append([zscore(part, GrayScale(120.3, 61.7)) for part in parts])
    for want, found in zip(*planes, strict=True):
        assert found.dtype == np.float32
        assert asnumpy(found).tobytes() == want.tobytes()


def test_patches_are_empty_where_they_are_on_the_cpu(cupy):
    patch = np.random.default_rng(0).normal(-1, 0.15, (32, 32, 32)).astype(np.float32)
    assert is_empty(cupy.asarray(patch)) is is_empty(patch) is True
    patch[9:13, 9:13, 9:13] += 2
    assert is_empty(cupy.asarray(patch)) is is_empty(patch) is False


@pytest.mark.parametrize("core_bias", [0.0, -0.05])
def test_scores_blend_to_the_bytes_of_the_cpu(cupy, core_bias):
    lattice = PatchLattice.plan((21, 20, 19), (9, 8, 7), 0.5)
    write = Box((2, 0, 4), (20, 20, 16))
    rng = np.random.default_rng(0)
    rings = [BlendRing(lattice, write, core_bias=core_bias, scores=True, xp=xp) for xp in (np, cupy)]
    for _, patches in rings[0].layers():
        for k, at in enumerate(patches):
            scores = rng.dirichlet((1, 1, 1), (9, 8, 7)).transpose(3, 0, 1, 2).astype(np.float32)
            for ring, xp in zip(rings, (np, cupy), strict=True):
                ring.skip(at) if k == 3 else ring.add(xp.asarray(scores), at)
        (z, want), (found_z, found) = (ring.take() for ring in rings)
        assert z == found_z
        np.testing.assert_array_equal(asnumpy(found), want)


def test_what_has_no_body_for_a_gpu_says_so(cupy):
    @KernelDispatch
    def twice(x):
        return x + x

    assert twice(np.float32(3)) == 6
    with pytest.raises(Ps3dError, match="twice cannot work on a GPU"):
        twice(cupy.zeros(2))


def test_kernels_take_contiguous_arrays_only_and_no_thread_past_the_count(cupy):
    count_up = CudaKernel("""
    __global__ void count_up(long long count, int* values, long long by) {
        if (thread() < count) atomicAdd(&values[thread()], (int)by);
    }
    """)
    values = cupy.zeros(700, np.int32)
    count_up(600, values, 3)
    count_up(0, values, 3)
    assert asnumpy(values).tolist() == [3] * 600 + [0] * 100
    with pytest.raises(Ps3dError, match="not C-contiguous"):
        count_up(9, values[::2], 3)


def test_devices_have_names():
    assert [gpu_index(name) for name in ("cpu", "cuda:0", "cuda:12")] == [None, 0, 12]
    assert namespace_of("cpu") is np
    for name in ("cuda", "cuda:", "gpu:0", "cuda:-1", "auto"):
        with pytest.raises(InputError, match="cpu or cuda:N"):
            gpu_index(name)


def test_without_cupy_a_gpu_cannot_be_used(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cupy", None)
    with pytest.raises(CapabilityError, match=r"ps3d-rt\[gpu\]"):
        namespace_of("cuda:0")


def test_a_gpu_that_is_not_there_is_refused(cupy):
    with pytest.raises(CapabilityError, match="cuda:99 cannot be used"):
        device_named("cuda:99").start()


def test_the_memory_limit_holds_inside_and_running_out_is_explained(cupy):
    pool = cupy.get_default_memory_pool()
    with device_named("cuda:0").limited(2**30):
        assert pool.get_limit() == 2**30
    assert pool.get_limit() == 0
    with pytest.raises(CapabilityError, match=r"1\.0 GiB.*--gpu-memory"), device_named("cuda:0").limited(2**30):
        raise cupy.cuda.memory.OutOfMemoryError(2**31, 0, 2**30)
    cpu = device_named("cpu")
    with cpu.limited(1):
        cpu.start()
        cpu.finish()


def test_a_process_with_a_gpu_of_its_own_keeps_the_limit_too(cupy):
    pool = cupy.get_default_memory_pool()

    def too_much(item):
        raise cupy.cuda.memory.OutOfMemoryError(2**31, 0, 2**30)

    try:
        assert LimitedTask(lambda item: (item, pool.get_limit()), GpuDevice("cuda:0"), 2**30)(7) == (7, 2**30)
        with pytest.raises(CapabilityError, match=r"1\.0 GiB.*--gpu-memory"):
            LimitedTask(too_much, GpuDevice("cuda:0"), 2**30)(7)
    finally:
        pool.set_limit(size=0)

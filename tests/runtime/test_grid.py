from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ps3d_rt.core.grid import Box, PatchLattice, Zyx, axis_starts, plan_sweeps
from ps3d_rt.errors import InputError

shapes = st.tuples(*[st.integers(1, 40)] * 3)
patches = st.tuples(*[st.integers(1, 12)] * 3)
overlaps = st.sampled_from([0.0, 0.25, 0.5, 0.8])
aligns = st.tuples(*[st.integers(1, 16)] * 3)


@given(st.integers(1, 400), st.integers(1, 80), st.floats(0, 0.9))
def test_starts_cover_the_axis_with_the_asked_overlap(extra: int, patch: int, overlap: float) -> None:
    length = patch + extra - 1
    starts = axis_starts(length, patch, overlap)
    assert starts[0] == 0
    assert starts[-1] == length - patch
    steps = np.diff(starts)
    assert (steps > 0).all()
    assert steps.size == 0 or steps.max() <= max(1, int(patch * (1 - overlap)))
    assert steps.size == 0 or steps.max() - steps.min() <= 1, "evenly spaced"


@given(st.integers(1, 400), st.integers(1, 80), st.floats(0, 0.9))
def test_there_is_no_patch_too_many(extra: int, patch: int, overlap: float) -> None:
    length = patch + extra - 1
    stride = max(1, int(patch * (1 - overlap)))
    assert len(axis_starts(length, patch, overlap)) == 1 + -(-(length - patch) // stride)


@pytest.mark.parametrize(("length", "overlap"), [(3, 0.5), (8, 1.0), (8, -0.1)])
def test_impossible_axes_are_refused(length: int, overlap: float) -> None:
    with pytest.raises(InputError):
        axis_starts(length, 4, overlap)


def test_a_lattice_pads_what_is_smaller_than_a_patch_and_covers_every_voxel() -> None:
    lattice = PatchLattice.plan((5, 9, 20), patch=(8, 8, 8), overlap=0.25)
    assert lattice.padded == (8, 9, 20)
    seen = np.zeros(lattice.padded, int)
    patches = [box for _, layer in lattice.touching(Box.of_shape(lattice.padded)) for box in layer]
    for box in patches:
        assert box.shape == (8, 8, 8)
        seen[box.slices] += 1
    assert seen.min() == 1
    assert len(patches) == lattice.count == len(set(patches))
    assert patches == sorted(patches), "raster order"


def test_a_box_counts_voxels_past_2_to_the_31() -> None:
    assert Box.of_shape((3000, 3000, 3000)).size == 27_000_000_000


def test_boxes_that_do_not_meet_share_nothing() -> None:
    far = Box((10, 10, 10), (12, 12, 12))
    assert Box.of_shape((5, 5, 5)).intersect(far).size == 0
    assert Box.of_shape((11, 20, 20)).intersect(far) == Box((10, 10, 10), (11, 12, 12))


@st.composite
def boxes(draw: st.DrawFn, shape: Zyx) -> Box:
    """A box of one voxel or more inside a volume of ``shape``."""
    starts = [draw(st.integers(0, n - 1)) for n in shape]
    stops = [draw(st.integers(start + 1, n)) for start, n in zip(starts, shape, strict=True)]
    return Box((starts[0], starts[1], starts[2]), (stops[0], stops[1], stops[2]))


@given(st.data(), shapes, patches, overlaps)
def test_the_patches_that_touch_a_box_are_found_counted_and_united(
    data: st.DataObject, shape: Zyx, patch: Zyx, overlap: float
) -> None:
    lattice = PatchLattice.plan(shape, patch, overlap)
    box = data.draw(boxes(shape))
    starts = [(z, y, x) for z in lattice.starts[0] for y in lattice.starts[1] for x in lattice.starts[2]]
    everywhere = [Box(start, (start[0] + patch[0], start[1] + patch[1], start[2] + patch[2])) for start in starts]
    expected = [at for at in everywhere if at.intersect(box).size]
    layers = list(lattice.touching(box))
    assert [at for _, layer in layers for at in layer] == expected, "all of them, in raster order"
    assert all(at.start[0] == z for z, layer in layers for at in layer)
    assert [z for z, _ in layers] == sorted({at.start[0] for at in expected})
    assert lattice.count_touching(box) == len(expected)
    read = lattice.read_box(box)
    assert read.start == tuple(np.min([at.start for at in expected], axis=0))
    assert read.stop == tuple(np.max([at.stop for at in expected], axis=0))


@given(shapes, patches, overlaps, aligns, st.integers(1, 9), st.integers(1, 2000))
def test_sweeps_tile_the_volume_in_whole_shards(
    shape: Zyx, patch: Zyx, overlap: float, align: Zyx, workers: int, most_plane_voxels: int
) -> None:
    lattice = PatchLattice.plan(shape, patch, overlap)
    sweeps = plan_sweeps(lattice, shape, align, workers=workers, most_plane_voxels=most_plane_voxels)
    written = np.zeros(shape, int)
    for sweep in sweeps:
        assert sweep.write.size > 0
        assert sweep.write.intersect(Box.of_shape(shape)) == sweep.write
        written[sweep.write.slices] += 1
        assert all(start % a == 0 for start, a in zip(sweep.write.start, align, strict=True))
        assert all(stop % a == 0 or stop == n for stop, a, n in zip(sweep.write.stop, align, shape, strict=True))
    assert written.min() == written.max() == 1
    assert [sweep.write for sweep in sweeps] == sorted(sweep.write for sweep in sweeps), "raster order"
    assert len({sweep.write.start[0] for sweep in sweeps}) == -(-shape[0] // align[0]) or len(sweeps) >= workers


@given(shapes, patches, overlaps, aligns, st.integers(1, 2000))
def test_planes_are_as_small_as_asked_when_shards_allow_it(
    shape: Zyx, patch: Zyx, overlap: float, align: Zyx, most_plane_voxels: int
) -> None:
    lattice = PatchLattice.plan(shape, patch, overlap)

    def largest_plane(writes: list[Box]) -> int:
        reads = [lattice.read_box(write).intersect(Box.of_shape(shape)) for write in writes]
        return max(read.shape[1] * read.shape[2] for read in reads)

    _, height, width = shape
    corners = [(y, x) for y in range(0, height, align[1]) for x in range(0, width, align[2])]
    shards = [Box((0, y, x), (1, min(y + align[1], height), min(x + align[2], width))) for y, x in corners]
    sweeps = plan_sweeps(lattice, shape, align, workers=1, most_plane_voxels=most_plane_voxels)
    assert largest_plane([sweep.write for sweep in sweeps]) <= max(most_plane_voxels, largest_plane(shards))


@given(shapes, patches, overlaps, aligns)
def test_one_worker_with_room_enough_sweeps_once(shape: Zyx, patch: Zyx, overlap: float, align: Zyx) -> None:
    lattice = PatchLattice.plan(shape, patch, overlap)
    (sweep,) = plan_sweeps(lattice, shape, align, workers=1, most_plane_voxels=shape[1] * shape[2])
    assert sweep.write == Box.of_shape(shape)
    assert lattice.count_touching(sweep.write) == lattice.count, "no patch is computed twice"


def test_a_plan_cuts_planes_where_it_costs_least_and_z_for_workers() -> None:
    lattice = PatchLattice.plan((300, 100, 500), (32, 32, 32), 0.5)
    sweeps = plan_sweeps(lattice, (300, 100, 500), (64, 64, 64), workers=4, most_plane_voxels=30_000)
    assert [(sweep.write.start, sweep.write.stop) for sweep in sweeps] == [
        ((0, 0, 0), (128, 100, 256)),
        ((0, 0, 256), (128, 100, 500)),
        ((128, 0, 0), (300, 100, 256)),
        ((128, 0, 256), (300, 100, 500)),
    ]


def test_a_volume_of_tens_of_thousands_of_voxels_a_side_is_planned_at_once() -> None:
    shape = (30_000, 30_000, 30_000)
    lattice = PatchLattice.plan(shape, (64, 64, 64), 0.25)
    sweeps = plan_sweeps(lattice, shape, (64, 256, 256), workers=8, most_plane_voxels=4_000_000)
    assert sum(sweep.write.size for sweep in sweeps) == 27 * 10**12
    assert sum(lattice.count_touching(sweep.write) for sweep in sweeps) < 1.2 * lattice.count


@pytest.mark.parametrize(
    ("shape", "align", "workers", "most"),
    [
        ((9, 9, 9), (4, 4, 4), 1, 100),
        ((8, 8, 8), (4, 0, 4), 1, 100),
        ((8, 8, 8), (4, 4, 4), 0, 100),
        ((8, 8, 8), (4, 4, 4), 1, 0),
    ],
)
def test_plans_that_cannot_be_are_refused(shape: Zyx, align: Zyx, workers: int, most: int) -> None:
    lattice = PatchLattice.plan((8, 8, 8), (4, 4, 4), 0.5)
    with pytest.raises(InputError, match=r"does not fit|must be above 0"):
        plan_sweeps(lattice, shape, align, workers=workers, most_plane_voxels=most)

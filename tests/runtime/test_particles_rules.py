"""What decides which particles there are: rule 2, contacts and numbers across chunks, and what is refused."""

import numpy as np
import pytest

from particle_maps import StrictStore, assert_same, chunked
from ps3d_rt.core.border_core import BORDER, CORE
from ps3d_rt.core.chunks import ChunkGrid, ChunkLabels, LabelStatistics
from ps3d_rt.core.grid import Box
from ps3d_rt.core.growth import UNCLAIMED
from ps3d_rt.core.numbering import number
from ps3d_rt.core.particle_filter import ParticleFilter
from ps3d_rt.core.seeds import Survey, to_seeds
from ps3d_rt.errors import InputError
from ps3d_rt.stages.particles import contact_tasks, contacts, survey, to_instances
from ps3d_rt.stages.storage import FRAGMENTS, GROWN

# --- rule 2 across chunks


def beside_a_large_core(thin_core):
    """``thin_core``, (z, y, x) true, in a box of border that holds a large core too."""
    border_core = np.full((9, 44, 64), BORDER, np.uint8)
    border_core[1:8, 10:20, 54:62] = CORE
    border_core[:, :, :50][thin_core] = CORE
    return border_core


def sheet(cube):
    core = np.zeros((9, 44, 50), bool)
    core[4, 2:42, 2:42] = True
    core[cube, 14:19, 14:19] = True
    return core


def star(tail):
    core = np.zeros((9, 44, 50), bool)
    core[3:6, 14, 14] = core[4, 13:16, 14] = core[4, 14, 13:16] = True
    core[4, 14, 16 : 16 + tail] = True
    return core


@pytest.mark.parametrize(
    ("core", "counts"),
    [
        (sheet(slice(2, 7)), True),  # a cube of 5 in the sheet: its centre is deep
        (sheet(slice(2, 6)), False),
        (star(tail=12), True),  # 18 of 19 voxels are shallow
        (star(tail=13), False),  # 19 of 20
    ],
)
@pytest.mark.parametrize("chunk", [(4, 15, 15), (5, 16, 16), (3, 17, 17), (9, 44, 15)])
def test_rule_2_drops_the_cores_of_the_whole(core, counts, chunk):
    border_core = beside_a_large_core(core)
    found = chunked(border_core, chunk)
    assert found.max() == 1 + counts
    assert_same(found, to_instances(border_core))


# --- the parts


def test_rule_2_sees_past_the_chunk():
    whole = np.full((9, 60, 60), BORDER, np.uint8)
    whole[4, 2:52, 2:52] = CORE  # a sheet, shallow
    assert to_instances(whole).max() == 1
    whole[2:7, 8:13, 8:13] = CORE  # a cube of 5: its centre is deep
    store = StrictStore(whole)
    store.create(FRAGMENTS, np.uint32)
    centre = survey(store, whole.shape, 1, Box((4, 10, 10), (5, 11, 11)))
    assert (centre.cores, centre.deep[1], centre.shallow[1]) == (1, True, 0)
    beside = survey(store, whole.shape, 1, Box((4, 10, 11), (5, 11, 12)))
    assert (beside.cores, beside.deep[1], beside.shallow[1]) == (1, False, 0)
    edge = survey(store, whole.shape, 1, Box((2, 8, 8), (3, 9, 9)))
    assert (edge.cores, edge.deep[1], edge.shallow[1]) == (1, False, 1)


def test_the_ball_of_distance_3_holds_the_diagonal_of_2():
    z, y, x = np.indices((7, 7, 7)) - 3
    ball = np.where(z * z + y * y + x * x < 9, CORE, BORDER).astype(np.uint8)
    for cut, deep in [(None, True), ((5, 5, 3), False), ((5, 5, 5), True)]:
        volume = ball.copy()
        if cut:
            volume[cut] = BORDER
        store = StrictStore(volume)
        store.create(FRAGMENTS, np.uint32)
        assert survey(store, (7, 7, 7), 1, Box((3, 3, 3), (4, 4, 4))).deep[1] == deep


def test_contacts_reach_over_edges_and_corners_between_chunks():
    for corner in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]:
        border_core = np.zeros((2, 2, 2), np.uint8)
        border_core[corner] = border_core[tuple(1 - n for n in corner)] = BORDER
        store = StrictStore(border_core)
        store.create(FRAGMENTS, np.uint32)
        grid = ChunkGrid((2, 2, 2), (1, 1, 1))
        surveys = [survey(store, grid.shape, 1, box) for box in grid.boxes]
        tasks = contact_tasks(grid, [s.count for s in surveys])
        assert len(tasks) == 1
        found = [contacts(store, task) for task in tasks]
        assert sum(len(faces) for faces, _ in found) == 0
        assert [touching.tolist() for _, touching in found] == [[[1, 2]]]


# --- more than 2^31 voxels, more than 2^32 ids: small stand-ins


def two_cores_and_their_border(volumes, first_index, shallow):
    return Survey(
        statistics=LabelStatistics(np.array([0, *volumes, 9]), np.array([0, *first_index, 0]), np.zeros(4, np.uint8)),
        group_id=np.array([0, 3, 3, 3], np.uint32),
        shallow=np.array([0, *shallow]),
        deep=np.zeros(3, bool),
    )


@pytest.mark.parametrize(
    ("shallow", "deep", "expected"),
    [
        (10 * 2**31 - 1, False, ([0, 2, 1, UNCLAIMED], [0, 2, UNCLAIMED, UNCLAIMED])),
        (10 * 2**31, False, ([0, UNCLAIMED, 1, UNCLAIMED], [0, UNCLAIMED, UNCLAIMED, UNCLAIMED])),
        (10 * 2**31, True, ([0, 2, 1, UNCLAIMED], [0, 2, UNCLAIMED, UNCLAIMED])),
    ],
)
def test_sums_past_2_to_the_31_decide_rule_2_and_the_order(shallow, deep, expected):
    one = two_cores_and_their_border([10 * 2**31, 2**33], [2**35, 2**34], [9 * 2**31, 0])
    two = two_cores_and_their_border([10 * 2**31, 2**32], [2**36, 2**33], [shallow, 2**32])
    two.deep[1] = deep
    faces = np.array([[1, 4]], np.uint64)  # the first cores of both chunks are one, of 20 · 2^31 voxels
    corners = np.array([[1, 4], [3, 6]], np.uint64)
    assert [ids.tolist() for ids in to_seeds([one, two], [(faces, corners)])] == list(expected)


def test_rule_5_past_2_to_the_63():
    box = Box.of_shape((1, 1, 1))
    ids = np.arange(5)
    volumes = np.array([0, 2**62, 2**61, 2**50, 2**62 // 200])  # times 4 they overflow
    labels = [
        (ChunkLabels(GROWN[0], box, ids), LabelStatistics(volumes, np.array([0, 2**40, 2**33, 2**20, 2**50]), ids))
    ]
    assert number(labels, (1, 1, 1), ParticleFilter(largest_dropped=2.0**63)).numbers.tolist() == [0, 2, 1, 0, 3]


def test_numbers_follow_the_first_voxel_of_all_chunks():
    box, ids = Box.of_shape((1, 1, 1)), np.zeros(3)
    volumes = np.array([9, 5, 5])
    first = LabelStatistics(volumes, np.array([0, 2**32 + 5, 2**33]), ids)
    second = LabelStatistics(volumes, np.array([0, 2**31, 2**32]), ids)
    one = ChunkLabels(GROWN[0], box, np.array([0, 3, 1])), first
    two = ChunkLabels(GROWN[1], box, np.array([0, 1, 2])), second
    table = number([one, two], (1, 1, 1), ParticleFilter(min_relative_volume=0)).numbers
    assert (table.dtype, table.tolist()) == (np.uint32, [0, 1, 2, 3])


# --- what is refused


def test_a_halo_of_nothing_is_refused():
    with pytest.raises(InputError, match="the halo is 0"):
        chunked(np.zeros((2, 2, 2), np.uint8), (2, 2, 2), halo=0)


def test_what_is_not_a_border_core_map_is_refused():
    with pytest.raises(InputError, match="got 3; instances need"):
        chunked(np.full((2, 2, 2), 3, np.uint8), (2, 2, 2))

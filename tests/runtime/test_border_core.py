import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ps3d_rt.core.border_core import BACKGROUND, BORDER, CORE, to_border_core
from ps3d_rt.core.chunks import ChunkLabels, label_statistics
from ps3d_rt.core.grid import Box
from ps3d_rt.core.numbering import number
from ps3d_rt.core.particle_filter import ParticleFilter
from ps3d_rt.errors import InputError
from ps3d_rt.stages.particles import to_instances, to_instances_chunked
from ps3d_rt.stages.storage import BORDER_CORE, INSTANCES, MemoryStore

FACES = ndimage.generate_binary_structure(3, 1)
CUBE = ndimage.generate_binary_structure(3, 3)
NOBODY = 2**31


@st.composite
def painted(draw, values, side=9):
    """A small volume with boxes painted over it: thick enough for real cores, irregular enough for ties."""
    shape = draw(st.tuples(*[st.integers(1, side)] * 3))
    volume = np.zeros(shape, np.uint8)
    for _ in range(draw(st.integers(1, 10))):
        start = [draw(st.integers(0, n - 1)) for n in shape]
        size = [draw(st.integers(1, side)) for _ in shape]
        volume[tuple(slice(a, a + s) for a, s in zip(start, size, strict=True))] = draw(st.sampled_from(values))
    if draw(st.booleans()):
        seed = draw(st.integers(0, 2**16))
        noise = np.random.default_rng(seed).random(shape) < draw(st.sampled_from([0.05, 0.3, 0.8]))
        volume[noise] = np.random.default_rng(seed + 1).choice(values, noise.sum())
    return volume


def distances(inside):
    """Euclidean distance of every voxel to the nearest voxel outside; infinite where there is none."""
    if inside.all():
        return np.full(inside.shape, np.inf)
    return ndimage.distance_transform_edt(inside)


def plain_border_core(instances, thickness):
    out = np.zeros(instances.shape, np.uint8)
    for label in np.unique(instances[instances != 0]):
        own = instances == label
        out[own] = np.where(distances(own) > thickness, CORE, BORDER)[own]
    return out


def in_raster_order(labels):
    """Renumber 1..N by first voxel."""
    ids, first = np.unique(labels, return_index=True)
    ids = ids[np.argsort(first)]
    table = np.zeros(labels.max(initial=0) + 1, int)
    table[ids[ids != 0]] = np.arange(1, np.count_nonzero(ids) + 1)
    return table[labels]


def plain_instances(border_core, min_relative_volume):
    """The five rules in numpy and scipy, one after the other, with no thought of speed."""
    cores = ndimage.label(border_core == CORE, FACES)[0]
    for core, at in enumerate(ndimage.find_objects(cores), 1):
        near = tuple(slice(max(0, side.start - 3), side.stop + 3) for side in at)
        inside = cores[near] == core
        distance = distances(inside)[inside]
        if np.mean(distance <= 1) >= 0.95 and not np.any(distance >= 3):
            cores[near][inside] = 0
    labels = in_raster_order(cores)
    groups, count = ndimage.label(border_core != BACKGROUND, CUBE)
    last = labels.max(initial=0)
    of_group = np.zeros(count + 1, int)
    np.maximum.at(of_group, groups, labels)
    coreless = of_group == 0
    coreless[0] = False
    of_group = np.where(coreless, last + np.cumsum(coreless), 0)
    labels = np.where(labels == 0, of_group[groups], labels)
    while True:
        near = np.where(labels == 0, NOBODY, labels)
        for axis in range(3):
            near = ndimage.minimum_filter1d(near, 3, axis, mode="constant", cval=NOBODY)
        claimed = (labels == 0) & (border_core != BACKGROUND) & (near < NOBODY)
        if not claimed.any():
            break
        labels = np.where(claimed, near, labels)
    ids, volumes = np.unique(labels[labels != 0], return_counts=True)
    small = ids[volumes < min_relative_volume * volumes.mean()] if ids.size else ids
    return in_raster_order(np.where(np.isin(labels, small), 0, labels))


def row(*values):
    return np.array(values, np.uint8).reshape(1, 1, -1)


# --- instances → border-core


@given(instances=painted(range(4)), thickness=st.sampled_from([0, 1, 1.5, 2, 3, 3.2]))
@settings(max_examples=200, deadline=None)
def test_border_core_equals_the_distance_transform_of_each_instance(instances, thickness):
    np.testing.assert_array_equal(to_border_core(instances, thickness), plain_border_core(instances, thickness))


def test_touching_instances_are_parted_by_border_and_faces_are_not_outside():
    found = to_border_core(row(1, 1, 1, 2, 2, 2, 0, 3, 3), 1)
    np.testing.assert_array_equal(found, row(1, 1, 2, 2, 1, 2, 0, 2, 1))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.uint64])
def test_ids_are_compared_in_full_whatever_their_dtype(dtype):
    big = np.iinfo(dtype).max
    instances = np.array([[[big, big, big - 1, big - 1]]], dtype)
    np.testing.assert_array_equal(to_border_core(instances, 1), row(1, 2, 2, 1))
    np.testing.assert_array_equal(to_border_core(instances[..., ::-1], 1), row(1, 2, 2, 1))


@pytest.mark.parametrize(
    ("instances", "thickness", "message"),
    [
        (np.zeros((2, 2, 2)), 1, "integers are needed"),
        (np.zeros((2, 2), int), 1, "integers are needed"),
        (np.zeros((2, 2, 2), int), -1, "0 or more"),
        (np.zeros((2, 2, 2), int), float("nan"), "0 or more"),
        (np.zeros((2, 2, 2), int), float("inf"), "0 or more"),
    ],
)
def test_what_has_no_border_is_refused(instances, thickness, message):
    with pytest.raises(InputError, match=message):
        to_border_core(instances, thickness)


# --- border-core → instances


@given(border_core=painted((0, 1, 1, 2)), share=st.sampled_from([0, 0.005, 0.5, 1]))
@settings(max_examples=200, deadline=None)
def test_instances_follow_the_rules(border_core, share):
    found = to_instances(border_core, min_relative_volume=share)
    assert found.dtype == np.uint32
    np.testing.assert_array_equal(found, plain_instances(border_core, share))


@pytest.fixture(scope="module")
def crowd():
    """A volume with grains of all sizes, some larger than a small chunk, and empty space; and its instances."""
    rng = np.random.default_rng(0)
    shape = (100, 129, 150)
    places = np.column_stack([rng.integers(0, n, 500) for n in shape])
    large = rng.random(500) < 0.1
    seeds = np.zeros(shape, int)
    seeds[tuple(places[large].T)] = np.flatnonzero(large) + 1
    distance, at = ndimage.distance_transform_edt(seeds == 0, return_indices=True)
    grains = np.where(distance < 20, seeds[tuple(at)], 0)
    seeds[tuple(places.T)] = np.arange(500) + 1
    distance, at = ndimage.distance_transform_edt(seeds == 0, return_indices=True)
    grains = np.where((grains == 0) & (distance < 8), seeds[tuple(at)] + 500, grains)
    grains[:, 40:80, 70:] = 0
    border_core = to_border_core(grains, 1.5)
    border_core[50, 60, 5:145] = BORDER  # a needle through many chunks
    border_core[20, 50:70:3, 80:140:3] = BORDER  # particles of one voxel
    return border_core, plain_instances(border_core, 0)


@pytest.mark.parametrize("side", [32, 47, 64, 128, 150])
def test_chunks_of_any_side_follow_the_rules(crowd, side):
    border_core, expected = crowd
    assert expected.max() > 300
    store = MemoryStore(border_core.shape)
    store.arrays[BORDER_CORE] = border_core
    assert to_instances_chunked(store, border_core.shape, (side,) * 3, min_relative_volume=0) == expected.max()
    np.testing.assert_array_equal(store.arrays[INSTANCES], expected)


def test_rule_1_cores_that_meet_at_an_edge_only_are_two():
    block = np.zeros((5, 10, 10), np.uint8)
    block[:, :5, :5] = CORE
    block[:, 5:, 5:] = CORE
    assert to_instances(block).max() == 2
    block[:, 4, 5] = CORE
    assert to_instances(block).max() == 1


def core_in_the_middle(*size):
    """A box of core in a larger box of border: dropped, it leaves one particle of border either way."""
    volume = np.full([n + 8 for n in size], BORDER, np.uint8)
    volume[tuple(slice(4, 4 + n) for n in size)] = CORE
    return volume


def core_counts(volume):
    """Whether the core in a volume full of border counts: with a large core beside it there are two particles then."""
    beside = np.pad(volume, [(0, 0), (0, 0), (0, 12)], constant_values=BORDER)
    beside[2:7, 2:7, -8:-3] = CORE
    return to_instances(beside, min_relative_volume=0).max() == 2


@pytest.mark.parametrize(
    ("size", "counts"),
    [
        ((1, 30, 30), False),  # a sheet: all voxels at distance 1
        ((3, 3, 3), False),  # 26 of 27 at 1, and the deepest at 2
        ((4, 4, 4), True),  # 56 of 64 at 1
        ((5, 5, 5), True),
    ],
)
def test_rule_2_thin_cores_do_not_count(size, counts):
    assert core_counts(core_in_the_middle(*size)) == counts


def test_rule_2_one_deep_voxel_keeps_a_thin_core():
    sheet = core_in_the_middle(1, 40, 40)
    assert not core_counts(sheet)
    sheet[2:7, 4:9, 4:9] = CORE  # a cube of 5: its centre has distance 3, 1673 of 1700 voxels have 1
    assert core_counts(sheet)
    sheet[2, 4:9, 4:9] = BORDER  # a box of 4 x 5 x 5: 2 at most
    assert not core_counts(sheet)


def test_rule_2_distance_3_is_deep_and_the_diagonal_of_2_is_not():
    volume = core_in_the_middle(1, 50, 50)
    z, y, x = np.indices(volume.shape)
    volume[(z - 4) ** 2 + (y - 20) ** 2 + (x - 20) ** 2 < 9] = CORE  # nearest outside the centre: (3, 0, 0), (2, 2, 1)
    assert core_counts(volume)
    volume[6, 22, 20] = BORDER  # at (2, 2, 0): the square root of 8
    assert not core_counts(volume)


@pytest.mark.parametrize(("tail", "counts"), [(12, True), (13, False)])  # 18 of 19 are thin, 19 of 20
def test_rule_2_drops_at_95_per_cent_exactly(tail, counts):
    volume = np.full((9, 9, 30), BORDER, np.uint8)
    volume[3:6, 4, 4] = volume[4, 3:6, 4] = volume[4, 4, 3:6] = CORE
    volume[4, 4, 6 : 6 + tail] = CORE
    assert core_counts(volume) == counts


def test_rule_3_a_group_without_a_core_is_one_particle():
    volume = np.zeros((3, 3, 7), np.uint8)
    volume[0, 0, 0] = volume[1, 1, 1] = volume[2, 2, 2] = BORDER  # meet at corners
    volume[0, 0, 4] = volume[0, 0, 6] = BORDER  # do not
    found = to_instances(volume)
    assert found.max() == 3
    assert found[0, 0, 0] == found[1, 1, 1] == found[2, 2, 2] == 1


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 3, 3), (1, 7, 5), (5, 1, 1), (1, 41, 41)])
def test_as_many_particles_as_fit(shape):
    volume = np.zeros(shape, np.uint8)
    volume[::2, ::2, ::2] = BORDER
    assert to_instances(volume).max() == np.count_nonzero(volume)


def test_rule_5_crumbs_go_and_ids_have_no_gaps():
    volume = np.zeros((6, 6, 30), np.uint8)
    volume[0, 0, 0] = BORDER
    volume[:, :, 2:12] = volume[:, :, 14:24] = BORDER  # 360 voxels each; the mean of all three is 240.33
    volume[0, 0, 26:28] = BORDER
    kept = to_instances(volume, min_relative_volume=0.01)  # mean of four: 180.75; 1 goes, 2 stays
    assert np.unique(kept).tolist() == [0, 1, 2, 3]
    assert (kept[0, 0, 0], kept[0, 0, 2], kept[0, 0, 14], kept[0, 0, 26]) == (0, 1, 2, 3)
    assert to_instances(volume, min_relative_volume=0).max() == 4


def keep_and_number(labels, min_relative_volume):
    """Drop the small labels of a volume, and number the others; gaps between them are no particles."""
    box = Box.of_shape(labels.shape)
    ids = np.arange(int(labels.max()) + 1)
    chunks = [(ChunkLabels("", box, ids), label_statistics(labels, ids.size - 1, box, box.shape))]
    return number(chunks, box.shape, ParticleFilter(min_relative_volume=min_relative_volume)).numbers[labels]


def test_labels_with_gaps_are_numbered_in_raster_order():
    labels = np.array([[[70_000, 0, 9, 9]], [[3, 70_000, 9, 3]]], np.uint32)
    assert keep_and_number(labels, 0).tolist() == [[[1, 0, 2, 2]], [[3, 1, 2, 3]]]
    assert keep_and_number(labels, 1).tolist() == [[[0, 0, 1, 1]], [[0, 0, 1, 0]]]


def test_more_particles_than_16_bits_can_name():
    volume = np.zeros((81, 81, 81), np.uint8)
    volume[::2, ::2, ::2] = BORDER
    found = to_instances(volume)
    assert found.max() == 41**3 == 68_921
    np.testing.assert_array_equal(found[::2, ::2, ::2].reshape(-1), np.arange(1, 68_922))


def test_more_cores_than_16_bits_can_name():
    volume = np.tile(np.array([CORE, CORE, CORE, BORDER], np.uint8), (1, 1, 70_000))
    np.testing.assert_array_equal(to_instances(volume).reshape(-1, 4), np.arange(1, 70_001)[:, None].repeat(4, axis=1))


def test_the_layout_in_memory_does_not_matter():
    volume = np.random.default_rng(1).choice(np.array([0, 1, 1, 1, 2], np.uint8), (9, 10, 11))
    found = to_instances(volume)
    np.testing.assert_array_equal(to_instances(np.asfortranarray(volume)), found)
    np.testing.assert_array_equal(to_instances(np.repeat(volume, 2, axis=2)[..., ::2]), found)


@pytest.mark.parametrize("shape", [(3, 3, 3), (0, 3, 3)])
def test_nothing_gives_no_particle(shape):
    found = to_instances(np.zeros(shape, np.uint8))
    assert found.shape == shape
    assert found.dtype == np.uint32
    assert not found.any()


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        (np.zeros((2, 2, 2), np.uint32), "got uint32 of shape"),
        (np.zeros((2, 2), np.uint8), "got uint8 of shape"),
        (np.full((2, 2, 2), 3, np.uint8), "got 3; instances need to_border_core"),
        ([[[0]]], "numpy array"),
    ],
)
def test_what_is_not_a_border_core_map_is_refused(volume, message):
    with pytest.raises(InputError, match=message):
        to_instances(volume)

from dataclasses import fields, replace
from functools import partial
from math import pi

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ps3d_rt.core.confidence import ParticleConfidence
from ps3d_rt.core.feret import DIRECTIONS, LONGEST_AXIS
from ps3d_rt.core.gray import QUANTILES, GrayBins
from ps3d_rt.core.grid import Box
from ps3d_rt.core.measure import (
    NO_COLUMNS,
    ParticleTable,
    look_in,
    measure,
    merge_sums,
    partial_sums,
    to_table,
    with_scores,
)
from ps3d_rt.core.surface import STEPS, surface_mm2
from ps3d_rt.errors import InputError
from same_sums import same

BINS = GrayBins(100.0, 1035.0)


def test_one_particle_worked_by_hand():
    labels = np.zeros((4, 5, 6), np.uint16)
    labels[1:3, 1, 2:5] = 40_000  # 2 × 1 × 3 voxels
    image = np.full(labels.shape, 9_999, np.uint16)
    image[1:3, 1, 2:5] = [[1, 2, 3], [65_535, 65_535, 65_535]]
    table = measure(labels, (0.5, 0.2, 0.1), image)
    values = [1, 2, 3] + 3 * [65_535]
    expected = {
        "label": 40_000,
        "volume_voxels": 6,
        "volume_mm3": 6 * 0.01,
        "equivalent_diameter_mm": (6 * 0.06 / pi) ** (1 / 3),
        "feret_min_mm": 0.2,  # along y; the directions between y and x see more than one voxel
        "axis_major_mm": (5 / 3) ** 0.5 * 1.0,  # a box of side a has variance a² / 12, an ellipsoid of axis l l² / 20
        "axis_middle_mm": (5 / 3) ** 0.5 * 0.3,
        "axis_minor_mm": (5 / 3) ** 0.5 * 0.2,
        "elongation": 0.3,
        "flatness": 2 / 3,
        "axis_major_z": 1,
        "axis_major_y": 0,
        "axis_major_x": 0,
        "axis_minor_z": 0,
        "axis_minor_y": 1,
        "axis_minor_x": 0,
        "centroid_z_mm": 2.0 * 0.5,  # planes 1 and 2 cover 0.5 .. 1.5 mm
        "centroid_y_mm": 1.5 * 0.2,
        "centroid_x_mm": 3.5 * 0.1,
        "box_z_start_voxels": 1,
        "box_z_stop_voxels": 3,
        "box_y_start_voxels": 1,
        "box_y_stop_voxels": 2,
        "box_x_start_voxels": 2,
        "box_x_stop_voxels": 5,
        "touches_edge": False,
        "edge_weight": 4 / 1 * 5 / 3 * 6 / 2,  # at 1, 3 and 2 places the box leaves a voxel free on both sides
        "contacts": 0,
        "contact_faces": 0,
        "gray_mean": np.mean(values),
        "gray_std": np.std(values),
        "gray_min": 1,
        "gray_max": 65_535,
    }
    found = {name: column[0] for name, column in table.columns().items()}
    measured_elsewhere = {"surface_mm2", "sphericity", "feret_max_mm", "solidity", "merged_score"}
    assert set(found) == set(expected) | measured_elsewhere
    for name, value in expected.items():
        assert found[name] == pytest.approx(value), name


def test_contacts_worked_by_hand():
    labels = np.array([[[1, 1, 9], [2, 0, 9], [2, 9, 9]]])
    table = measure(labels, (1, 1, 1))
    assert table.contact_pairs.labels.tolist() == [[1, 2], [1, 9], [2, 9]]
    assert table.contact_pairs.faces.tolist() == [1, 1, 1]
    assert table.contacts.tolist() == [2, 2, 2]
    assert measure(labels.repeat(3, 0), (1, 1, 1)).contact_faces.tolist() == [6, 6, 6]


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("at", "touches"), [(0, True), (1, False), (3, False), (4, True)])
def test_a_particle_on_any_face_touches_the_edge(axis, at, touches):
    labels = np.zeros((5, 5, 5), np.uint8)
    where = [2, 2, 2]
    where[axis] = at
    labels[tuple(where)] = 1
    assert measure(labels, (1, 1, 1)).touches_edge.tolist() == [touches]


def test_rows_are_in_order_of_the_label_with_gaps_and_ids_of_32_bits():
    labels = np.array([[[2**32 - 1, 5, 0, 2**32 - 1], [1, 5, 5, 1]]], np.uint32)
    table = measure(labels, (1, 1, 1))
    assert table.label.tolist() == [1, 5, 2**32 - 1]
    assert table.volume_voxels.tolist() == [2, 3, 2]
    assert table.box_x_stop_voxels.tolist() == [4, 3, 4]
    assert len(table) == 3


def test_no_image_no_gray_columns_and_no_bins_no_quantiles():
    labels = np.ones((1, 1, 1), np.uint8)
    assert not [name for name in measure(labels, (1, 1, 1)).columns() if name.startswith("gray")]
    assert measure(labels, (1, 1, 1), bins=BINS).gray_bins is None
    without = measure(labels, (1, 1, 1), labels)
    assert (without.gray_p50, without.gray_histogram) == (None, None)
    unscored = to_table(
        partial_sums(labels, labels, bins=BINS), (1, 1, 1), (1, 1, 1), ParticleConfidence(*np.ones((3, 1)))
    )
    every = with_scores(unscored).columns()
    assert list(every) == [field.name for field in fields(ParticleTable) if field.name not in NO_COLUMNS]


@pytest.mark.parametrize("image", [None, np.zeros((3, 2, 2), np.uint16)])
def test_no_particles_no_rows(image):
    table = measure(np.zeros((3, 2, 2), np.uint32), (1, 1, 1), image)
    assert len(table) == 0


def test_no_voxels_are_refused():
    with pytest.raises(InputError, match="at least one part"):
        merge_sums([])
    with pytest.raises(InputError, match="none may be empty"):
        measure(np.zeros((2, 0, 2), np.uint8), (1, 1, 1))


def test_sums_that_float64_would_round_are_exact():
    labels = np.ones((1, 1500, 1500), np.uint8)
    image = np.full(labels.shape, 2**32 - 1, np.uint32)
    image[0, 0, 0] -= 1
    total = 1500 * 1500 * (2**32 - 1) - 1
    assert total > 2**53
    assert partial_sums(labels, image).gray_sum.tolist() == [total]


def test_float_images_are_summed_in_float64():
    image = np.full((1, 1, 3), 1, np.float32)
    image[0, 0, 0] = 2**24  # float32 holds no whole number between 2^24 and 2^24 + 2
    assert partial_sums(np.ones(image.shape, np.uint8), image).gray_sum.tolist() == [2**24 + 2]
    assert partial_sums(np.ones((1, 1, 2), np.uint8), image[..., :2]).gray_sum.tolist() == [2**24 + 1]


def test_indices_beyond_32_bits_are_exact():
    labels = np.zeros((1, 2, 3), np.uint8)
    labels[0, 1] = [0, 9, 9]
    around = np.pad(labels, 1)
    sums = partial_sums(around, box=Box((4000, 1500, 70), (4001, 1502, 73)), shape=(5000, 3000, 2000))
    assert sums.first.tolist() == [(4000 * 3000 + 1501) * 2000 + 71]
    assert sums.index_sum.tolist() == [[2 * 4000, 2 * 1501, 71 + 72]]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_particle_at_the_far_end_of_the_longest_axis_is_measured_as_one_at_the_origin(axis):
    # 90 000 voxels, each with an index of 10^7: squares of indices add up to 9e18, products of 64 bits just hold them;
    # four times as many, and they do not.
    sides = [300, 300, 300]
    sides[axis] = 4
    near = measure(np.ones(sides, np.uint8), (1, 1, 1))
    start, shape = [0, 0, 0], list(sides)
    start[axis], shape[axis] = LONGEST_AXIS - 4, LONGEST_AXIS
    around = list(sides)
    around[axis] += 1
    labels = np.ones(around, np.uint8)
    labels[tuple(slice(1) if i == axis else slice(None) for i in range(3))] = 0
    box = Box(tuple(start), tuple(shape))
    far = to_table(partial_sums(labels, box=box, shape=tuple(shape)), tuple(shape), (1, 1, 1))
    for name in ("surface_mm2", "feret_max_mm", "feret_min_mm", "axis_major_mm", "axis_minor_mm"):
        assert getattr(far, name).tolist() == getattr(near, name).tolist(), name


def test_a_volume_past_the_longest_axis_is_refused():
    with pytest.raises(InputError, match="Cut the volume"):
        partial_sums(np.ones((2, 1, 1)), box=Box((0, 0, 0), (1, 1, 1)), shape=(LONGEST_AXIS + 1, 1, 1))


def test_squares_of_gray_values_past_64_bits_are_exact():
    # 2^31 voxels of 65535 and 65534: the sum of squares is 9.2e18, twice that as many would not fit int64
    part = partial_sums(np.ones((1, 1, 2), np.uint8), np.array([[[65_535, 65_534]]], np.uint16))
    with np.errstate(over="ignore"):
        square_sum = np.array([np.uint64(2**32) * np.uint64(65_535**2 + 65_534**2)]).view(np.int64)
    many = replace(part, voxels=part.voxels * 2**32, gray_sum=part.gray_sum * 2**32, gray_square_sum=square_sum)
    assert to_table(many, (1, 1, 2), (1, 1, 1)).gray_std.tolist() == [0.5]


def test_histograms_hold_more_than_32_bits_when_they_must():
    part = partial_sums(np.ones((1, 1, 1), np.uint8), np.ones((1, 1, 1), np.uint8), bins=BINS)
    histogram = np.full((1, 64), 2**32 - 1, np.uint32)
    many = replace(part, voxels=np.array([2**37]), gray_histogram=histogram)
    merged = merge_sums([many, many])
    assert merged.gray_histogram[0, 0] == 2**33 - 2
    assert merge_sums([merged, part]).gray_histogram[0, 0] == 2**33 - 1
    assert merge_sums([part, part]).gray_histogram.dtype == np.uint32


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int16, np.uint64, np.float32])
def test_gray_mean_of_any_image_dtype(dtype):
    image = np.array([[[1, 0, 1, 1]]], dtype)
    assert measure(np.array([[[7, 7, 7, 7]]]), (1, 1, 1), image).gray_mean.tolist() == [0.75]


def some_volume(seed: int, shape):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, [-(-n // 2) for n in shape]).repeat(2, 0).repeat(2, 1).repeat(2, 2)
    return labels[: shape[0], : shape[1], : shape[2]], rng.integers(0, 65_536, shape, np.uint16)


def neighbours(labels, label) -> dict[int, int]:
    """Labels over the faces of a particle, and how many faces."""
    found: dict[int, int] = {}
    padded = np.pad(labels, 1)
    for axis in range(3):
        for step in (-1, 1):
            over = np.roll(padded, step, axis)[padded == label]
            for other in over[(over != 0) & (over != label)].tolist():
                found[other] = found.get(other, 0) + 1
    return found


def steps_out(inside, step) -> int:
    """How often a step leads out of a particle."""
    padded = np.pad(inside, 1)
    return int((padded & ~np.roll(padded, -step, (0, 1, 2))).sum())


def face_widths(where, spacing):
    """Widths of the middles of all voxel faces along the directions."""
    halves = np.concatenate([np.eye(3), -np.eye(3)]) / 2
    points = (where[:, None] + halves).reshape(-1, 3) * spacing
    normals = DIRECTIONS / spacing
    along = points @ (normals / np.linalg.norm(normals, axis=1)[:, None]).T
    return along.max(axis=0) - along.min(axis=0)


shapes = st.tuples(*[st.integers(1, 9)] * 3)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), shape=shapes)
def test_every_column_is_what_a_mask_gives(seed, shape):
    labels, image = some_volume(seed, shape)
    spacing = np.array([0.1, 0.2, 0.4])
    table = measure(labels, tuple(spacing), image, BINS)
    assert table.label.tolist() == np.unique(labels[labels > 0]).tolist()
    for row, label in enumerate(table.label):
        where = np.argwhere(labels == label)
        columns = {name: column[row] for name, column in table.columns().items()}
        assert columns["volume_voxels"] == len(where)
        for axis, name in enumerate("zyx"):
            assert columns[f"centroid_{name}_mm"] == pytest.approx((where[:, axis].mean() + 0.5) * spacing[axis])
            assert columns[f"box_{name}_start_voxels"] == where[:, axis].min()
            assert columns[f"box_{name}_stop_voxels"] == where[:, axis].max() + 1
        assert columns["touches_edge"] == bool(((where == 0) | (where == np.array(shape) - 1)).any())
        gray = image[labels == label].astype(np.float64)
        assert columns["gray_mean"] == pytest.approx(gray.mean())
        assert columns["gray_std"] == pytest.approx(gray.std(), abs=1e-9)
        assert (columns["gray_min"], columns["gray_max"]) == (gray.min(), gray.max())
        places = np.clip(np.floor((gray - BINS.low) / BINS.width), 0, 63).astype(int)
        assert table.gray_histogram[row].tolist() == np.bincount(places, minlength=64).tolist()
        for name, share in QUANTILES.items():
            assert columns[name] == pytest.approx(np.quantile(gray, share, method="inverted_cdf"), abs=1.1 * BINS.width)
        covariance = np.cov(where.T, bias=True).reshape(3, 3) + np.eye(3) / 12
        axes = 2 * np.sqrt(5 * np.linalg.eigvalsh(covariance * spacing * spacing[:, None]))
        found = [columns[f"axis_{name}_mm"] for name in ("minor", "middle", "major")]
        assert found == pytest.approx(axes)
        assert columns["contacts"] == len(neighbours(labels, label))
        assert columns["contact_faces"] == sum(neighbours(labels, label).values())
        crossings = np.array([[steps_out(labels == label, step) for step in STEPS]])
        assert columns["surface_mm2"] == pytest.approx(surface_mm2(crossings, tuple(spacing))[0])
        feret = face_widths(where, spacing)
        assert [columns["feret_max_mm"], columns["feret_min_mm"]] == pytest.approx([feret.max(), feret.min()])


@st.composite
def tilings(draw: st.DrawFn) -> list[Box]:
    """Boxes that tile a volume, not only by planes through it, in any order; the volume is their union."""
    boxes = [Box.of_shape(draw(shapes))]
    for _ in range(draw(st.integers(0, 6))):
        box = boxes.pop(draw(st.integers(0, len(boxes) - 1)))
        axis = draw(st.integers(0, 2))
        at = draw(st.integers(box.start[axis], box.stop[axis]))
        lower, upper = list(box.stop), list(box.start)
        lower[axis] = upper[axis] = at
        boxes += [half for half in (Box(box.start, tuple(lower)), Box(tuple(upper), box.stop)) if half.size]
    return draw(st.permutations(boxes))


def sums_of_tiling(labels, image, boxes):
    whole = Box.of_shape(labels.shape)
    return merge_sums(
        partial_sums(
            labels[box.grow(1, whole).slices],
            None if image is None else image[box.slices],
            box=box,
            shape=labels.shape,
            bins=BINS,
        )
        for box in boxes
    )


def union(boxes: list[Box]):
    return tuple(max(box.stop[axis] for box in boxes) for axis in range(3))


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), boxes=tilings())
def test_any_tiling_in_any_order_gives_the_same_bytes(seed, boxes):
    labels, image = some_volume(seed, union(boxes))
    whole, parts = partial_sums(labels, image, bins=BINS), sums_of_tiling(labels, image, boxes)
    assert same(whole, parts)
    spacing = (0.1, 0.2, 0.4)
    tiles = [(box, partial(labels.__getitem__, box.slices)) for box in boxes]
    scored = with_scores(to_table(parts, labels.shape, spacing), look_in(tiles))
    assert same(scored, measure(labels, spacing, image, BINS))


def test_float_images_give_the_same_bytes_for_the_same_parts_and_nearly_so_for_others():
    labels, _ = some_volume(1, (8, 9, 9))
    image = np.random.default_rng(2).normal(size=labels.shape).astype(np.float32)
    boxes = [Box((z, 0, 0), (z + 1, 9, 9)) for z in range(8)]
    one, again = (sums_of_tiling(labels, image, boxes).gray_sum for _ in range(2))
    assert one.tobytes() == again.tobytes()
    assert sums_of_tiling(labels, image, boxes[::-1]).gray_sum == pytest.approx(one, abs=1e-12)


@pytest.mark.parametrize("start", [(2, 0, 0), (0, 0, 2), (0, -1, 0)])
def test_a_part_outside_the_volume_is_refused(start):
    box = Box(start, tuple(i + 1 for i in start))
    with pytest.raises(InputError, match="pass the shape of the whole volume"):
        partial_sums(np.ones((2, 2, 2), np.uint8), box=box, shape=(2, 2, 2))


def test_a_part_without_the_voxels_around_it_is_refused():
    part = np.ones((2, 2, 2), np.uint8)
    with pytest.raises(InputError, match=r"needed too: \(3, 2, 2\)"):
        partial_sums(part, box=Box((0, 0, 0), (2, 2, 2)), shape=(4, 2, 2))
    with pytest.raises(InputError, match="image has shape"):
        partial_sums(np.ones((3, 2, 2)), np.ones((3, 2, 2)), box=Box((0, 0, 0), (2, 2, 2)), shape=(4, 2, 2))


def test_wrong_arrays_and_spacings_are_refused():
    labels = np.ones((2, 2, 2), np.uint8)
    with pytest.raises(InputError, match="image has shape"):
        measure(labels, (1, 1, 1), np.ones((2, 2, 3)))
    with pytest.raises(InputError, match="three axes"):
        measure(labels[0], (1, 1, 1))
    for spacing in [(1, 1), (1, 0, 1), (1, -1, 1), (1, 1, float("nan")), (1, float("inf"), 1)]:
        with pytest.raises(InputError, match="three positive numbers"):
            measure(labels, spacing)  # type: ignore[arg-type]
    for one, other in ((None, None), (labels, None)), ((labels, BINS), (labels, GrayBins(0, 1))):
        with pytest.raises(InputError, match="give them for all parts or for none"):
            merge_sums([partial_sums(labels, one[0], bins=one[1]), partial_sums(labels, other[0], bins=other[1])])

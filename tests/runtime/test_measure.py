import json
from dataclasses import fields
from math import isnan, pi

import numpy as np
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from ps3d_rt.cli.measure import measure as measure_command
from ps3d_rt.core.grid import Box
from ps3d_rt.core.measure import (
    ParticleTable,
    measure,
    merge_sums,
    partial_sums,
    renumber,
    size_distribution,
    to_table,
)
from ps3d_rt.errors import InputError
from ps3d_rt.io.table import read_table


def same(one: ParticleTable, other: ParticleTable) -> bool:
    a, b = one.columns(), other.columns()
    return list(a) == list(b) and all(np.array_equal(a[name], b[name]) and a[name].dtype == b[name].dtype for name in a)


def test_one_particle_worked_by_hand():
    labels = np.zeros((4, 5, 6), np.uint16)
    labels[1:3, 1, 2:5] = 40_000  # 2 × 1 × 3 voxels
    image = np.full(labels.shape, 9_999, np.uint16)
    image[1:3, 1, 2:5] = [[1, 2, 3], [65_535, 65_535, 65_535]]
    table = measure(labels, (0.5, 0.2, 0.1), image)
    assert {name: column.tolist() for name, column in table.columns().items()} == {
        "label": [40_000],
        "volume_voxels": [6],
        "volume_mm3": [pytest.approx(6 * 0.01)],
        "equivalent_diameter_mm": [pytest.approx((6 * 0.06 / pi) ** (1 / 3))],
        "centroid_z_mm": [pytest.approx(2.0 * 0.5)],  # planes 1 and 2 cover 0.5 .. 1.5 mm
        "centroid_y_mm": [pytest.approx(1.5 * 0.2)],
        "centroid_x_mm": [pytest.approx(3.5 * 0.1)],
        "box_z_start_voxels": [1],
        "box_z_stop_voxels": [3],
        "box_y_start_voxels": [1],
        "box_y_stop_voxels": [2],
        "box_x_start_voxels": [2],
        "box_x_stop_voxels": [5],
        "touches_edge": [False],
        "gray_mean": [(1 + 2 + 3 + 3 * 65_535) / 6],
    }


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


def test_no_image_no_gray_column():
    table = measure(np.ones((1, 1, 1), np.uint8), (1, 1, 1))
    assert table.gray_mean is None
    assert "gray_mean" not in table.columns()
    assert [*table.columns(), "gray_mean"] == [field.name for field in fields(ParticleTable)]


@pytest.mark.parametrize("image", [None, np.zeros((3, 2, 2), np.uint16)])
def test_no_particles_no_rows(image):
    table = measure(np.zeros((3, 2, 2), np.uint32), (1, 1, 1), image)
    assert len(table) == 0
    sizes = size_distribution(table)
    assert sizes.particles == 0
    assert isnan(sizes.d50_by_number_mm)
    assert isnan(sizes.d90_by_volume_mm)


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
    sums = partial_sums(labels, at=(4000, 1500, 70), shape=(5000, 3000, 2000))
    assert sums.first.tolist() == [(4000 * 3000 + 1501) * 2000 + 71]
    assert sums.index_sum2.tolist() == [[4 * 4000, 4 * 1501, 2 * (71 + 72)]]
    deep = partial_sums(np.ones((1, 300, 300), np.uint8), at=(2**31, 0, 0), shape=(2**31 + 1, 300, 300))
    assert deep.index_sum2[0, 0] == 2 * 300 * 300 * 2**31
    assert deep.stop.tolist() == [[2**31 + 1, 300, 300]]


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int16, np.uint64, np.float32])
def test_gray_mean_of_any_image_dtype(dtype):
    image = np.array([[[1, 0, 1, 1]]], dtype)
    assert measure(np.array([[[7, 7, 7, 7]]]), (1, 1, 1), image).gray_mean.tolist() == [0.75]


def some_volume(seed: int, shape):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, [-(-n // 2) for n in shape]).repeat(2, 0).repeat(2, 1).repeat(2, 2)
    return labels[: shape[0], : shape[1], : shape[2]], rng.integers(0, 65_536, shape, np.uint16)


shapes = st.tuples(*[st.integers(1, 9)] * 3)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), shape=shapes)
def test_every_column_is_what_a_mask_gives(seed, shape):
    labels, image = some_volume(seed, shape)
    spacing = np.array([0.1, 0.2, 0.4])
    table = measure(labels, tuple(spacing), image)
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
        assert columns["gray_mean"] == pytest.approx(image[labels == label].mean())


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
    return merge_sums(
        partial_sums(labels[box.slices], None if image is None else image[box.slices], at=box.start, shape=labels.shape)
        for box in boxes
    )


def union(boxes: list[Box]):
    return tuple(max(box.stop[axis] for box in boxes) for axis in range(3))


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), boxes=tilings())
def test_any_tiling_in_any_order_gives_the_same_bytes(seed, boxes):
    labels, image = some_volume(seed, union(boxes))
    whole, parts = partial_sums(labels, image), sums_of_tiling(labels, image, boxes)
    for field in fields(whole):
        a, b = getattr(whole, field.name), getattr(parts, field.name)
        assert np.array_equal(a, b), field.name
        assert a.dtype == b.dtype, field.name
    spacing = (0.1, 0.2, 0.4)
    assert same(to_table(parts, labels.shape, spacing), measure(labels, spacing, image))


def test_float_images_give_the_same_bytes_for_the_same_parts_and_nearly_so_for_others():
    labels, _ = some_volume(1, (8, 9, 9))
    image = np.random.default_rng(2).normal(size=labels.shape).astype(np.float32)
    boxes = [Box((z, 0, 0), (z + 1, 9, 9)) for z in range(8)]
    one, again = (sums_of_tiling(labels, image, boxes).gray_sum for _ in range(2))
    assert one.tobytes() == again.tobytes()
    assert sums_of_tiling(labels, image, boxes[::-1]).gray_sum == pytest.approx(one, abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), boxes=tilings(), with_image=st.booleans())
def test_renumbered_sums_are_those_of_the_renumbered_labels(seed, boxes, with_image):
    labels, image = some_volume(seed, union(boxes))
    labels, image = labels * 7, image if with_image else None
    sums, table = renumber(sums_of_tiling(labels, image, boxes))
    renumbered = table[labels]
    ids, firsts = np.unique(renumbered, return_index=True)
    ids, firsts = ids[ids > 0], firsts[ids > 0]
    assert ids.tolist() == list(range(1, len(np.unique(labels[labels > 0])) + 1))
    assert np.all(np.diff(firsts) > 0)
    assert np.array_equal(renumbered > 0, labels > 0)
    assert same(to_table(sums, labels.shape, (1, 2, 3)), measure(renumbered, (1, 2, 3), image))
    assert np.array_equal(sums.first, firsts)


def test_the_renumbering_table_starts_with_0_and_reaches_the_largest_id():
    sums = partial_sums(np.array([[[4, 4, 0, 2]]]))
    assert renumber(sums)[1].tolist() == [0, 0, 2, 0, 1]
    assert renumber(sums, largest=6)[1].tolist() == [0, 0, 2, 0, 1, 0, 0]
    assert renumber(sums)[1].dtype == np.uint32
    nothing, table = renumber(partial_sums(np.zeros((1, 1, 1), np.uint8)), largest=2)
    assert (len(nothing.label), table.tolist()) == (0, [0, 0, 0])


@pytest.mark.parametrize(("at", "shape"), [((1, 0, 0), None), ((0, 0, 2), (2, 2, 3)), ((0, -1, 0), (2, 2, 2))])
def test_a_part_outside_the_volume_is_refused(at, shape):
    with pytest.raises(InputError, match="pass the shape of the whole volume"):
        partial_sums(np.ones((2, 2, 2), np.uint8), at=at, shape=shape)


def test_wrong_arrays_and_spacings_are_refused():
    labels = np.ones((2, 2, 2), np.uint8)
    with pytest.raises(InputError, match="image has shape"):
        measure(labels, (1, 1, 1), np.ones((2, 2, 3)))
    with pytest.raises(InputError, match="three axes"):
        measure(labels[0], (1, 1, 1))
    for spacing in [(1, 1), (1, 0, 1), (1, -1, 1), (1, 1, float("nan")), (1, float("inf"), 1)]:
        with pytest.raises(InputError, match="three positive numbers"):
            measure(labels, spacing)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="1 of 2 parts"):
        merge_sums([partial_sums(labels), partial_sums(labels, labels)])


def cubes(*sides: int) -> np.ndarray:
    """Separate cubes along x, none on a face except with side 9."""
    labels = np.zeros((9, 9, sum(sides) + len(sides) + 1), np.uint8)
    x = 1
    for label, side in enumerate(sides, start=1):
        at = 0 if side == 9 else 1
        labels[at : at + side, at : at + side, x : x + side] = label
        x += side + 1
    return labels


def diameter(side: int) -> float:
    return (6 * side**3 / pi) ** (1 / 3)


def test_size_distribution_worked_by_hand():
    # volumes 1, 8, 27, 64: shares by number .25 .5 .75 1, by volume .01 .09 .36 1
    sizes = size_distribution(measure(cubes(3, 1, 4, 2), (1, 1, 1)))
    assert sizes.particles == 4
    assert sizes.d10_by_number_mm == pytest.approx(diameter(1))
    assert sizes.d50_by_number_mm == pytest.approx(diameter(2))
    assert sizes.d90_by_number_mm == pytest.approx(diameter(4))
    assert sizes.d10_by_volume_mm == pytest.approx(diameter(3))
    assert sizes.d50_by_volume_mm == pytest.approx(diameter(4))
    assert sizes.d90_by_volume_mm == pytest.approx(diameter(4))


def test_a_share_reached_exactly_counts():
    # 1 + 8 of 90 voxels are exactly a tenth by volume
    labels = np.zeros((3, 3, 100), np.uint8)
    labels[1, 1, 1], labels[1, 1, 3:11], labels[1, 1, 12:93] = 1, 2, 3
    sizes = size_distribution(measure(labels, (1, 1, 1)))
    assert sizes.d10_by_volume_mm == pytest.approx((6 * 8 / pi) ** (1 / 3))


def test_particles_on_the_edge_count_unless_asked_not_to():
    table = measure(cubes(1, 9, 2), (1, 1, 1))
    assert size_distribution(table).d90_by_number_mm == pytest.approx(diameter(9))
    inside = size_distribution(table, exclude_edge=True)
    assert inside.particles == 2
    assert inside.d90_by_number_mm == pytest.approx(diameter(2))


@pytest.fixture
def app():
    app = typer.Typer()
    app.command()(measure_command)
    return app


def test_the_command_writes_the_table_and_prints_the_sizes(tmp_path, app):
    labels = cubes(1, 2)
    image = labels.astype(np.uint16) * 10
    np.save(tmp_path / "labels.npy", labels)
    np.save(tmp_path / "image.npy", image)
    out = tmp_path / "new" / "out"
    arguments = [str(tmp_path / "labels.npy"), str(out), "--spacing", "0.5", "--image", str(tmp_path / "image.npy")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    printed = json.loads(result.stdout)
    assert printed["particles"] == 2
    assert printed["d90_by_number_mm"] == pytest.approx(0.5 * diameter(2))
    assert same(read_table(printed["parquet"]), measure(labels, (0.5, 0.5, 0.5), image))
    again = CliRunner().invoke(app, arguments)
    assert isinstance(again.exception, InputError)
    assert CliRunner().invoke(app, [*arguments, "--overwrite"]).exit_code == 0


def test_the_command_prints_null_where_there_is_no_particle(tmp_path, capsys):
    np.save(tmp_path / "labels.npy", np.zeros((2, 2, 2), np.uint8))
    measure_command(tmp_path / "labels.npy", tmp_path / "out", spacing=1.0)
    assert json.loads(capsys.readouterr().out)["d50_by_volume_mm"] is None


def test_the_command_refuses_to_overwrite_before_it_reads(tmp_path):
    (tmp_path / "particles.csv").write_text("kept")
    with pytest.raises(InputError, match=r"particles.csv exists"):
        measure_command(tmp_path / "not_there.npy", tmp_path)
    assert (tmp_path / "particles.csv").read_text() == "kept"


def test_the_command_asks_for_a_spacing_and_refuses_another_image(tmp_path):
    np.save(tmp_path / "labels.npy", np.zeros((2, 2, 2), np.uint8))
    np.save(tmp_path / "image.npy", np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(InputError, match="pass --spacing"):
        measure_command(tmp_path / "labels.npy", tmp_path / "out")
    with pytest.raises(InputError, match=r"image.npy has shape \(2, 2, 3\)"):
        measure_command(tmp_path / "labels.npy", tmp_path / "out", image=tmp_path / "image.npy", spacing=1.0)
    assert not (tmp_path / "out").exists()

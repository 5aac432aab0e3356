"""Labels as OME-Zarr 0.5: voxels, levels, metadata, and what is refused."""

import numpy as np
import pytest
import zarr

from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.io.labels_writer import write_labels
from ps3d_rt.io.volume import open_volume

SPACING = (0.03, 0.02, 0.01)
LABELS = np.random.default_rng(0).integers(0, 2**32, (200, 65, 301), dtype=np.uint32)


def level(path, index):
    return zarr.open_array(path / "labels" / "particles" / str(index), mode="r")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_labels(tmp_path_factory.mktemp("out"), "scan", LABELS, SPACING)


def test_levels_are_uint32_and_take_every_second_voxel(written):
    assert written.name == "scan.ome.zarr"
    shapes = [(200, 65, 301), (100, 33, 151), (50, 17, 76)]
    for index, shape in enumerate(shapes):
        array, step = level(written, index), 2**index
        assert (array.shape, array.dtype) == (shape, np.uint32)
        np.testing.assert_array_equal(array[:], LABELS[::step, ::step, ::step])
    assert sorted(zarr.open_group(written / "labels" / "particles", mode="r").array_keys()) == ["0", "1", "2"]


def test_a_slab_of_64_slices_is_whole_shards(written):
    for index in range(3):
        array = level(written, index)
        assert array.shards is not None
        assert (array.shards[0], array.chunks) == (64, (64, 64, 64))
        assert all(shard % 64 == 0 for shard in array.shards)


def test_metadata_are_ome_zarr_0_5(written):
    ome = zarr.open_group(written / "labels" / "particles", mode="r").attrs["ome"]
    (multiscale,) = ome["multiscales"]
    assert (ome["version"], ome["image-label"]) == ("0.5", {"source": {"image": "../../"}})
    assert multiscale["axes"] == [{"name": n, "type": "space", "unit": "millimeter"} for n in "zyx"]
    assert [dataset["path"] for dataset in multiscale["datasets"]] == ["0", "1", "2"]
    scales = [dataset["coordinateTransformations"] for dataset in multiscale["datasets"]]
    assert scales == [[{"type": "scale", "scale": [s * 2**i for s in SPACING]}] for i in range(3)]
    assert zarr.open_group(written / "labels", mode="r").attrs["ome"] == {"version": "0.5", "labels": ["particles"]}


def test_every_image_group_names_levels_that_exist(written):
    for group in (zarr.open_group(written, mode="r"), zarr.open_group(written / "labels" / "particles", mode="r")):
        (multiscale,) = group.attrs["ome"]["multiscales"]
        shapes = [group[dataset["path"]].shape for dataset in multiscale["datasets"]]
        assert shapes == [(200, 65, 301), (100, 33, 151), (50, 17, 76)]


@pytest.mark.parametrize("inside", [".", "labels", "labels/particles"])
def test_open_volume_reads_what_was_written(written, inside):
    volume = open_volume(written / inside)
    assert (volume.name, volume.spacing_mm) == ("scan", pytest.approx(SPACING))
    np.testing.assert_array_equal(volume.read(Box((60, 3, 250), (70, 65, 301))), LABELS[60:70, 3:65, 250:301])


@pytest.mark.parametrize("depths", [[1] * 200, [64, 64, 64, 8], [63, 1, 100, 36], [199, 1], [0, 70, 130, 0]])
def test_slabs_of_any_depth_give_the_same_bytes(written, tmp_path, depths):
    stops = np.cumsum(depths)
    slabs = (LABELS[stop - depth : stop] for stop, depth in zip(stops, depths, strict=True))
    path = write_labels(tmp_path, "scan", slabs, SPACING, shape=LABELS.shape)
    files = sorted(file.relative_to(written) for file in written.rglob("*") if file.is_file())
    assert files == sorted(file.relative_to(path) for file in path.rglob("*") if file.is_file())
    assert all((path / file).read_bytes() == (written / file).read_bytes() for file in files)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", "uint64", ">u4"])
def test_integers_that_fit_become_uint32(tmp_path, dtype):
    labels = (LABELS[:3] % 2).astype(dtype)
    path = write_labels(tmp_path, "scan", labels, SPACING)
    assert level(path, 0).dtype == np.uint32
    np.testing.assert_array_equal(level(path, 0)[:], labels)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full((2, 2, 2), -1), "run from -1 to -1"),
        (np.full((2, 2, 2), 2**32), "run from 4294967296"),
        (np.zeros((2, 2, 2), np.float32), "labels are float32"),
        (np.zeros((2, 2), np.uint32), "2-D"),
        (np.zeros((2, 0, 2), np.uint32), "at least one voxel"),
    ],
)
def test_labels_that_do_not_fit_are_refused_and_leave_nothing(tmp_path, labels, message):
    with pytest.raises(InputError, match=message):
        write_labels(tmp_path, "scan", labels, SPACING)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("slabs", "message"),
    [
        ([LABELS[:100]], "end at slice 100 of 200"),
        ([LABELS, LABELS[:1]], r"missing is 0 slices of \(65, 301\)"),
        ([LABELS[:100, :64]], r"a slab of labels is \(100, 64, 301\)"),
    ],
)
def test_slabs_that_do_not_make_up_the_shape_are_refused_and_leave_nothing(tmp_path, slabs, message):
    with pytest.raises(InputError, match=message):
        write_labels(tmp_path, "scan", iter(slabs), SPACING, shape=LABELS.shape)
    assert list(tmp_path.iterdir()) == []


def test_slabs_need_the_shape_of_the_whole(tmp_path):
    with pytest.raises(InputError, match="pass shape"):
        write_labels(tmp_path, "scan", iter([LABELS]), SPACING)


def test_nothing_is_overwritten(written):
    with pytest.raises(InputError, match="exists and is not overwritten"):
        write_labels(written.parent, "scan", LABELS, SPACING)


@pytest.mark.parametrize("name", ["../scan", "a/b", ""])
def test_a_name_with_folders_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="a file name without folders"):
        write_labels(tmp_path / "out", name, LABELS, SPACING)


def test_what_a_killed_run_left_is_replaced(tmp_path):
    (tmp_path / ".scan.ome.zarr.partial" / "labels").mkdir(parents=True)
    (tmp_path / ".scan.ome.zarr.partial" / "labels" / "old").write_text("x")
    path = write_labels(tmp_path, "scan", LABELS[:3], SPACING)
    assert list(tmp_path.iterdir()) == [path]
    assert not (path / "labels" / "old").exists()

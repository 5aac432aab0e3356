"""Labels as OME-Zarr 0.5: voxels, levels, metadata, and the same files for any order of the work."""

import pickle
import random
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import zarr

from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.io.labels_writer import LabelsZarr, create_labels
from ps3d_rt.io.open import open_volume

SPACING = (0.03, 0.02, 0.01)
LABELS = np.random.default_rng(0).integers(0, 2**32, (200, 65, 531), dtype=np.uint32)
SHAPES = [(200, 65, 531), (100, 33, 266), (50, 17, 133), (25, 9, 67)]


def level(path, index):
    return zarr.open_array(path / "labels" / "particles" / str(index), mode="r")


def write(path, *, shuffle=0, work=map, labels=LABELS):
    """Write all levels, the boxes of each in an order that depends on ``shuffle``."""
    create_labels(path, "scan", labels.shape, SPACING)
    target = pickle.loads(pickle.dumps(LabelsZarr(path)))

    def boxes(index):
        return random.Random(shuffle).sample(target.boxes(index), len(target.boxes(index)))

    list(work(lambda box: target.write(box, labels[box.slices]), boxes(0)))
    for index in range(1, target.levels):
        list(work(partial(target.coarsen, index), boxes(index)))
    return path


def files_of(path):
    return {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write(tmp_path_factory.mktemp("out") / "scan.ome.zarr")


def test_levels_are_uint32_and_take_every_second_voxel(written):
    assert LabelsZarr(written).levels == len(SHAPES)
    for index, shape in enumerate(SHAPES):
        array, step = level(written, index), 2**index
        assert (array.shape, array.dtype) == (shape, np.uint32)
        np.testing.assert_array_equal(array[:], LABELS[::step, ::step, ::step])
    names = sorted(zarr.open_group(written / "labels" / "particles", mode="r").array_keys())
    assert names == ["0", "1", "2", "3"]


def test_boxes_are_the_shards_and_tile_every_level(written):
    labels = LabelsZarr(written)
    assert (labels.shape, labels.shard) == (LABELS.shape, (64, 128, 512))
    assert [len(labels.boxes(index)) for index in range(4)] == [8, 2, 1, 1]
    for index, shape in enumerate(SHAPES):
        times = np.zeros(shape, np.uint8)
        for box in labels.boxes(index):
            times[box.slices] += 1
        assert (times == 1).all()
        assert level(written, index).chunks == (64, 64, 64)


def test_metadata_are_ome_zarr_0_5(written):
    ome = zarr.open_group(written / "labels" / "particles", mode="r").attrs["ome"]
    (multiscale,) = ome["multiscales"]
    assert (ome["version"], ome["image-label"]) == ("0.5", {"source": {"image": "../../"}})
    assert multiscale["axes"] == [{"name": n, "type": "space", "unit": "millimeter"} for n in "zyx"]
    assert [dataset["path"] for dataset in multiscale["datasets"]] == ["0", "1", "2", "3"]
    scales = [dataset["coordinateTransformations"] for dataset in multiscale["datasets"]]
    assert scales == [[{"type": "scale", "scale": [s * 2**i for s in SPACING]}] for i in range(4)]
    assert zarr.open_group(written / "labels", mode="r").attrs["ome"] == {"version": "0.5", "labels": ["particles"]}


def test_every_image_group_names_levels_that_exist(written):
    for group in (zarr.open_group(written, mode="r"), zarr.open_group(written / "labels" / "particles", mode="r")):
        (multiscale,) = group.attrs["ome"]["multiscales"]
        assert multiscale["name"] in ("scan", "particles")
        assert [group[dataset["path"]].shape for dataset in multiscale["datasets"]] == SHAPES


@pytest.mark.parametrize("inside", [".", "labels", "labels/particles"])
def test_open_volume_reads_what_was_written(written, inside):
    volume = open_volume(written / inside)
    assert (volume.name, volume.spacing_mm) == ("scan", pytest.approx(SPACING))
    box = Box((60, 3, 500), (70, 65, 531))
    np.testing.assert_array_equal(volume.read(box), LABELS[box.slices])
    np.testing.assert_array_equal(LabelsZarr(written).read(box), LABELS[box.slices])


@pytest.mark.parametrize("shuffle", [1, 2])
def test_any_order_gives_the_same_files(written, tmp_path, shuffle):
    assert files_of(write(tmp_path / "scan.ome.zarr", shuffle=shuffle)) == files_of(written)


def test_many_threads_give_the_same_files(written, tmp_path):
    with ThreadPoolExecutor(8) as pool:
        assert files_of(write(tmp_path / "scan.ome.zarr", work=pool.map)) == files_of(written)


def test_coarser_levels_can_be_made_again(written, tmp_path):
    path = write(tmp_path / "scan.ome.zarr")
    labels = LabelsZarr(path)
    for index in (1, 2, 3):
        labels.coarsen(index, labels.boxes(index)[0])
    assert files_of(path) == files_of(written)


def test_a_box_without_particles_needs_no_write(tmp_path):
    labels = LABELS.copy()
    labels[64:128] = 0
    whole = write(tmp_path / "a.ome.zarr", labels=labels)
    create_labels(tmp_path / "b.ome.zarr", "scan", labels.shape, SPACING)
    sparse = LabelsZarr(tmp_path / "b.ome.zarr")
    for box in sparse.boxes(0):
        if labels[box.slices].any():
            sparse.write(box, labels[box.slices])
    for index in (1, 2, 3):
        for box in sparse.boxes(index):
            sparse.coarsen(index, box)
    assert files_of(sparse.path) == files_of(whole)


def test_a_box_that_cuts_a_shard_is_refused(tmp_path):
    create_labels(tmp_path / "scan.ome.zarr", "scan", LABELS.shape, SPACING)
    labels = LabelsZarr(tmp_path / "scan.ome.zarr")
    message = r"particles/0: a box .* must start at multiples of \(64, 128, 512\)"
    with pytest.raises(InputError, match=message):
        labels.write(Box((0, 0, 0), (63, 65, 512)), LABELS[:63, :, :512])
    with pytest.raises(InputError, match="particles/1: a box"):
        labels.coarsen(1, Box((0, 0, 0), (32, 33, 266)))


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.float32])
def test_labels_that_may_not_fit_uint32_are_refused(tmp_path, dtype):
    create_labels(tmp_path / "scan.ome.zarr", "scan", (5, 5, 5), SPACING)
    with pytest.raises(InputError, match="voxels uint32 cannot take"):
        LabelsZarr(tmp_path / "scan.ome.zarr").write(Box.of_shape((5, 5, 5)), np.zeros((5, 5, 5), dtype))

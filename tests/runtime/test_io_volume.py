"""The contract of every volume, and what ``open_volume`` does before a format is involved."""

import multiprocessing
import pickle
import random
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import h5py
import nibabel
import nrrd
import numpy as np
import pytest
import tifffile
import zarr

from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import ArrayVolume, check_spacing
from ps3d_rt.io.names import stem_of
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.volume_writer import write_volume

IMAGE = np.random.default_rng(0).integers(0, 60000, (7, 11, 13), dtype=np.uint16)


@pytest.mark.parametrize(
    "box", [Box((0, 0, 0), (7, 11, 13)), Box((2, 3, 4), (3, 9, 13)), Box((6, 10, 12), (7, 11, 13))]
)
def test_read_gives_the_voxels_of_the_box(box):
    voxels = ArrayVolume(IMAGE, 0.01).read(box)
    np.testing.assert_array_equal(voxels, IMAGE[box.slices])


@pytest.mark.parametrize("array", [np.asfortranarray(IMAGE), IMAGE.astype(">u2"), IMAGE[:, ::-1]])
def test_voxels_are_contiguous_native_and_the_callers_own(array):
    volume = ArrayVolume(array)
    voxels = volume.read(Box.of_shape(volume.shape))
    assert voxels.flags.c_contiguous
    assert voxels.dtype == volume.dtype == np.dtype("=u2")
    expected = array.copy()
    voxels[...] = 0
    np.testing.assert_array_equal(array, expected)


def test_an_empty_box_gives_an_empty_array():
    assert ArrayVolume(IMAGE).read(Box((1, 2, 3), (1, 5, 6))).shape == (0, 3, 3)


@pytest.mark.parametrize("box", [Box((0, 0, 0), (8, 1, 1)), Box((-1, 0, 0), (1, 1, 1)), Box((3, 0, 0), (2, 1, 1))])
def test_a_box_outside_the_volume_is_refused(box):
    with pytest.raises(InputError, match=r"it must lie between \(0, 0, 0\) and \(7, 11, 13\)"):
        ArrayVolume(IMAGE).read(box)


def test_a_closed_volume_is_refused():
    with ArrayVolume(IMAGE) as volume:
        pass
    with pytest.raises(InputError, match="closed"):
        volume.read(Box((0, 0, 0), (1, 1, 1)))


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "uint64", "float16", "float64"])
def test_integers_floats_and_bool_are_allowed(dtype):
    assert ArrayVolume(IMAGE.astype(dtype)).dtype == dtype


@pytest.mark.parametrize("dtype", ["complex64", "object", "S3", "datetime64[s]", "longdouble"])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(InputError, match="the allowed types are bool, integers and floats"):
        ArrayVolume(np.zeros((2, 2, 2), dtype))


@pytest.mark.parametrize(
    ("shape", "message"),
    [((4, 5), "single 2-D image"), ((1, 4, 5, 6), "4 axes"), ((4, 0, 5), "at least one voxel")],
)
def test_shapes_that_are_no_volume_are_refused(shape, message):
    with pytest.raises(InputError, match=message):
        ArrayVolume(np.zeros(shape))


@pytest.mark.parametrize("given", [0.01, np.float32(0.01), [0.01], (0.01, 0.01, 0.01), np.full(3, 0.01)])
def test_spacing_is_one_number_or_three(given):
    assert check_spacing(given, "spacing") == pytest.approx((0.01, 0.01, 0.01))


def test_spacing_keeps_its_order():
    assert ArrayVolume(IMAGE, (0.03, 0.02, 0.01)).spacing_mm == (0.03, 0.02, 0.01)


@pytest.mark.parametrize("given", [0, -0.01, float("nan"), float("inf"), (0.01, 0.01), (0.01, 0.0, 0.01), ()])
def test_other_spacings_are_refused(given):
    with pytest.raises(InputError, match="each above 0"):
        check_spacing(given, "spacing")


def test_a_bad_spacing_is_refused_before_the_file_is_touched(tmp_path):
    with pytest.raises(InputError, match="spacing"):
        open_volume(tmp_path / "missing.npy", spacing_mm=-1)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"scan\.tif: there is no such file"):
        open_volume(tmp_path / "scan.tif")


@pytest.mark.parametrize("name", ["scan.jpg", "scan"])
def test_an_unknown_type_is_refused_with_the_list_of_types(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match=r"readable types are \.tif, \.tiff, \.npy, \.nii, .*\.zarr"):
        open_volume(tmp_path / name)


@pytest.mark.parametrize(
    ("path", "stem"),
    [
        ("a/scan.ome.zarr", "scan"),
        ("scan.ome.tif", "scan"),
        ("Scan.TIFF", "Scan"),
        ("scan.01.nii.gz", "scan.01"),
        ("scan.h5:/group/data", "scan"),
        ("s.1.npy", "s.1"),
        ("s.v2", "s.v2"),
    ],
)
def test_the_stem_has_no_endings_of_formats(path, stem):
    assert stem_of(Path(path)) == stem


def write_zarr(path, **options):
    zarr.create_array(path, data=IMAGE, zarr_format=3, **options)


def write_slices(path):
    path.mkdir()
    for index, page in enumerate(IMAGE):
        tifffile.imwrite(path / f"{index}.tif", page)


def write_hdf5(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=IMAGE, chunks=(2, 4, 4))


def write_scaled_nifti(path):
    # Stored are the halves: what is read is computed.
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_slope_inter(2, 0)
    nibabel.save(nibabel.Nifti1Image(np.moveaxis(IMAGE.astype(np.float32), (0, 1, 2), (2, 1, 0)), None, header), path)


FORMATS = {
    "scan.npy": lambda path: np.save(path, IMAGE),
    "scan.nii": lambda path: write_volume(path, IMAGE),
    "scan.nii.gz": write_scaled_nifti,
    "scan.nrrd": lambda path: nrrd.write(str(path), IMAGE, {"encoding": "gzip"}, index_order="C"),
    "scan.mha": lambda path: write_volume(path, IMAGE),
    "scan.h5": write_hdf5,
    "scan.raw": IMAGE.tofile,
    "mapped.tif": lambda path: tifffile.imwrite(path, IMAGE),
    "decoded.tif": lambda path: tifffile.imwrite(path, IMAGE, compression="zlib", metadata=None),
    "slices": write_slices,
    "scan.zarr": lambda path: write_zarr(path, chunks=(2, 4, 4), shards=(4, 8, 8)),
}


@pytest.fixture(params=FORMATS)
def on_disk(request, tmp_path):
    FORMATS[request.param](tmp_path / request.param)
    options = {"shape": IMAGE.shape, "dtype": "uint16"} if request.param == "scan.raw" else {}
    with open_volume(tmp_path / request.param, spacing_mm=(3, 2, 1), **options) as volume:
        yield volume


def test_many_threads_can_read_at_once(on_disk):
    draw = random.Random(0)
    ends = [[sorted(draw.sample(range(n + 1), 2)) for n in IMAGE.shape] for _ in range(200)]
    boxes = [Box(tuple(a for a, _ in sides), tuple(b for _, b in sides)) for sides in ends]
    with ThreadPoolExecutor(8) as pool:
        for box, voxels in zip(boxes, pool.map(on_disk.read, boxes), strict=True):
            np.testing.assert_array_equal(voxels, IMAGE[box.slices])


def test_a_volume_on_disk_can_be_pickled(on_disk, tmp_path, monkeypatch):
    travelling = pickle.dumps(on_disk)
    monkeypatch.chdir(tmp_path.parent)
    with pickle.loads(travelling) as again:
        assert len(travelling) < 1000
        for name in ("name", "shape", "dtype", "spacing_mm", "planes_per_read"):
            assert getattr(again, name) == getattr(on_disk, name)
        np.testing.assert_array_equal(again.read(Box.of_shape(IMAGE.shape)), IMAGE)
        assert pickle.loads(pickle.dumps(again)) is again  # tasks of one process share one open file


def test_a_relative_path_is_found_from_another_folder(tmp_path, monkeypatch):
    np.save(tmp_path / "scan.npy", IMAGE)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    travelling = pickle.dumps(open_volume("scan.npy"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert pickle.loads(travelling).shape == IMAGE.shape


def test_spawned_processes_read_what_was_opened(tmp_path):
    FORMATS["decoded.tif"](tmp_path / "scan.tif")
    context = multiprocessing.get_context("spawn")
    with open_volume(tmp_path / "scan.tif") as volume, ProcessPoolExecutor(1, mp_context=context) as pool:
        planes = pool.map(volume.read, [Box((z, 0, 0), (z + 1, *IMAGE.shape[1:])) for z in range(len(IMAGE))])
        np.testing.assert_array_equal(np.concatenate(list(planes)), IMAGE)


def test_a_volume_in_memory_says_that_workers_need_a_file():
    with pytest.raises(InputError, match="workers cannot read it; save it to a file"):
        pickle.dumps(ArrayVolume(IMAGE))


@pytest.mark.parametrize(
    ("options", "planes"),
    [
        ({"chunks": (1, 8, 8)}, 16),
        ({"chunks": (5, 8, 8)}, 20),
        ({"chunks": (32, 8, 8), "shards": (64, 8, 8)}, 32),
        ({"chunks": (300, 8, 8)}, 128),
    ],
)
def test_planes_per_read_are_whole_chunks_of_a_zarr_array(tmp_path, options, planes):
    write_zarr(tmp_path / "scan.zarr", **options)
    assert open_volume(tmp_path / "scan.zarr").planes_per_read == planes


def test_planes_per_read_of_other_files_are_16(tmp_path):
    for name in ("scan.npy", "mapped.tif", "decoded.tif", "slices", "scan.nii", "scan.nrrd"):
        FORMATS[name](tmp_path / name)
        with open_volume(tmp_path / name) as volume:
            assert volume.planes_per_read == 16

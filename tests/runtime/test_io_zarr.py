"""Zarr 2 and 3 arrays, and OME-Zarr groups 0.4 and 0.5."""

import json
import pickle

import numpy as np
import pytest
import zarr
from zarr.codecs import ZstdCodec

from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.io.open import open_volume

IMAGE = np.random.default_rng(0).integers(0, 60000, (20, 33, 50), dtype=np.uint16)
BOX = Box((3, 15, 0), (18, 33, 17))
MM = {"nanometer": 1e-6, "micrometer": 1e-3, "millimeter": 1.0, "centimeter": 10.0, "meter": 1000.0, "inch": 25.4}


class Bomb:
    """Fails the test when it is unpickled."""

    def __reduce__(self):
        return pytest.fail, ("unpickled",)


def axes(names="zyx", unit="micrometer"):
    return [{"name": n, "type": "space", "unit": unit} if n in "zyx" else {"name": n} for n in names]


def scale(*values):
    return [{"type": "scale", "scale": list(values)}]


def ome_attributes(version, multiscale):
    if version == "0.4":
        return {"multiscales": [multiscale | {"version": "0.4"}]}
    return {"ome": {"version": version, "multiscales": [multiscale]}}


def write_ome(path, multiscale, version="0.5", image=IMAGE, shards=None):
    group = zarr.create_group(
        path, zarr_format=2 if version == "0.4" else 3, attributes=ome_attributes(version, multiscale)
    )
    group.create_array("fine", data=image, chunks=(1,) * (image.ndim - 3) + (16, 16, 16), shards=shards)
    group.create_array("coarse", data=image[..., ::2, ::2, ::2])
    return path


def levels(*fine):
    return [
        {"path": "fine", "coordinateTransformations": scale(*fine)},
        {"path": "coarse", "coordinateTransformations": scale(*(2 * value for value in fine))},
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"zarr_format": 2},
        {"zarr_format": 2, "order": "F"},
        {"zarr_format": 3},
        {"zarr_format": 3, "shards": (32, 32, 32), "compressors": ZstdCodec(level=1)},
        {"zarr_format": 3, "compressors": None},
    ],
)
@pytest.mark.parametrize("dtype", ["uint16", ">u2", "float64", "bool"])
def test_plain_arrays_read_a_box(tmp_path, options, dtype):
    image = IMAGE.astype(dtype)
    zarr.create_array(tmp_path / "scan.zarr", data=image, chunks=(16, 16, 16), **options)
    with open_volume(tmp_path / "scan.zarr", spacing_mm=0.01) as volume:
        assert (volume.shape, volume.name, volume.spacing_mm) == (image.shape, "scan", (0.01, 0.01, 0.01))
        assert volume.dtype == image.dtype.newbyteorder("=")
        np.testing.assert_array_equal(volume.read(BOX), image[BOX.slices])
        assert volume.read(Box((1, 2, 3), (1, 5, 6))).shape == (0, 3, 3)
        assert volume.read(Box((1, 2, 3), (2, 2, 6))).shape == (1, 0, 3)


def test_an_array_inside_a_group_is_named_after_the_store(tmp_path):
    write_ome(tmp_path / "scan.ome.zarr", {"axes": axes(), "datasets": levels(1, 1, 1)})
    volume = open_volume(tmp_path / "scan.ome.zarr" / "coarse")
    assert (volume.name, volume.shape, volume.spacing_mm) == ("scan", (10, 17, 25), None)


def test_a_zarr_folder_needs_no_ending(tmp_path):
    zarr.create_array(tmp_path / "scan", data=IMAGE)
    assert open_volume(tmp_path / "scan").shape == IMAGE.shape


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(("unit", "mm"), MM.items())
def test_ome_zarr_gives_its_finest_level_and_spacing_in_mm(tmp_path, version, unit, mm):
    path = write_ome(tmp_path / "scan.ome.zarr", {"axes": axes(unit=unit), "datasets": levels(30, 20, 10)}, version)
    volume = open_volume(path)
    assert (volume.name, volume.spacing_mm) == ("scan", pytest.approx((30 * mm, 20 * mm, 10 * mm)))
    np.testing.assert_array_equal(volume.read(BOX), IMAGE[BOX.slices])


def test_scales_of_level_and_image_multiply(tmp_path):
    multiscale = {"axes": axes(), "datasets": levels(3, 2, 1), "coordinateTransformations": scale(2, 10, 100)}
    assert open_volume(write_ome(tmp_path / "scan.zarr", multiscale)).spacing_mm == pytest.approx((0.006, 0.02, 0.1))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_time_and_channel_axes_of_one_entry_are_dropped(tmp_path, version):
    multiscale = {"axes": axes("tczyx"), "datasets": levels(7, 1, 3, 2, 1)}
    volume = open_volume(write_ome(tmp_path / "scan.zarr", multiscale, version, IMAGE[None, None]))
    assert (volume.shape, volume.spacing_mm) == (IMAGE.shape, pytest.approx((0.003, 0.002, 0.001)))
    np.testing.assert_array_equal(volume.read(BOX), IMAGE[BOX.slices])


def test_several_channels_are_refused(tmp_path):
    image = np.stack([IMAGE, IMAGE])
    path = write_ome(tmp_path / "scan.zarr", {"axes": axes("czyx"), "datasets": levels(1, 3, 2, 1)}, image=image)
    with pytest.raises(InputError, match=r"shape \(2, 20, 33, 50\); axes before z, y, x must have one entry"):
        open_volume(path)


@pytest.mark.parametrize(
    "multiscale",
    [
        {"axes": axes(unit="pixel"), "datasets": levels(3, 2, 1)},
        {"axes": [{"name": n} for n in "zyx"], "datasets": levels(3, 2, 1)},
        {"axes": axes(), "datasets": [{"path": "fine"}]},
    ],
)
def test_no_unit_or_no_scale_is_no_spacing(tmp_path, multiscale):
    assert open_volume(write_ome(tmp_path / "scan.zarr", multiscale)).spacing_mm is None


@pytest.mark.parametrize(("scale", "remark"), [((0, 2, 1), "which is none"), ((1, 1, 1), "as programs do")])
def test_a_scale_that_cannot_be_or_is_a_default_is_said(tmp_path, scale, remark):
    volume = open_volume(write_ome(tmp_path / "scan.zarr", {"axes": axes(), "datasets": levels(*scale)}))
    assert (volume.spacing_mm is None) == (0 in scale)
    assert remark in " ".join(volume.warnings)


@pytest.mark.parametrize("multiscale", [{"version": "0.3", "axes": ["z", "y", "x"]}, {"version": "0.2"}, {}])
def test_versions_without_axes_as_objects_are_read_without_a_voxel_size(tmp_path, multiscale):
    path = write_ome(tmp_path / "scan.zarr", {**multiscale, "datasets": [{"path": "fine"}]}, "0.4")
    volume = open_volume(path)
    assert volume.spacing_mm is None
    assert "holds no voxel size" in " ".join(volume.warnings)
    np.testing.assert_array_equal(volume.read(BOX), IMAGE[BOX.slices])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["0/0/0"], "has no zarr metadata"),
        ([], "has no zarr metadata"),
        (["attributes.json"], "is N5"),
        (["left/zarr.json", "right/.zgroup"], "around zarr; give the path of one of left, right inside"),
    ],
)
def test_a_folder_that_is_not_zarr_is_said_to_be_what_it_is(tmp_path, files, message):
    (tmp_path / "scan.zarr").mkdir()
    for name in files:
        (tmp_path / "scan.zarr" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "scan.zarr" / name).write_text("{}")
    with pytest.raises(InputError, match=message):
        open_volume(tmp_path / "scan.zarr")


@pytest.mark.parametrize("key", ["plate", "well"])
def test_a_plate_is_said_to_be_one(tmp_path, key):
    zarr.create_group(tmp_path / "scan.zarr", attributes={"ome": {"version": "0.5", key: {}}})
    with pytest.raises(InputError, match="is a plate or well with many images"):
        open_volume(tmp_path / "scan.zarr")


def test_a_malformed_scale_is_refused_unless_a_spacing_is_given(tmp_path):
    path = write_ome(tmp_path / "scan.zarr", {"axes": axes(), "datasets": levels(2, 1)})
    with pytest.raises(InputError, match="is not one number an axis"):
        open_volume(path)
    assert open_volume(path, spacing_mm=0.5).spacing_mm == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("multiscale", "message"),
    [
        ({"axes": axes("xyz"), "datasets": levels(3, 2, 1)}, "the last three must be z, y, x"),
        ({"axes": axes(), "datasets": []}, "name no array"),
        ({"axes": axes()}, "name no array"),
        ({"axes": axes(), "datasets": ["fine"]}, "name no array"),
        ({"axes": axes(), "datasets": [{"path": 0}]}, "name no array"),
        ({"axes": "zyx", "datasets": levels(3, 2, 1)}, "the axes are not named"),
        ({"axes": axes(), "datasets": [{"path": "finest"}]}, "not an array"),
        ("fine", "name no image"),
        ({"axes": axes(), "datasets": [{"path": ""}]}, "not an array"),
    ],
)
def test_malformed_ome_metadata_are_refused(tmp_path, multiscale, message):
    with pytest.raises(InputError, match=message):
        open_volume(write_ome(tmp_path / "scan.zarr", multiscale))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_level_outside_of_the_group_is_refused(tmp_path, version):
    zarr.create_array(tmp_path / "secret", data=IMAGE)
    path = write_ome(tmp_path / "scan.zarr", {"axes": axes(), "datasets": [{"path": "../secret"}]}, version)
    with pytest.raises(InputError, match="the zarr metadata cannot be read"):
        open_volume(path)


@pytest.mark.parametrize("inside", [".", "labels"])
def test_a_group_with_only_one_label_image_opens_it(tmp_path, inside):
    root = zarr.create_group(tmp_path / "scan.ome.zarr")
    root.create_group("labels", attributes={"ome": {"version": "0.5", "labels": ["particles"]}})
    multiscale = {"axes": axes(), "datasets": levels(3, 2, 1)}
    write_ome(tmp_path / "scan.ome.zarr" / "labels" / "particles", multiscale)
    volume = open_volume(tmp_path / "scan.ome.zarr" / inside)
    assert (volume.name, volume.spacing_mm) == ("scan", pytest.approx((0.003, 0.002, 0.001)))


def test_several_label_images_are_refused_with_their_names(tmp_path):
    root = zarr.create_group(tmp_path / "scan.zarr")
    root.create_group("labels", attributes={"labels": ["a", "b"]})
    with pytest.raises(InputError, match="labels/a, labels/b"):
        open_volume(tmp_path / "scan.zarr")


def test_a_group_without_an_image_is_refused_with_its_arrays(tmp_path):
    group = zarr.create_group(tmp_path / "scan.zarr")
    with pytest.raises(InputError, match="without an OME-Zarr image; give the path of a zarr array"):
        open_volume(tmp_path / "scan.zarr")
    group.create_array("raw", data=IMAGE)
    with pytest.raises(InputError, match="give the path of one of raw inside"):
        open_volume(tmp_path / "scan.zarr")


@pytest.mark.parametrize(("shape", "message"), [((4, 5), "2-D"), ((0, 4, 5), "at least one voxel")])
def test_shapes_that_are_no_volume_are_refused(tmp_path, shape, message):
    zarr.create_array(tmp_path / "scan.zarr", shape=shape, dtype="u1", chunks=(1,) * len(shape))
    with pytest.raises(InputError, match=message):
        open_volume(tmp_path / "scan.zarr")


def test_complex_voxels_are_refused(tmp_path):
    zarr.create_array(tmp_path / "scan.zarr", shape=(2, 2, 2), dtype="c8")
    with pytest.raises(InputError, match="the voxels are complex64"):
        open_volume(tmp_path / "scan.zarr")


@pytest.mark.parametrize("name", ["zarr.json", ".zarray"])
@pytest.mark.parametrize("text", ["", "{", "[]", '{"zarr_format": 2}'])
def test_broken_metadata_are_refused(tmp_path, name, text):
    (tmp_path / "scan.zarr").mkdir()
    (tmp_path / "scan.zarr" / name).write_text(text)
    with pytest.raises(InputError, match=r"scan\.zarr"):
        open_volume(tmp_path / "scan.zarr")


@pytest.mark.parametrize(("zarr_format", "chunk"), [(2, "0.0.0"), (3, "c/0/0/0")])
@pytest.mark.parametrize("keep_bytes", [0, 10, -1])
def test_a_chunk_cut_short_is_refused_when_read(tmp_path, zarr_format, chunk, keep_bytes):
    path = tmp_path / "scan.zarr"
    zarr.create_array(path, data=IMAGE, chunks=(16, 16, 16), zarr_format=zarr_format)
    whole = (path / chunk).read_bytes()
    (path / chunk).write_bytes(whole[:keep_bytes])
    volume = open_volume(path)
    np.testing.assert_array_equal(volume.read(Box((16, 16, 16), (20, 20, 20))), IMAGE[16:20, 16:20, 16:20])
    size_bytes = len(whole[:keep_bytes])
    with pytest.raises(
        InputError, match=rf"scan\.zarr: the chunk file .*{chunk} of {size_bytes} bytes is damaged"
    ) as said:
        volume.read(Box.of_shape(IMAGE.shape))
    assert str(path / chunk) in str(said.value)


@pytest.mark.parametrize("chunk", ["c/0/0/0/0", "c/0/1/2/1"])
@pytest.mark.parametrize("content", [b"This is a letter.", bytes(5000)])
def test_another_file_in_place_of_a_chunk_is_named_in_our_words(tmp_path, chunk, content):
    path = tmp_path / "scan.zarr"
    options = {"chunks": (1, 8, 8, 8), "shards": (1, 16, 16, 32)}
    zarr.create_array(path, data=IMAGE[None], compressors=zarr.codecs.GzipCodec(), **options)
    (path / chunk).write_bytes(content)
    with pytest.raises(InputError) as said, open_volume(path) as volume:
        volume.read(Box((1, 3, 4), (20, 33, 50)))
    ours = (
        f"{path}: the chunk file {path / chunk} of {len(content)} bytes is damaged, or another file in its place; copy"
    )
    assert str(said.value) == f"{ours} the volume again — Stored and computed checksum do not match."


@pytest.mark.parametrize("shards", [None, (16, 16, 16)])
def test_chunks_without_voxels_are_refused(tmp_path, shards):
    path = tmp_path / "scan.zarr"
    zarr.create_array(path, data=IMAGE, chunks=(8, 8, 8), shards=shards)
    told = json.loads((path / "zarr.json").read_text())
    told["chunk_grid"]["configuration"]["chunk_shape"][1] = 0
    (path / "zarr.json").write_text(json.dumps(told))
    with (
        pytest.raises(InputError, match=r"scan\.zarr: (has chunks of \(\d+, 0, \d+\) voxels|the zarr metadata)"),
        open_volume(path) as volume,
    ):
        volume.read(Box.of_shape(volume.shape))


@pytest.mark.parametrize("inside", [".", "fine"])
def test_an_empty_shard_is_refused_when_opened(tmp_path, inside):
    path = write_ome(tmp_path / "scan.zarr", {"axes": axes(), "datasets": levels(3, 2, 1)}, shards=(16, 32, 16))
    open_volume(path / inside)
    (path / "fine" / "c" / "1" / "0" / "2").write_bytes(b"")
    with pytest.raises(InputError, match=r"scan\.zarr.*: the chunk file .*2 is empty; copy the volume again"):
        open_volume(path / inside)


@pytest.mark.parametrize("place", ["filters", "compressor"])
def test_a_pickle_codec_is_never_run(tmp_path, place):
    path = tmp_path / "scan.zarr"
    path.mkdir()
    codec = {"id": "pickle", "protocol": 5}
    metadata = {
        "zarr_format": 2,
        "shape": [1, 1, 1],
        "chunks": [1, 1, 1],
        "dtype": "<u2",
        "fill_value": 0,
        "order": "C",
    }
    metadata |= {"filters": None, "compressor": None, place: [codec] if place == "filters" else codec}
    (path / ".zarray").write_text(json.dumps(metadata))
    (path / "0.0.0").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(InputError):
        open_volume(path).read(Box((0, 0, 0), (1, 1, 1)))


def test_a_chunk_of_blosc_that_says_it_has_less_than_no_bytes_is_refused(tmp_path):
    blosc = zarr.codecs.BloscCodec()
    path = tmp_path / "scan.zarr"
    zarr.create_array(path, shape=IMAGE.shape, chunks=IMAGE.shape, dtype=IMAGE.dtype, compressors=blosc)[:] = IMAGE
    chunk = path / "c/0/0/0"
    content = bytearray(chunk.read_bytes())
    content[4:8] = (2**31).to_bytes(4, "little")
    chunk.write_bytes(content)
    with pytest.raises(
        InputError, match=r"scan\.zarr: the chunk file .* is damaged, or another file in its place; copy"
    ):
        open_volume(path).read(Box.of_shape(IMAGE.shape))

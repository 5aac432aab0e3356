"""NRRD, against pynrrd and SimpleITK."""

import nrrd
import numpy as np
import pytest

from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.volume_writer import write_volume

IMAGE = np.random.default_rng(0).integers(0, 60000, (20, 33, 50), dtype=np.uint16)
WHOLE = Box.of_shape(IMAGE.shape)
BOX = Box((1, 3, 4), (19, 11, 6))
DIRECTIONS = np.diag([0.01, 0.02, 0.03])
TURNED = np.array([[0.6, 0.8, 0], [-0.8, 0.6, 0], [0, 0, 1]])


def write(path, image=IMAGE, **header):
    options = {key: header.pop(key) for key in ("detached_header", "relative_data_path") if key in header}
    nrrd.write(str(path), image, header, index_order="C", **options)
    return path


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
@pytest.mark.parametrize("name", ["scan.nrrd", "scan.nhdr"])
def test_every_encoding_reads_the_same_voxels(tmp_path, encoding, name):
    with open_volume(write(tmp_path / name, encoding=encoding), spacing_mm=0.01) as volume:
        assert (volume.shape, volume.dtype, volume.name) == (IMAGE.shape, np.uint16, "scan")
        np.testing.assert_array_equal(volume.read(WHOLE), IMAGE)
        np.testing.assert_array_equal(volume.read(BOX), IMAGE[BOX.slices])


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", ">u2", "int32", "uint32", "int64", "float32", ">f8"])
def test_dtypes_and_byte_orders_are_kept(tmp_path, dtype):
    image = (IMAGE % 100).astype(dtype)
    volume = open_volume(write(tmp_path / "scan.nrrd", image, endian="big" if dtype[0] == ">" else "little"))
    assert volume.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(volume.read(WHOLE), image)


@pytest.mark.parametrize(
    ("header", "spacing_mm"),
    [
        ({"space directions": DIRECTIONS, "space": "left-posterior-superior"}, (0.03, 0.02, 0.01)),
        ({"space directions": DIRECTIONS, "space dimension": 3, "space units": ["mm", "mm", "mm"]}, (0.03, 0.02, 0.01)),
        ({"space directions": DIRECTIONS * 1000, "space dimension": 3, "space units": ["um"] * 3}, (0.03, 0.02, 0.01)),
        ({"space directions": np.roll(DIRECTIONS, 1, 1), "space": "RAS"}, (0.03, 0.02, 0.01)),
        ({"space directions": DIRECTIONS @ TURNED, "space": "RAS"}, (0.03, 0.02, 0.01)),
        ({"spacings": [10, 20, 30], "units": ["um"] * 3}, (0.03, 0.02, 0.01)),
        ({"spacings": [10, 20, 30]}, None),
        ({"spacings": [10, 20, 30], "units": ["pixel"] * 3}, None),
        ({"space directions": DIRECTIONS, "space dimension": 3}, None),
        ({}, None),
    ],
)
def test_the_spacing_is_read_with_its_unit(tmp_path, header, spacing_mm):
    found = open_volume(write(tmp_path / "scan.nrrd", **header)).spacing_mm
    assert found == (None if spacing_mm is None else pytest.approx(spacing_mm))


@pytest.mark.parametrize("skip", ["byte skip: 9", "byte skip: -1", "line skip: 1"])
def test_a_detached_header_may_skip_the_front_of_its_data(tmp_path, skip):
    (tmp_path / "scan.raw").write_bytes(b"12345678\n" + IMAGE.tobytes())
    header = "NRRD0004\ntype: ushort\ndimension: 3\nsizes: 50 33 20\nendian: little\nencoding: raw"
    (tmp_path / "scan.nhdr").write_text(f"{header}\n{skip}\ndata file: scan.raw\n")
    np.testing.assert_array_equal(open_volume(tmp_path / "scan.nhdr").read(WHOLE), IMAGE)


def test_the_voxels_are_the_end_of_the_file_where_its_header_says_so(tmp_path):
    header = f"{HEADER}dimension: 3\nsizes: 50 33 20\nbyte skip: -1\n\n"
    (tmp_path / "scan.nrrd").write_bytes(header.encode() + b"of another program" + IMAGE.tobytes())
    np.testing.assert_array_equal(open_volume(tmp_path / "scan.nrrd").read(WHOLE), IMAGE)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("../secret.raw", "outside of its folder"),
        ("missing.raw", "is not there"),
        ("LIST", "none follows"),
        ("slice%03d.raw 1 20 1", "slice001.raw', which is not there"),
        ("slice%s.raw 1 20 1", "a pattern such as"),
        ("slice%03d.raw 1 20 0", "a pattern such as"),
        ("slice%03d.raw 1 3 1", "20 slices do not lie in 3 files"),
        ("a\0b.raw", "not a valid file name"),
        ("x" * 300, "is not a valid path|is not there"),
    ],
)
def test_data_files_elsewhere_are_refused(tmp_path, data, message):
    IMAGE.tofile(tmp_path / "secret.raw")
    (tmp_path / "in").mkdir()
    header = "NRRD0004\ntype: ushort\ndimension: 3\nsizes: 50 33 20\nendian: little\nencoding: raw"
    (tmp_path / "in" / "scan.nhdr").write_text(f"{header}\ndata file: {data}\n")
    with pytest.raises(InputError, match=message):
        open_volume(tmp_path / "in" / "scan.nhdr")


HEADER = "NRRD0004\ntype: ushort\nendian: little\nencoding: raw\n"


@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "latin-1"])
@pytest.mark.parametrize("unit", ["µm", "Å"])
def test_units_beyond_ascii_are_not_cut(tmp_path, charset, unit):
    fields = f'dimension: 3\nsizes: 50 33 20\nspacings: 10 20 30\nunits: "{unit}" "{unit}" "{unit}"\n\n'
    (tmp_path / "scan.nrrd").write_bytes((HEADER + fields).encode(charset) + IMAGE.tobytes())
    side = {"µm": 1e-3, "Å": 1e-7}[unit]
    assert open_volume(tmp_path / "scan.nrrd").spacing_mm == pytest.approx((30 * side, 20 * side, 10 * side))


@pytest.mark.parametrize(
    ("fields", "spacing_mm", "remark"),
    [
        ("spacings: 0 0 0\nunits: mm mm mm", None, "which is none"),
        ("spacings: nan 1 1\nunits: mm mm mm", None, "which is none"),
        ("spacings: 10 10 20", None, "no unit"),
        ("spacings: 1 1 1", None, "as programs do that do not know it"),
        ("spacings: 1 1 1\nunits: mm mm mm", (1, 1, 1), "as programs do that do not know it"),
        ("spacings: 10 10 10\nunits: mm mm mm", (10, 10, 10), "micro-CT has 0.00005 to 5 mm"),
        ("space: RAS\nspace directions: (1,0,0) (0,1,0) (0,0,1)", None, "as programs do that do not know it"),
        ("space: RAS\nspace directions: (0.5,0,0) (0,-0.5,0) (0,0,0.5)", (0.5, 0.5, 0.5), None),
        ("space directions: (1,0,0) (0,1,0) (0,0,2) (0,0,2)\nspace units: mm mm mm mm", (2, 1, 1), None),
        ("space directions: (x,0,0) (0,1,0) (0,0,2)\nspace units: mm mm mm", None, "which is none"),
    ],
)
def test_what_programs_fill_in_is_no_spacing(tmp_path, fields, spacing_mm, remark):
    header = f"{HEADER}dimension: 3\nsizes: 50 33 20\n{fields}\n\n"
    (tmp_path / "scan.nrrd").write_bytes(header.encode() + IMAGE.tobytes())
    volume = open_volume(tmp_path / "scan.nrrd")
    assert volume.spacing_mm == spacing_mm
    assert (remark is None and volume.warnings == ()) or remark in " ".join(volume.warnings)


@pytest.mark.parametrize(
    ("sizes", "fields"),
    [
        ("1 50 33 20", "kinds: list domain domain domain\nspace directions: none (.01,0,0) (0,.02,0) (0,0,.03)"),
        ("50 1 33 20", "kinds: space none space space\nspace directions: (.01,0,0) none (0,.02,0) (0,0,.03)"),
        ("1 50 33 20 1", "space directions: none (.01,0,0) (0,.02,0) (0,0,.03) none"),
        ("1 50 33 20", 'space directions: none (10,0,0) (0,20,0) (0,0,30)\nspace units: "um" "um" "um"'),
        ("50 33 20 1", "spacings: .01 .02 .03 1\nunits: mm mm mm s\nkinds: domain domain domain time"),
    ],
)
def test_axes_of_one_entry_are_dropped_wherever_they_are(tmp_path, sizes, fields):
    header = f"{HEADER}dimension: {len(sizes.split())}\nsizes: {sizes}\nspace: RAS\n{fields}\n\n"
    (tmp_path / "scan.nrrd").write_bytes(header.encode() + IMAGE.tobytes())
    volume = open_volume(tmp_path / "scan.nrrd")
    assert volume.spacing_mm == pytest.approx((0.03, 0.02, 0.01))
    np.testing.assert_array_equal(volume.read(WHOLE), IMAGE)


def test_a_volume_of_one_slice_keeps_it_beside_a_list_of_one(tmp_path):
    fields = 'kinds: domain domain list domain\nspacings: .01 .02 7 .03\nunits: "mm" "mm" "" "mm"'
    header = f"{HEADER}dimension: 4\nsizes: 50 660 1 1\n{fields}\n\n"
    (tmp_path / "scan.nrrd").write_bytes(header.encode() + IMAGE.tobytes())
    volume = open_volume(tmp_path / "scan.nrrd")
    assert (volume.shape, volume.spacing_mm) == ((1, 660, 50), (0.03, 0.02, 0.01))


def test_comments_and_keys_of_the_users_own_are_no_fields(tmp_path):
    fields = "# dimension: 7\ndimension: 3\nsizes: 50 33 20\nsizes:=1 1 1\ntype:=double\n#\n\n"
    (tmp_path / "scan.nrrd").write_bytes((HEADER + fields).encode() + IMAGE.tobytes())
    np.testing.assert_array_equal(open_volume(tmp_path / "scan.nrrd").read(WHOLE), IMAGE)


@pytest.mark.parametrize("changes", [("encoding: raw", "encoding: gzip"), ("endian", "line skip: 1\nendian")])
def test_several_files_are_raw_and_have_no_lines_to_skip(tmp_path, changes):
    header = f"{HEADER.replace(*changes)}dimension: 3\nsizes: 50 33 20\ndata file: LIST\na.raw\nb.raw\n"
    (tmp_path / "scan.nhdr").write_text(header)
    with pytest.raises(InputError, match=r"in 2 files of encoding .* save them as one"):
        open_volume(tmp_path / "scan.nhdr")


@pytest.mark.parametrize("kind", ["list", "vector", "3-color", "time"])
def test_more_than_one_value_a_voxel_is_refused(tmp_path, kind):
    header = f"{HEADER}dimension: 4\nsizes: 2 50 33 10\nkinds: {kind} domain domain domain\n\n"
    (tmp_path / "scan.nrrd").write_bytes(header.encode() + IMAGE.tobytes())
    with pytest.raises(InputError, match=f"{kind}.*save one channel"):
        open_volume(tmp_path / "scan.nrrd")


@pytest.mark.parametrize("planes", [1, 4])
@pytest.mark.parametrize("named", ["LIST 3", "list", "part_%02d.raw 1 {n} 1", "part_%02d.raw {n} 1 -1"])
def test_the_voxels_may_lie_in_several_files(tmp_path, planes, named):
    parts = [IMAGE[z : z + planes] for z in range(0, len(IMAGE), planes)]
    names = [f"part_{number:02d}.raw" for number in range(1, len(parts) + 1)]
    backwards = named.endswith("-1")
    for name, part in zip(reversed(names) if backwards else names, parts, strict=True):
        (tmp_path / name).write_bytes(b"12345" + part.tobytes())
    files = "\n".join(names) if "list" in named.lower() else ""
    named = named.format(n=len(parts))
    header = f"{HEADER}dimension: 3\nsizes: 50 33 20\nbyte skip: 5\ndata file: {named}\n{files}\n"
    (tmp_path / "scan.nhdr").write_text(header)
    volume = open_volume(tmp_path / "scan.nhdr")
    np.testing.assert_array_equal(volume.read(WHOLE), IMAGE)
    np.testing.assert_array_equal(volume.read(BOX), IMAGE[BOX.slices])
    (tmp_path / names[3]).write_bytes(b"cut")
    with pytest.raises(InputError, match="cut short"):
        open_volume(tmp_path / "scan.nhdr")


@pytest.mark.parametrize("numbers", ["1 20", "1 20 0", "20 1 1", "one 20 1", f"1 {'9' * 5000} 1", f"1 20 {'9' * 4500}"])
def test_a_pattern_of_files_that_is_none_is_refused_in_a_line(tmp_path, numbers):
    header = f"{HEADER}dimension: 3\nsizes: 50 33 20\ndata file: slice_%d.raw {numbers}\n"
    (tmp_path / "scan.nhdr").write_text(header)
    with pytest.raises(InputError, match=r"names the data files 'slice_%d\.raw .*correct the header") as error:
        open_volume(tmp_path / "scan.nhdr")
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.999])
def test_a_file_cut_short_is_refused_when_opened(tmp_path, encoding, share):
    path = write(tmp_path / "scan.nrrd", encoding=encoding)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"scan\.nrrd: .*(copy or export|check what it is|save it as 5)"):
        open_volume(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"NRRD0", b"nrrd0", "does not start with NRRD"),
        (b"NRRD0", b"NRRD9", "version '9005'"),
        (b"encoding: raw", b"encoding: hex", "the encoding is hex; the supported ones are raw"),
        (b"type: uint16", b"type: block", "type 'block'"),
        (b"sizes: 50 33 20", b"sizes: 50 33 20 2", "dimension is 3, sizes are 50 33 20 2"),
        (b"sizes: 50 33 20\n", b"", "lacks the field 'sizes'"),
        (b"sizes: 50 33 20", b"sizes: 50 33 x", "'sizes' of the NRRD header is '50 33 x'"),
        (b"dimension: 3", b"no colon", "the line 'no colon', which is not a field of the format"),
    ],
)
def test_other_headers_are_refused(tmp_path, old, new, message):
    path = write(tmp_path / "scan.nrrd", encoding="raw")
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        open_volume(path)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int64", "float32"])
def test_what_is_written_is_read_by_pynrrd_and_simpleitk(tmp_path, dtype):
    path = str(tmp_path / "scan.nrrd")
    image = (IMAGE % 200).astype(dtype)
    write_volume(path, image, (0.03, 0.02, 0.01))
    voxels, header = nrrd.read(path, index_order="C")
    assert (voxels.dtype, header["space units"]) == (np.dtype(dtype), ["mm"] * 3)
    np.testing.assert_array_equal(header["space directions"], DIRECTIONS)
    np.testing.assert_array_equal(voxels, image)
    itk = pytest.importorskip("SimpleITK")
    found = itk.ReadImage(path)
    assert found.GetSpacing() == pytest.approx((0.01, 0.02, 0.03))
    np.testing.assert_array_equal(itk.GetArrayFromImage(found), image)


def test_a_dtype_that_nrrd_does_not_have_is_refused(tmp_path):
    with pytest.raises(InputError, match="NRRD cannot hold float16"):
        write_volume(tmp_path / "scan.nrrd", IMAGE.astype(np.float16))

from __future__ import annotations

import dataclasses
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ps3d_rt import model as model_module
from ps3d_rt.errors import InputError
from ps3d_rt.model import MANIFEST, ModelBundle, bundled_models, load_model, write_bundle


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = folder / MANIFEST
    content = json.loads(manifest.read_text())
    change(content)
    manifest.write_text(json.dumps(content))


def draft(**changes: Any) -> ModelBundle:
    fields: dict[str, Any] = {
        "name": "m",
        "patch": (8, 8, 8),
        "target_size_voxels": 8.0,
        "border_thickness_voxels": 1.0,
        "members": ("a.onnx",),
    }
    return ModelBundle(**(fields | changes))


def test_what_is_written_is_what_is_read(tmp_path: Path, tiny_networks: tuple[Path, Path]) -> None:
    wanted = draft(
        members=("fold_1.onnx", "fold_0.onnx"),
        gray_scheme="constants",
        gray_mean=5850.3,
        gray_std=7078.0,
        gray_floor=-2.0,
        lowpass=False,
        overlap=0.5,
        min_relative_volume=0.01,
        min_confidence=0.7,
        min_diameter_voxels=3.0,
        mirror_axes=(0, 2),
        core_bias=-0.05,
        precisions={"int8": ("one.onnx", "zero.onnx")},
        gates={"int8": {"passed": True, "f1_instance": 0.8}},
        provenance={"data": ["sand", 3], "f1": 0.9},
        licence="CC-BY-4.0",
    )
    files = {"fold_0.onnx": tiny_networks[0], "fold_1.onnx": tiny_networks[1], "CARD.md": Path(__file__)}
    files |= {"one.onnx": tiny_networks[1], "zero.onnx": tiny_networks[0]}
    written = write_bundle(tmp_path / "deep" / "m.ps3d", wanted, files)
    read = load_model(tmp_path / "deep" / "m.ps3d")
    assert read == written
    assert dataclasses.replace(read, path=wanted.path, sha256={}) == wanted
    assert [p.read_bytes() for p in read.onnx_paths] == [tiny_networks[1].read_bytes(), tiny_networks[0].read_bytes()]
    assert sorted(read.sha256) == ["CARD.md", "fold_0.onnx", "fold_1.onnx", "one.onnx", "zero.onnx"]
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["m.ps3d"], "nothing temporary is left"


def test_every_field_of_the_manifest_is_documented() -> None:
    source = Path(model_module.__file__).read_text()
    for field in dataclasses.fields(ModelBundle):
        declaration = source.index(f"\n    {field.name}: ")
        assert source[declaration + 1 :].splitlines()[1].startswith('    """'), field.name


def test_the_hash_tells_networks_and_their_order_apart(tmp_path: Path, tiny_networks: tuple[Path, Path]) -> None:
    one, other = tiny_networks
    both = ("a.onnx", "b.onnx")
    ab = write_bundle(tmp_path / "ab.ps3d", draft(members=both), {"a.onnx": one, "b.onnx": other})
    ba = write_bundle(tmp_path / "ba.ps3d", draft(members=both), {"a.onnx": other, "b.onnx": one})
    turned = dataclasses.replace(ab, members=both[::-1])
    renamed = write_bundle(tmp_path / "c.ps3d", draft(members=("x", "y")), {"x": one, "y": other, "CARD": one})
    assert ab.hash != ba.hash == turned.hash
    assert ab.hash == renamed.hash, "it is about the networks, not about names and GPUs"
    assert len(ab.hash) == 64


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"schema_version": 2}, "schema_version is 2"),
        ({"name": "../m"}, "name"),
        ({"patch": (8, 0, 8)}, "patch"),
        ({"target_size_voxels": 0.0}, "target_size_voxels"),
        ({"border_thickness_voxels": -1.0}, "border_thickness_voxels"),
        ({"gray_scheme": "otsu"}, "otsu"),
        ({"gray_scheme": "constants"}, "gray_mean and gray_std"),
        ({"gray_scheme": "constants", "gray_mean": 1.0, "gray_std": 0.0}, "gray_mean and gray_std"),
        ({"gray_mean": 1.0}, "gray_mean and gray_std"),
        ({"gray_ceiling": 0.0}, "gray_ceiling"),
        ({"gray_ceiling": 2.0, "gray_scheme": "constants", "gray_mean": 1.0, "gray_std": 1.0}, "gray_ceiling"),
        ({"overlap": 1.0}, "overlap"),
        ({"min_relative_volume": -0.1}, "min_relative_volume"),
        ({"mirror_axes": (0, 3)}, "mirror_axes"),
        ({"mirror_axes": (2, 0)}, "mirror_axes"),
        ({"mirror_axes": (1, 1)}, "mirror_axes"),
        ({"min_confidence": 1.0}, "min_confidence"),
        ({"min_diameter_voxels": -1.0}, "min_diameter_voxels"),
        ({"core_bias": 1.0}, "core_bias"),
        ({"core_bias": -1.0}, "core_bias"),
        ({"core_bias": float("nan")}, "core_bias"),
        ({"classes": ("core", "background", "border")}, "classes"),
        ({"members": ()}, "at least one ONNX file"),
        ({"members": ("../a.onnx",)}, "leaves the bundle's folder"),
        ({"members": ("/a.onnx",)}, "leaves the bundle's folder"),
        ({"members": ("..\\a.onnx",)}, "leaves the bundle's folder"),
        ({"members": ("c:a.onnx",)}, "leaves the bundle's folder"),
        ({"members": (MANIFEST,)}, "leaves the bundle's folder"),
        ({"sha256": {"..": "0"}}, "leaves the bundle's folder"),
    ],
)
def test_a_bundle_outside_its_bounds_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        draft(**changes)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("schema_version", 2, "schema_version is 2, this ps3d-rt reads 1"),
        ("schema_version", None, "schema_version is None"),
        ("name", 3, "name is 3, not a text; export"),
        ("patch", [16, 16], r"model\.json: patch is \[16, 16\], not a list of three whole numbers"),
        ("patch", [16, 16, 16.0], "not a list of three whole numbers"),
        ("patch", [16, 16, True], "not a list of three whole numbers"),
        ("patch", "168", "not a list of three whole numbers"),
        ("target_size_voxels", "60", "not a finite number;"),
        ("target_size_voxels", float("nan"), "not a finite number;"),
        ("overlap", True, "overlap is True, not a finite number;"),
        ("lowpass", 1, "not true or false"),
        ("members", ["a.onnx", 3], "not a list of texts"),
        ("members", ["../a.onnx"], "leaves the bundle's folder"),
        ("members", ["a.onnx", "b.onnx"], "no sha256 for b.onnx"),
        ("mirror_axes", [0, True], "not a list of whole numbers"),
        ("mirror_axes", 1, "not a list of whole numbers"),
        ("mirror_axes", None, "not a list of whole numbers"),
        ("mirror_axes", [3], "mirror_axes is"),
        ("core_bias", "0", "not a finite number;"),
        ("core_bias", None, "not a finite number;"),
        ("sha256", {"a.onnx": 5}, "not an object of texts"),
        ("sha256", [], "not an object of texts"),
        ("gray_mean", "x", "not a finite number or null"),
        ("gray_ceiling", float("inf"), "not a finite number or null"),
        ("path", "/elsewhere", "unknown fields"),
        ("warnings", ["none"], "unknown fields"),
        ("provenance", "mine", "not an object;"),
    ],
)
def test_a_wrong_value_in_the_manifest_is_named(tiny_bundle: ModelBundle, key: str, value: object, says: str) -> None:
    edit_manifest(tiny_bundle.path, lambda content: content.update({key: value}))
    with pytest.raises(InputError, match=says):
        load_model(tiny_bundle.path)


def test_fields_that_came_later_may_be_missing_and_are_written_only_where_they_say_something(
    tiny_bundle: ModelBundle, tmp_path: Path
) -> None:
    later = {"gray_floor", "gray_ceiling", "mirror_axes", "core_bias"}
    later |= {"min_confidence", "min_diameter_voxels", "precisions", "gates"}
    assert (tiny_bundle.gray_floor, tiny_bundle.mirror_axes, tiny_bundle.core_bias) == (None, (), 0)
    assert (tiny_bundle.min_confidence, tiny_bundle.min_diameter_voxels) == (0, 0)
    assert not later & json.loads((tiny_bundle.path / MANIFEST).read_text()).keys(), "older versions can read it"
    files = {"a.onnx": tiny_bundle.path / "a.onnx"}
    said = {"gray_floor": -1.5, "mirror_axes": (1,), "core_bias": 0.1, "min_confidence": 0.8}
    said |= {"min_diameter_voxels": 3.0, "gray_ceiling": 2.5}
    said |= {"precisions": {"int8": ("b.onnx",)}, "gates": {"bf16": {"passed": False}}}
    files |= {"b.onnx": tiny_bundle.path / "a.onnx"}
    changed = write_bundle(tmp_path / "new.ps3d", dataclasses.replace(tiny_bundle, **said), files)
    content = json.loads((changed.path / MANIFEST).read_text())
    assert {key: content[key] for key in later} == said | {"mirror_axes": [1], "precisions": {"int8": ["b.onnx"]}}


def test_a_bundle_of_an_earlier_version_is_read_and_its_max_doubt_has_no_effect(tiny_bundle: ModelBundle) -> None:
    edit_manifest(tiny_bundle.path, lambda content: content.update(max_doubt=5.0))
    read = load_model(tiny_bundle.path)
    assert read.rules == tiny_bundle.rules
    (warning,) = read.warnings
    assert "max_doubt" in warning
    assert "no effect" in warning
    assert not {"warnings", "max_doubt"} & read.to_json().keys()
    edit_manifest(tiny_bundle.path, lambda content: content.update(max_doubt=0.0))
    assert load_model(tiny_bundle.path).warnings == (), "it had no effect before either"


def test_missing_and_unknown_fields_are_named(tiny_bundle: ModelBundle) -> None:
    edit_manifest(tiny_bundle.path, lambda content: content.update(pitch=content.pop("patch")))
    with pytest.raises(InputError, match=r"missing fields \['patch'\], unknown fields \['pitch'\]"):
        load_model(tiny_bundle.path)


@pytest.mark.parametrize(
    ("text", "says"), [(b"{", "not valid JSON"), (b"\xff{}", "not valid JSON"), (b"[1]", "holds a list")]
)
def test_a_manifest_that_is_no_json_object_is_refused(tiny_bundle: ModelBundle, text: bytes, says: str) -> None:
    (tiny_bundle.path / MANIFEST).write_bytes(text)
    with pytest.raises(InputError, match=says):
        load_model(tiny_bundle.path)


def test_a_folder_without_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no model\.json"):
        load_model(tmp_path)


def test_a_missing_file_is_named(tiny_bundle: ModelBundle) -> None:
    (tiny_bundle.path / "a.onnx").unlink()
    with pytest.raises(InputError, match=r"a\.onnx is missing"):
        load_model(tiny_bundle.path)


def test_one_changed_byte_is_found(tiny_bundle: ModelBundle) -> None:
    network = tiny_bundle.path / "a.onnx"
    content = bytearray(network.read_bytes())
    content[-1] ^= 1
    network.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.onnx is not the file model\.json describes"):
        load_model(tiny_bundle.path)


def test_unlisted_files_do_not_matter(tiny_bundle: ModelBundle) -> None:
    (tiny_bundle.path / ".DS_Store").write_bytes(b"x")
    assert load_model(str(tiny_bundle.path)) == tiny_bundle


def test_names_find_the_bundled_models(
    tiny_bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    shutil.copytree(tiny_bundle.path, models / "default.ps3d")
    shutil.copytree(tiny_bundle.path, models / "sand.ps3d")
    monkeypatch.setattr(model_module, "_bundled_folder", lambda: models)
    assert bundled_models() == ("default", "sand")
    assert load_model().path == load_model("default").path == models / "default.ps3d"
    assert load_model("sand").path == models / "sand.ps3d"
    with pytest.raises(InputError, match=r"no model 'gravel'.*default, sand"):
        load_model("gravel")


def zip_bundle(bundle: ModelBundle, archive: Path, prefix: str) -> Path:
    with zipfile.ZipFile(archive, "w") as target:
        for file in sorted(bundle.path.iterdir()):
            target.write(file, prefix + file.name)
    return archive


@pytest.mark.parametrize("prefix", ["", "tiny.ps3d/"])
def test_a_zipped_bundle_is_the_same_bundle(tiny_bundle: ModelBundle, tmp_path: Path, prefix: str) -> None:
    read = load_model(zip_bundle(tiny_bundle, tmp_path / "z.ps3d", prefix))
    assert dataclasses.replace(read, path=tiny_bundle.path) == tiny_bundle
    assert read.onnx_paths[0].read_bytes() == tiny_bundle.onnx_paths[0].read_bytes()


def test_a_zip_cannot_write_outside(tiny_bundle: ModelBundle, tmp_path: Path) -> None:
    archive = tmp_path / "z.ps3d"
    load_model(zip_bundle(tiny_bundle, archive, "../../"))  # the folder part is ignored
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr("..", b"x")
    with pytest.raises(InputError, match="unsafe name"):
        load_model(archive)
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr("here/model.json", b"{}")
        target.writestr("there/a.onnx", b"x")
    with pytest.raises(InputError, match="one folder of at most"):
        load_model(archive)


def test_a_zip_that_grows_too_large_is_refused(
    tiny_bundle: ModelBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = zip_bundle(tiny_bundle, tmp_path / "z.ps3d", "")
    monkeypatch.setattr(model_module, "MAX_UNPACKED_BYTES", 1000)
    with pytest.raises(InputError, match="unpacks to"):
        load_model(archive)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_zip_is_refused_or_read(tiny_bundle: ModelBundle, tmp_path: Path, compression: int) -> None:
    with zipfile.ZipFile(tmp_path / "whole.ps3d", "w", compression) as target:
        target.writestr("model.json", (tiny_bundle.path / "model.json").read_bytes())
    whole, kinds = (tmp_path / "whole.ps3d").read_bytes(), set()
    for at in range(len(whole)):
        broken = bytearray(whole)
        broken[at] ^= 1  # at one place it means: encrypted
        (tmp_path / "z.ps3d").write_bytes(broken)
        with pytest.raises(InputError) as said:
            load_model(tmp_path / "z.ps3d")
        kinds.add(type(said.value.__cause__))
    assert RuntimeError in kinds


def test_a_file_that_is_no_zip_is_refused(tiny_bundle: ModelBundle) -> None:
    with pytest.raises(InputError, match="neither"):
        load_model(tiny_bundle.path / "a.onnx")


def test_nothing_is_overwritten_unasked(tiny_bundle: ModelBundle, tiny_networks: tuple[Path, Path]) -> None:
    other = {"a.onnx": tiny_networks[1]}
    with pytest.raises(InputError, match="exists"):
        write_bundle(tiny_bundle.path, tiny_bundle, other)
    assert load_model(tiny_bundle.path) == tiny_bundle
    replaced = write_bundle(tiny_bundle.path, tiny_bundle, other, overwrite=True)
    assert replaced.onnx_paths[0].read_bytes() == tiny_networks[1].read_bytes()


def test_a_folder_that_is_no_bundle_is_never_replaced(tmp_path: Path, tiny_networks: tuple[Path, Path]) -> None:
    folder = tmp_path / "thesis.ps3d"
    folder.mkdir()
    with pytest.raises(InputError, match="exists"):
        write_bundle(folder, draft(), {"a.onnx": tiny_networks[0]}, overwrite=True)


@pytest.mark.parametrize(
    ("folder", "names", "says"),
    [
        ("m.ps3d", ["b.onnx"], r"no file given for the networks \['a.onnx'\]"),
        ("m", ["a.onnx"], r"ends in \.ps3d"),
        ("m.ps3d", ["a.onnx", "../b"], "leaves the bundle's folder"),
    ],
)
def test_a_bundle_that_could_not_be_read_is_not_written(
    tmp_path: Path, tiny_networks: tuple[Path, Path], folder: str, names: list[str], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        write_bundle(tmp_path / folder, draft(), dict.fromkeys(names, tiny_networks[0]))
    assert list(tmp_path.iterdir()) == []


def test_every_type_of_a_field_has_its_words():
    assert set(model_module._kinds().values()) <= model_module._ALLOWED.keys()

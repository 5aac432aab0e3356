import json

import imagecodecs
import numpy as np
import pytest

import real_sand
from ps3d_rt import api
from ps3d_rt.io.base import ArrayVolume


def test_the_largest_particles_share_of_the_foreground():
    labels = np.array([[[1, 1, 1, 2, 0, 3, 0, 0]]], np.uint32)
    found = real_sand.facts(labels)
    assert found["particles"] == 3
    assert found["foreground_share"] == 5 / 8
    assert found["largest_share_of_foreground"] == 3 / 5
    assert found["median_diameter_voxels"] == pytest.approx(np.cbrt(6 / np.pi))


def test_nothing_found_has_no_diameter():
    found = real_sand.facts(np.zeros((2, 2, 2), np.uint32))
    assert found == {
        "particles": 0,
        "foreground_share": 0.0,
        "largest_share_of_foreground": 0.0,
        "mean_diameter_voxels": None,
        "median_diameter_voxels": None,
    }


def test_without_the_scan_it_says_so_and_writes_nothing(tmp_path, capsys):
    out, picture = tmp_path / "real_sand.json", tmp_path / "real_sand.png"
    real_sand.main(["--scan", str(tmp_path / "sand.raw"), "--out", str(out), "--picture", str(picture)])
    message = capsys.readouterr().err
    assert "skipped" in message
    assert "sand.raw" in message
    assert not list(tmp_path.iterdir())


def test_the_script_writes_facts_and_picture(grains, bundle, tmp_path, monkeypatch, capsys):
    image, reference = grains
    monkeypatch.setattr(real_sand, "SHAPE", image.shape)
    monkeypatch.setattr(api, "load_model", lambda name: bundle)
    scan, out, picture = tmp_path / "sand.raw", tmp_path / "out" / "sand.json", tmp_path / "docs" / "sand.png"
    scan.write_bytes(image.astype(np.uint8).tobytes())
    largest = tmp_path / "docs" / "largest.png"
    options = ["--out", str(out), "--picture", str(picture), "--largest", str(largest), "--engine", "fake"]
    real_sand.main(["--scan", str(scan), *options])
    content = json.loads(out.read_text(encoding="utf-8"))
    assert content["found"]["particles"] > 0
    assert content["found"]["foreground_share"] == pytest.approx((reference > 0).mean(), abs=0.05)
    assert content["engine"]["name"] == "fake"
    assert content["scan"]["shape"] == [24, 24, 40]
    assert content["machine"]["cpu"]
    assert content["seconds"] > 0
    assert str(tmp_path) not in json.dumps(content | {"command": ""})
    assert json.loads(capsys.readouterr().out)["particles"] == content["found"]["particles"]
    rgb = imagecodecs.png_decode(picture.read_bytes())
    # Rows: across z 24 x 40, across y 24 x 40, across x 24 x 24, at 2 pixels a voxel, 12 pixels between.
    assert rgb.shape == (3 * 48 + 2 * 12, 2 * 80 + 12, 3)
    left, right = rgb[:48, :80], rgb[:48, 92:]
    assert (left[..., 0] == left[..., 1]).all()
    assert (right[..., 0] != right[..., 1]).any()
    assert (rgb[48:60] == 255).all()
    # Across z, y and x, side by side.
    assert imagecodecs.png_decode(largest.read_bytes()).shape == (48, 80 + 12 + 80 + 12 + 48, 3)


def test_the_outline_is_that_of_the_largest_particle_through_its_middle():
    labels = np.zeros((7, 9, 9), np.uint32)
    labels[0, 0, 0], labels[2:5, 3:6, 3:6] = 1, 2
    scan = ArrayVolume(np.arange(labels.size, dtype=np.float32).reshape(labels.shape), 0.01)
    rgb = real_sand.draw_largest(scan, labels)[: 9 * 2, : 9 * 2]  # plane 3 across z
    coloured = np.argwhere(rgb[..., 0] != rgb[..., 1])
    assert coloured.min(axis=0).tolist() == [6, 6]
    assert coloured.max(axis=0).tolist() == [11, 11]
    nothing = real_sand.draw_largest(scan, np.zeros_like(labels))
    assert (nothing[..., 0] == nothing[..., 1]).all()

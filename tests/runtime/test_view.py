"""``ps3d-rt view``: an output in napari, without a window, and what Neuroglancer is told."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import ps3d_rt.view.napari_layers
from ps3d_rt.core.grid import Box
from ps3d_rt.io.table import read_table
from ps3d_rt.io.volume_writer import write_volume
from ps3d_rt.output import open_output
from ps3d_rt.view.colours import colours_by
from ps3d_rt.view.napari_layers import add_layers

SHAPE = (24, 56, 200)
needs_napari = pytest.mark.skipif(find_spec("napari") is None, reason="napari is not installed")


@pytest.fixture
def out(cli: Any, tmp_path: Path) -> Path:
    """An output of a scan with balls of three sizes, long enough for two resolutions."""
    z, y, x = np.indices(SHAPE).astype(float)
    radius = 4 + (x // 18) % 3
    distance = np.sqrt((z - 12) ** 2 + (y % 18 - 9) ** 2 + (x % 18 - 9) ** 2)
    noise = np.random.default_rng(0).normal(0, 100, SHAPE)
    write_volume(tmp_path / "ore.tif", (np.where(distance < radius, 30000, 9000) + noise).astype(np.uint16))
    options = ("--spacing", "0.03,0.02,0.01", "--particle-size", "0.2", "--engine", "fake")
    code, _, err = cli("predict", tmp_path / "ore.tif", tmp_path / "out", *options)
    assert code == 0, err
    return tmp_path / "out"


@needs_napari
@pytest.mark.filterwarnings("ignore")  # those of napari's own packages
def test_napari_gets_scan_labels_and_table(out: Path) -> None:
    from napari.components import ViewerModel  # noqa: PLC0415

    viewer = ViewerModel()
    table = read_table(out)
    with open_output(out) as output:
        add_layers(viewer, output, "volume_mm3")
        scan, particles = viewer.layers
        assert (scan.name, particles.name) == ("scan", "particles")
        np.testing.assert_allclose(scan.scale, (0.03, 0.02, 0.01))
        np.testing.assert_allclose(particles.scale, (0.03, 0.02, 0.01))
        assert scan.axis_labels == particles.axis_labels == ("z", "y", "x")
        labels = output.labels.read(Box.of_shape(SHAPE))
        assert [level.shape for level in particles.data] == [SHAPE, (12, 28, 100)]
        np.testing.assert_array_equal(np.asarray(particles.data[0][:]), labels)
        for k in (0, 12, slice(3, 20, 2)):
            np.testing.assert_array_equal(scan.data[k], output.scan.read(Box.of_shape(SHAPE))[k])
        np.testing.assert_array_equal(scan.data[5, 1:9, ::3], output.scan.read(Box.of_shape(SHAPE))[5, 1:9, ::3])
        viewer.dims.set_point(0, 0.36)
        assert particles.get_value((0.36, 0.18, 0.09), world=True) is not None
        assert set(table.columns()) < set(particles.features.columns)
        assert particles.features["index"].tolist() == table.label.tolist()
        smallest, largest = (int(table.label[i]) for i in (table.volume_mm3.argmin(), table.volume_mm3.argmax()))
        np.testing.assert_allclose(particles.colormap.map(largest)[:3], (250 / 255, 230 / 255, 50 / 255), atol=0.01)
        np.testing.assert_allclose(particles.colormap.map(smallest)[:3], (42 / 255, 30 / 255, 110 / 255), atol=0.01)
        assert particles.colormap.map(0)[3] == 0


@needs_napari
@pytest.mark.filterwarnings("ignore")
def test_without_the_scan_there_are_labels_only(out: Path) -> None:
    from napari.components import ViewerModel  # noqa: PLC0415

    (out.parent / "ore.tif").unlink()
    viewer = ViewerModel()
    with open_output(out) as output:
        add_layers(viewer, output)
        assert [layer.name for layer in viewer.layers] == ["particles"]


def test_without_napari_the_extra_is_named(cli: Any, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(ps3d_rt.view.napari_layers, "import_module", missing)
    code, _, err = cli("view", out)
    assert (code, "ps3d-rt[annotate]" in err, "--neuroglancer" in err) == (3, True, True)


def test_neuroglancer_gets_a_state_and_a_link(cli: Any, out: Path) -> None:
    assert cli("convert", out.parent / "ore.tif", out / "scan.ome.zarr", "--spacing", "0.03,0.02,0.01")[0] == 0
    code, link, err = cli("view", out, "--neuroglancer", "--color-by", "sphericity", "--address", "http://plant:81/")
    assert code == 0, err
    assert link == "https://neuroglancer-demo.appspot.com/#!http://plant:81/neuroglancer.json\n"
    assert "--cors -p 81" in err
    state = json.loads((out / "neuroglancer.json").read_text(encoding="utf-8"))
    assert state["dimensions"] == {"x": [0.01, "mm"], "y": [0.02, "mm"], "z": [0.03, "mm"]}
    assert state["position"] == [100, 28, 12]
    scan, particles = state["layers"]
    assert (scan["type"], scan["source"]) == ("image", "zarr://http://plant:81/scan.ome.zarr/")
    assert (particles["type"], particles["source"]) == (
        "segmentation",
        "zarr://http://plant:81/ore.ome.zarr/labels/particles/",
    )
    for layer in (scan, particles):
        path = out / layer["source"].removeprefix("zarr://http://plant:81/")
        assert "multiscales" in json.loads((path / "zarr.json").read_text(encoding="utf-8"))["attributes"]["ome"]
    table = read_table(out)
    assert list(particles["segmentColors"]) == [str(label) for label in table.label]
    assert particles["segmentColors"][str(table.label[table.sphericity.argmin()])] == "#2a1e6e"


@pytest.mark.parametrize("viewer", [(), ("--neuroglancer",)])
def test_what_cannot_be_shown_is_exit_code_2(cli: Any, out: Path, tmp_path: Path, viewer: tuple[str, ...]) -> None:
    code, _, err = cli("view", tmp_path, "--neuroglancer")
    assert (code, "has no run.json" in err) == (2, True)
    if viewer:
        code, _, err = cli("view", out, *viewer, "--color-by", "weight")
        assert (code, "no column 'weight'" in err, "volume_mm3" in err) == (2, True, True)


def test_values_that_are_missing_or_all_alike_have_colours_too(out: Path) -> None:
    table = read_table(out)
    assert np.isfinite(colours_by(table, "touches_edge")).all()
    alike = replace(table, sphericity=np.ones(len(table)))
    assert len(np.unique(colours_by(alike, "sphericity"), axis=0)) == 1
    missing = replace(table, elongation=np.append(np.nan, table.elongation[1:]))
    assert colours_by(missing, "elongation")[0].tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("where", ["Viewer", "run"])
def test_without_opengl_there_is_a_message(cli: Any, out: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise RuntimeError("Could not create GL context")

    napari = SimpleNamespace(Viewer=lambda **options: None, run=lambda: None)
    setattr(napari, where, fail)
    monkeypatch.setattr(ps3d_rt.view.napari_layers, "import_napari", lambda: napari)
    monkeypatch.setattr(ps3d_rt.view.napari_layers, "add_layers", lambda *layers: None)
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    code, _, err = cli("view", out)
    assert (code, "Traceback" in err) == (3, False)
    assert "needs a screen and OpenGL; look at the output in a browser" in err
    assert err.rstrip().endswith("– Could not create GL context")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a screen")
def test_without_a_screen_napari_is_not_started(cli: Any, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ps3d_rt.view.napari_layers, "import_napari", lambda: None)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    code, _, err = cli("view", out)
    assert (code, "DISPLAY is not set" in err) == (3, True)

"""A result in Python: short to look at, its table in other libraries, saved, opened again, and paths everywhere."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import ps3d_rt
from ps3d_rt.core.grid import Box
from ps3d_rt.errors import CapabilityError, InputError
from ps3d_rt.events import RunDone, StageAdvanced, StageStarted, Warned, ignore
from ps3d_rt.io.volume_writer import write_volume
from ps3d_rt.notebook import _Bar, notebook_progress

GIVEN: dict[str, Any] = {"particle_size": 0.12, "engine": "fake"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scan")


@pytest.fixture(scope="module")
def scan(folder: Path) -> Path:
    """Nine bright balls, 0.12 mm across."""
    z, y, x = np.indices((24, 56, 56)).astype(float)
    distance = np.sqrt((z - 12) ** 2 + ((y - 1) % 18 - 9) ** 2 + ((x - 1) % 18 - 9) ** 2)
    write_volume(folder / "ore.mha", np.where(distance < 6, 30000, 9000).astype(np.uint16), 0.01)
    return folder / "ore.mha"


@pytest.fixture(scope="module")
def saved(folder: Path) -> list[Any]:
    return []


@pytest.fixture
def result(scan: Path, saved: list[Any]) -> ps3d_rt.Result:
    """Segmented once for all tests."""
    if not saved:
        saved.append(ps3d_rt.predict(scan, **GIVEN))
    found: ps3d_rt.Result = saved[0]
    return found


def test_it_is_short_to_look_at(result: ps3d_rt.Result) -> None:
    assert repr(result) == "<Result: 9 particles in 24 × 56 × 56 voxels>"
    assert repr(result.particles).startswith("<9 particles, ")
    assert len(repr(result.particles)) < 100
    page = result._repr_html_()
    assert page.count("<tr>") == 1 + 9
    assert "9 particles, " in page
    assert "equivalent_diameter_mm" in page


def test_columns_by_name_and_tables_of_other_libraries(result: ps3d_rt.Result, monkeypatch: pytest.MonkeyPatch) -> None:
    table = result.particles
    assert np.array_equal(table["volume_mm3"], table.volume_mm3)
    with pytest.raises(InputError, match="no column 'volume'; it has label, volume_voxels"):
        table["volume"]
    arrow = table.to_arrow()
    assert isinstance(arrow, pa.Table)
    assert set(table.columns()) < set(arrow.column_names)
    for name in ("pandas", "polars"):
        if find_spec(name) is not None:
            frame = getattr(table, f"to_{name}")()
            assert frame["volume_voxels"].to_list() == table.volume_voxels.tolist()
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(CapabilityError, match=f"pip install {name}"):
            getattr(table, f"to_{name}")()


def test_what_is_saved_is_what_opens_again(result: ps3d_rt.Result, tmp_path: Path) -> None:
    out = result.save(tmp_path / "out")
    assert {path.name for path in out.iterdir()} >= {"ore.ome.zarr", "particles.csv", "report.html", "run.json"}
    with pytest.raises(InputError, match="exists"):
        result.save(out)
    result.save(out, overwrite=True)
    again = ps3d_rt.open_result(out)
    assert np.array_equal(again.labels[12], result.labels[12])
    assert np.array_equal(np.asarray(again.labels), result.labels)
    assert np.array_equal(again.particles.volume_voxels, result.particles.volume_voxels)
    assert (len(again.dropped), again.run["particles"]) == (len(result.dropped), 9)
    assert json.loads(json.dumps(again.run)) == json.loads(json.dumps(result.run))
    with pytest.raises(InputError, match=r"run\.json"):
        ps3d_rt.open_result(tmp_path)


def test_the_report_is_a_page_for_a_notebook_and_a_file(result: ps3d_rt.Result, tmp_path: Path) -> None:
    report = result.report()
    assert "ore" in report.html
    assert report.save(tmp_path / "report.html").read_text(encoding="utf-8") == report.html
    assert report._repr_html_().startswith("<iframe srcdoc=")
    assert len(repr(report)) < 40


def test_it_is_shown_in_napari(result: ps3d_rt.Result, monkeypatch: pytest.MonkeyPatch) -> None:
    added: dict[str, Any] = {}

    class Viewer:
        def add_image(self, data: Any, **options: Any) -> None:
            added["scan"] = data

        def add_labels(self, data: Any, **options: Any) -> None:
            added["labels"], added["features"] = data, options["features"]

    monkeypatch.setattr("ps3d_rt.view.napari_layers.open_viewer", lambda title: Viewer())
    assert isinstance(result.show(), Viewer)
    assert added["scan"].shape == added["labels"].shape == (24, 56, 56)
    assert added["features"]["index"].tolist() == [*range(1, 10)]


def test_a_path_and_a_volume_do_where_an_array_does(result: ps3d_rt.Result, scan: Path, tmp_path: Path) -> None:
    path = tmp_path / "labels.mha"
    write_volume(path, result.labels, 0.01)
    with ps3d_rt.open_volume(path) as labels, ps3d_rt.open_volume(scan, spacing=0.02) as image:
        tables = [
            ps3d_rt.measure(result.labels, spacing=0.01, image=np.asarray(image)),
            ps3d_rt.measure(str(path), image=scan),
            ps3d_rt.measure(labels, image=image),
        ]
        assert ps3d_rt.evaluate(labels, path).f1_instance == ps3d_rt.evaluate(result.labels, labels).f1_instance == 1
        assert image.spacing_mm == (0.02, 0.02, 0.02)
    for table in tables:
        assert np.array_equal(table["volume_mm3"], tables[0]["volume_mm3"])
        assert np.allclose(table["gray_mean"], tables[0]["gray_mean"])
    with pytest.raises(InputError, match="pass spacing"):
        ps3d_rt.measure(result.labels)


KEYS: list[Any] = [0, -1, np.int64(3), slice(2, 9, 3), slice(None, None, -2), ..., (..., 4), (5, ..., slice(1, 3))]
KEYS += [(slice(3, 3),), (2, 3, 4), (slice(None), slice(50, 10, -7))]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_a_volume_reads_as_an_array_does(scan: Path, key: Any) -> None:
    with ps3d_rt.open_volume(scan) as volume:
        array = np.asarray(volume)
        assert (volume.ndim, len(volume), volume.shape, volume.dtype) == (3, 24, array.shape, array.dtype)
        assert np.array_equal(volume[key], array[key])
        assert volume[key].shape == array[key].shape


def test_a_volume_refuses_what_is_not_there(scan: Path) -> None:
    with ps3d_rt.open_volume(scan) as volume:
        for key in (24, -25, (0, 0, 0, 0), "z", [1, 2]):
            with pytest.raises(IndexError):
                volume[key]
        with pytest.raises(ValueError, match="without a copy"):
            volume.__array__(copy=False)
        assert np.asarray(volume, np.float32).dtype == np.float32
        assert repr(volume) == "<ore: 24 × 56 × 56 voxels, uint16, 0.01 × 0.01 × 0.01 mm a voxel>"


@pytest.mark.skipif(find_spec("dask") is None, reason="dask is not installed")
def test_a_volume_goes_into_dask(scan: Path) -> None:
    from dask import array as da  # noqa: PLC0415

    with ps3d_rt.open_volume(scan) as volume:
        lazy = da.from_array(volume, chunks=(8, 56, 56))
        assert int(lazy[5:20].max().compute(scheduler="synchronous")) == int(
            volume.read(Box((5, 0, 0), (20, 56, 56))).max()
        )


def test_outside_a_notebook_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    assert notebook_progress() is ignore

    class ZMQInteractiveShell: ...

    shell = type(sys)("IPython")
    shell.get_ipython = ZMQInteractiveShell  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", shell)
    assert isinstance(notebook_progress(), _Bar)


def test_a_notebook_gets_one_bar_that_ends_as_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pages: list[str] = []
    bar = _Bar()
    monkeypatch.setattr(bar, "_draw", lambda seconds: pages.append(bar._html(seconds)))
    monkeypatch.setattr("ps3d_rt.notebook._EVERY_SECONDS", 0.0)
    bar(StageStarted("network", 10, "patches", 1e6))
    bar(StageAdvanced("network", 5, resumed=1))
    bar(Warned("a <b> to know"))
    bar(RunDone(9, 1.5, 0, 0.0))
    assert 'value="5" max="10"' in pages[1]
    assert "50%" in pages[1]
    assert pages[-1] == "<div>9 particles in 1.5 s<br>⚠ a &lt;b&gt; to know</div>"

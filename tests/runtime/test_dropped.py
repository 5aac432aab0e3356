"""What is dropped is listed: where, how large, why; and its share reaches run.json, the report and the screen."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

from fake_engine import FakeEngine, fake_bundle
from ps3d_rt.cli.progress import listening
from ps3d_rt.core.dropped import Census, list_dropped
from ps3d_rt.core.particle_filter import Reason
from ps3d_rt.engines.shared import SharedEngine
from ps3d_rt.events import Event, RunDone, Warned
from ps3d_rt.io.base import ArrayVolume
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.table import FOREGROUND
from ps3d_rt.model import write_bundle
from ps3d_rt.output import predict_to_folder
from ps3d_rt.pipeline import RunResult, predict_volume
from ps3d_rt.plan import PredictConfig
from ps3d_rt.report import render_report
from ps3d_rt.report.pictures import Pictures

PATCH = (24, 24, 24)
BODIES = {
    "large and faint": ((14, 14, 14), 8.0, 0.59),
    "bright": ((14, 14, 40), 7.5, 1.0),
    "also bright": ((40, 14, 40), 7.5, 1.0),
    "faint": ((40, 14, 14), 6.0, 0.59),
    "speck": ((40, 32, 14), 1.5, 1.0),
    "fine": ((40, 34, 40), 3.0, 1.0),
}
"""Middle, radius, brightness."""
SHAPE = (54, 44, 54)


def masks() -> dict[str, np.ndarray[Any, Any]]:
    grid = np.indices(SHAPE)
    return {
        name: ((grid - np.reshape(middle, (3, 1, 1, 1))) ** 2).sum(0) <= radius**2
        for name, (middle, radius, _) in BODIES.items()
    }


def image() -> np.ndarray[Any, Any]:
    image = np.random.default_rng(0).normal(8000, 200, SHAPE)
    for name, mask in masks().items():
        image[mask] += 22000 * BODIES[name][2]
    return image.astype(np.uint16)


def scan() -> ArrayVolume:
    return ArrayVolume(image(), 0.01, name="bodies")


MODEL = fake_bundle(
    PATCH[0],
    target_size_voxels=13.0,
    gray_scheme="constants",
    gray_mean=20000.0,
    gray_std=4000.0,
    min_confidence=0.8,
    min_diameter_voxels=4.0,
    min_relative_volume=0.1,
)


def config(**changes: Any) -> PredictConfig:
    fields: dict[str, Any] = {"spacing_mm": (0.01,) * 3, "particle_size_mm": 0.13, "overlap": 0.5}
    return PredictConfig(**(fields | changes))


def run() -> RunResult:
    return predict_volume(scan(), MODEL, FakeEngine(PATCH), config())


def test_every_dropped_particle_is_listed_with_its_place_size_and_reason() -> None:
    result, there = run(), masks()
    labels, dropped = result.labels, result.dropped
    assert [bool((labels[mask] > 0).all()) for mask in there.values()] == [True, True, True, False, False, False]
    assert dropped.reason.tolist() == ["low confidence", "small relative volume", "below detection limit"]
    for name, place, volume in zip(
        ("faint", "fine", "speck"),
        zip(dropped.z_voxels, dropped.y_voxels, dropped.x_voxels, strict=True),
        dropped.volume_voxels,
        strict=True,
    ):
        assert there[name][place]
        assert volume == there[name].sum()
    assert np.allclose(dropped.z_mm, (dropped.z_voxels + 0.5) * 0.01)
    assert dropped.confidence[0] < 0.8 < dropped.confidence[1]


def test_a_large_particle_stays_however_unsure_the_network_is() -> None:
    result = run()
    large = np.unique(result.labels[masks()["large and faint"]])
    assert len(large) == 1
    assert result.particles.confidence is not None
    assert result.particles.confidence[large[0] - 1] < MODEL.min_confidence


@pytest.mark.parametrize("changes", [{"chunk": 9}, {"chunk": 20, "workers": 2, "threads": 2}])
def test_any_chunks_and_workers_drop_the_same(tmp_path: Path, changes: dict[str, Any]) -> None:
    want = run().dropped
    np.save(tmp_path / "bodies.npy", image())
    (tmp_path / "a.onnx").write_bytes(b"the fake engine reads none")
    model = write_bundle(tmp_path / "fake.ps3d", MODEL, {"a.onnx": tmp_path / "a.onnx"})
    engine = SharedEngine(FakeEngine(PATCH), partial(FakeEngine, PATCH))
    with open_volume(tmp_path / "bodies.npy", spacing_mm=0.01) as volume:
        predict_to_folder((volume, model, engine, config(**changes)), tmp_path / "out")
    found = parquet.read_table(tmp_path / "out" / "dropped.parquet")
    assert found.column_names == list(want.columns())
    for name, column in want.columns().items():
        assert found[name].to_pylist() == column.tolist(), name
    assert json.loads(found.schema.metadata[FOREGROUND]) == want.foreground_voxels


def test_number_and_share_are_in_run_json_the_report_and_the_last_line(
    tmp_path: Path, capsys: Any, caplog: Any
) -> None:
    caplog.set_level(logging.INFO, "ps3d_rt")
    volume, there = scan(), masks()
    with listening() as tell:
        run = predict_to_folder((volume, MODEL, FakeEngine(PATCH), config()), tmp_path / "out", on_event=tell)
    gone = {name: int(there[name].sum()) for name in ("faint", "fine", "speck")}
    share = sum(gone.values()) / sum(int(mask.sum()) for mask in there.values())
    assert run["dropped"] == json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))["dropped"]
    assert run["dropped"]["particles"] == 3
    assert run["dropped"]["volume_share"] == pytest.approx(share)
    assert run["dropped"]["largest_voxels"] == gone["faint"]
    assert {why: found["particles"] for why, found in run["dropped"]["by_reason"].items()} == {
        "below detection limit": 1,
        "low confidence": 1,
        "small relative volume": 1,
    }
    assert sum(found["volume_share"] for found in run["dropped"]["by_reason"].values()) == pytest.approx(share)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].endswith(f"; 3 dropped, {share:.2%} of the foreground")
    (warning,) = [text for text in run["warnings"] if "dropped" in text]
    assert f"3 particles with {share:.1%} of the foreground were dropped" in warning
    assert f"warning: {warning}" in lines
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert warning.split(" (")[0] in html
    assert "<dt>Dropped</dt><dd>3</dd>" in html


def test_a_little_is_dropped_without_a_warning() -> None:
    heard: list[Event] = []
    model = replace(MODEL, min_confidence=0.0, min_relative_volume=0.0)
    result = predict_volume(scan(), model, FakeEngine(PATCH), config(), heard.append)
    assert result.dropped.reason.tolist() == ["below detection limit"]
    assert 0 < result.dropped.volume_share < 0.01
    assert not [text for text in result.run["warnings"] if "dropped" in text]
    assert not [event for event in heard if isinstance(event, Warned) and "dropped" in event.text]
    assert isinstance(heard[-1], RunDone)
    assert (heard[-1].dropped, heard[-1].dropped_volume_share) == (1, result.dropped.volume_share)


def census() -> Census:
    """On a grid twice as fine as the scan of 3 × 4 × 5 voxels: four particles; the second and third are dropped."""
    first_index = np.ravel_multi_index(([0, 5, 0, 2, 5], [0, 7, 1, 3, 0], [0, 9, 3, 4, 1]), (6, 8, 10))
    return Census(
        shape=(6, 8, 10),
        volumes=np.array([0, 4, 8, 80, 8]),
        first_index=first_index,
        scores=np.array([0, 400, 400, 8000, 720]),
        reasons=np.array([0, 1, 2, 0, 0], np.uint8),
        numbers=np.array([0, 0, 0, 1, 2], np.uint32),
    )


def test_what_vanished_on_the_source_grid_is_listed_too_and_places_are_those_of_the_scan() -> None:
    found = list_dropped(
        census(), np.array([0, 1, 0]), zoom=(2.0, 2.0, 2.0), source=(3, 4, 5), spacing_mm=(1.0, 0.5, 2.0)
    )
    why = [Reason.LOW_CONFIDENCE, Reason.VANISHED_ON_SOURCE_GRID, Reason.BELOW_DETECTION_LIMIT]
    assert found.reason.tolist() == [reason.text for reason in why], "in raster order"
    assert found.volume_voxels.tolist() == [1.0, 1.0, 0.5]
    assert found.confidence.tolist() == [0.5, 0.9, 1.0]
    places = np.stack([found.z_voxels, found.y_voxels, found.x_voxels], axis=1)
    assert places.tolist() == [[0, 0, 1], [2, 0, 0], [2, 3, 4]]
    assert (found.z_mm[0], found.y_mm[0], found.x_mm[0]) == (0.5, 0.25, 3.0)
    assert found.foreground_voxels == 12.5
    assert found.volume_share == 0.2


def test_nothing_found_is_nothing_dropped() -> None:
    none = np.zeros(1, np.int64)
    census = Census((1, 1, 1), none, none, None, none.astype(np.uint8), none)
    found = list_dropped(census, none, zoom=(1.0,) * 3, source=(1, 1, 1), spacing_mm=(1.0,) * 3)
    assert (len(found), found.volume_share, found.warnings()) == (0, 0.0, [])
    assert found.facts() == {"particles": 0, "volume_share": 0.0, "largest_voxels": 0.0, "by_reason": {}}


def test_a_report_of_an_earlier_run_has_no_such_tile() -> None:
    assert "Dropped" not in render_report({"scan": {}}, run().particles, Pictures())

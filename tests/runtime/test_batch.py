"""``ps3d-rt predict`` for a folder: what is done, what is kept, what is named and skipped."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake_engine import FakeEngine, fake_bundle
from ps3d_rt.batch import run as batch_run
from ps3d_rt.batch.engine_pool import EnginePool
from ps3d_rt.batch.page import render_summary
from ps3d_rt.batch.request import fingerprint, request_of
from ps3d_rt.batch.run import failure_of, run_batch
from ps3d_rt.batch.samples import Sample
from ps3d_rt.batch.summary import Row, mixed, row_of, rows_of, size_curve, to_csv
from ps3d_rt.core.measure import measure
from ps3d_rt.errors import InputError, InterruptedRun
from ps3d_rt.events import SampleFailed, SamplesKept
from ps3d_rt.predict_options import PredictOptions
from ps3d_rt.run_record import RunRecord, ScanRecord

PATCH = (16, 16, 16)
MODEL = fake_bundle(patch=16)
OPTIONS = PredictOptions(model=MODEL, spacing=0.01, particle_size=0.12, chunk=32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three scans of one ball each, of other sizes."""
    (tmp_path / "scans").mkdir()
    z, y, x = np.indices((20, 20, 20))
    for name, radius in (("a", 5), ("b", 6), ("c", 7)):
        ball = (z - 10) ** 2 + (y - 10) ** 2 + (x - 10) ** 2 <= radius**2
        noise = np.random.default_rng(radius).normal(0, 100, ball.shape)
        np.save(tmp_path / "scans" / f"{name}.npy", (np.where(ball, 30000, 9000) + noise).astype(np.uint16))
    return tmp_path / "scans"


@pytest.fixture
def pool() -> Any:
    with EnginePool(OPTIONS, lambda bundle, options: FakeEngine(PATCH, threshold=1.0)) as pool:
        yield pool


def samples(folder: Path, *names: str) -> list[Sample]:
    return [Sample(name=name, path=folder / f"{name}.npy") for name in names]


def done(folder: Path, out: Path, pool: EnginePool, names: str = "abc", **options: Any) -> list[Any]:
    heard: list[Any] = []
    run_batch(samples(folder, *names), out, pool, OPTIONS, on_event=heard.append, **options)
    return heard


def test_one_engine_does_all_and_one_that_is_bad_is_named_and_skipped(
    folder: Path, tmp_path: Path, pool: EnginePool
) -> None:
    (folder / "b.npy").write_bytes(b"junk")
    heard = done(folder, tmp_path / "out", pool)
    (failed,) = [event for event in heard if isinstance(event, SampleFailed)]
    assert failed.name == "b"
    assert "is not a NumPy file" in failed.error
    assert pool.opened == 1
    rows = rows_of(samples(folder, *"abc"), tmp_path / "out")
    assert [(row.name, row.state, row.particles) for row in rows] == [
        ("a", "done", 1),
        ("b", "failed", None),
        ("c", "done", 1),
    ]
    assert rows[1].error == failed.error
    assert rows[0].d50_by_number_mm is None or rows[0].d50_by_number_mm < (rows[2].d50_by_number_mm or 0)


def test_run_again_it_does_what_is_missing_or_changed_and_nothing_else(
    folder: Path, tmp_path: Path, pool: EnginePool
) -> None:
    out = tmp_path / "out"
    done(folder, out, pool, "ab")
    written = (out / "b" / "run.json").read_bytes()
    np.save(folder / "a.npy", np.load(folder / "c.npy"))
    heard = done(folder, out, pool)
    assert [event for event in heard if isinstance(event, SamplesKept)] == [SamplesKept(1)]
    assert (out / "b" / "run.json").read_bytes() == written
    tables = [(out / name / "particles.csv").read_bytes() for name in "ac"]
    assert tables[0] == tables[1], "the new scan was segmented"


def test_a_scan_that_was_bad_and_is_mended_is_done(folder: Path, tmp_path: Path, pool: EnginePool) -> None:
    good = (folder / "a.npy").read_bytes()
    (folder / "a.npy").write_bytes(b"junk")
    done(folder, tmp_path / "out", pool, "a")
    assert failure_of(tmp_path / "out", "a") is not None
    (folder / "a.npy").write_bytes(good)
    done(folder, tmp_path / "out", pool, "a")
    assert failure_of(tmp_path / "out", "a") is None
    assert rows_of(samples(folder, "a"), tmp_path / "out")[0].state == "done"


def test_an_output_that_no_batch_wrote_is_left_alone(folder: Path, tmp_path: Path, pool: EnginePool) -> None:
    out = tmp_path / "out"
    done(folder, out, pool, "a")
    content = json.loads((out / "a" / "run.json").read_text())
    del content["request"]
    (out / "a" / "run.json").write_text(json.dumps(content))
    done(folder, out, pool, "a")
    assert "exists" in (failure_of(out, "a") or "")
    done(folder, out, pool, "a", overwrite=True)
    assert failure_of(out, "a") is None


def test_a_bug_in_one_sample_does_not_end_the_batch_and_a_full_disk_does(
    folder: Path, tmp_path: Path, pool: EnginePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, raised = batch_run.predict_to_folder, {"a": ZeroDivisionError("oh"), "b": InterruptedRun("disk is full")}

    def predict(opened: Any, *given: Any, **options: Any) -> Any:
        if opened[0].name in raised:
            raise raised[opened[0].name]
        return real(opened, *given, **options)

    monkeypatch.setattr(batch_run, "predict_to_folder", predict)
    with pytest.raises(InterruptedRun):
        done(folder, tmp_path / "out", pool)
    assert "by a bug" in (failure_of(tmp_path / "out", "a") or "")
    assert [row.state for row in rows_of(samples(folder, *"abc"), tmp_path / "out")] == ["failed", "missing", "missing"]


def test_a_sample_without_its_model_fails_and_a_batch_without_its_model_ends(
    folder: Path, tmp_path: Path, pool: EnginePool
) -> None:
    mine = Sample(name="a", path=folder / "a.npy", model="not-there.ps3d")
    run_batch([mine, *samples(folder, "b")], tmp_path / "out", pool, OPTIONS, on_event=lambda event: None)
    assert "there is no model" in (failure_of(tmp_path / "out", "a") or "")
    assert failure_of(tmp_path / "out", "b") is None
    options = PredictOptions(model="not-there.ps3d")
    with pytest.raises(InputError, match="there is no model"):
        run_batch(samples(folder, "b"), tmp_path / "o", EnginePool(options), options, on_event=lambda event: None)


def test_a_request_counts_what_decides_labels_and_nothing_else(folder: Path) -> None:
    path, bundle = folder / "a.npy", MODEL
    content = fingerprint(path)
    request = request_of(path, content, bundle, OPTIONS)
    assert request_of(path, content, bundle, replace(OPTIONS, workers=7, memory_gib=1.0)) == request
    for other in (replace(OPTIONS, spacing=0.02), replace(OPTIONS, dark=True), replace(OPTIONS, particle_size="auto")):
        assert request_of(path, content, bundle, other) != request
    assert request_of(path, content, fake_bundle(16, min_confidence=0.3), OPTIONS) != request
    os.utime(path, ns=(1, 1))
    assert fingerprint(path) != content
    (folder / "slices").mkdir()
    (folder / "slices" / "a").write_bytes(b"12")
    before = fingerprint(folder / "slices")
    (folder / "slices" / "b").write_bytes(b"")
    assert fingerprint(folder / "slices") != before


def test_the_command_writes_a_summary_and_ends_with_exit_code_5(cli: Any, folder: Path, tmp_path: Path) -> None:
    (folder / "b.npy").write_bytes(b"junk")
    options = ("--spacing", "0.01", "--particle-size", "0.12", "--engine", "fake")
    out = tmp_path / "out"
    code, printed, err = cli("predict", folder, out, *options, "--part", "1/2")
    assert (code, "b failed" in err) == (0, False)
    assert json.loads(printed)["done"] == 2
    assert not (out / "summary.json").exists()
    code, printed, err = cli("predict", folder, out, "--merge")
    assert (code, "1 of 3 samples are not done" in err) == (5, True)
    assert json.loads(printed)["missing"] == 1
    code, printed, err = cli("predict", folder, out, *options)
    assert (code, "2 done before" in err, "b failed" in err) == (5, True, True)
    assert json.loads((out / "summary.json").read_text()) == json.loads(printed)
    lines = list(csv.DictReader((out / "summary.csv").read_text().splitlines()))
    assert [(line["name"], line["state"], line["particles"]) for line in lines] == [
        ("a", "done", "1"),
        ("b", "failed", ""),
        ("c", "done", "1"),
    ]
    page = (out / "summary.html").read_text()
    assert page.count("<img") == 2
    assert 'href="a/report.html"' in page
    assert "is not a NumPy file" in page


def test_options_for_one_scan_are_refused(cli: Any, folder: Path, tmp_path: Path) -> None:
    code, _, err = cli("predict", folder, tmp_path / "out", "--roi", ":,:,:")
    assert (code, "--roi is for one scan" in err) == (2, True)
    code, _, err = cli("predict", folder, tmp_path / "out", "--merge", "--part", "1/2")
    assert (code, "leave --part out" in err) == (2, True)


def test_the_curve_is_the_share_of_the_volume_up_to_a_diameter() -> None:
    labels = np.zeros((8, 8, 8), np.uint8)
    labels[1:3, 1:3, 1:3], labels[4:7, 4:7, 4:7] = 1, 2
    table = measure(labels, (0.1, 0.1, 0.1))
    curve = size_curve(table, {"edge_correction": False, "diameter": "equivalent"}, labels.shape)
    small, large = sorted(table.equivalent_diameter_mm)
    assert (curve[0], curve[-1]) == ((pytest.approx(small), pytest.approx(8 / 35)), (pytest.approx(large), 1.0))
    assert [share for _, share in curve[:-1]] == pytest.approx([8 / 35] * (len(curve) - 1))


def test_mixed_versions_are_told_and_texts_are_no_formulas_and_no_html(tmp_path: Path) -> None:
    scan = ScanRecord(name="x", source="x", shape=(1, 1, 1), dtype="u1", spacing_mm=(1, 1, 1))
    one, two = (row_of(n, RunRecord(scan=scan, versions={"ps3d-rt": n})) for n in ("1", "2"))
    assert mixed([one, one]) == []
    assert "versions of ps3d-rt: 1, 2" in mixed([one, two])[0]
    evil = Row(name="=cmd()", state="failed", error="<script>alert(1)</script>")
    assert "'=cmd()" in to_csv([evil])
    page = render_summary([evil], tmp_path)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page

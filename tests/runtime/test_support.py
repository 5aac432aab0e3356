"""The zip for support: it tells how things went, and neither what was scanned nor where and whose it is."""

from __future__ import annotations

import json
import sys
import time
import zipfile
from pathlib import Path

import pytest

import ps3d_rt.cli.doctor  # noqa: F401 - to have it among the modules
from ps3d_rt.errors import InputError
from ps3d_rt.journal import Journal
from ps3d_rt.run_folder import work_of
from ps3d_rt.support import bundle as bundle_module
from ps3d_rt.support.bundle import SupportBundle
from ps3d_rt.support.collect import MOST_BYTES, collect
from ps3d_rt.support.shorten import Shortener
from ps3d_rt.watch import states
from ps3d_rt.watch.queue import Queue
from ps3d_rt.watch.states import Retries, State

HOME = "/" + "home/jane doe"
doctor_module = sys.modules["ps3d_rt.cli.doctor"]  # ps3d_rt.cli.doctor is the command of the same name
VOXELS = b"voxels of the customer"
RECORD = {
    "scan": {"name": "ore", "source": f"{HOME}/ore (1)/ore.tif", "shape": [1, 2, 3], "dtype": "u2", "spacing_mm": [1]},
    "size_distribution": {"d50_by_volume_mm": 0.12345},
    "particles": 25,
    "warnings": [f"{HOME}/ore (1)/ore.tif says nothing of its spacing."],
}


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The output of a watched folder: one scan done, one failed, one under way; with its voxels and tables."""
    monkeypatch.setattr(bundle_module.Path, "home", lambda: Path(HOME))
    out = tmp_path / "out"
    (out / "ore" / "ore.ome.zarr").mkdir(parents=True)
    (out / "ore" / "ore.ome.zarr" / "c").write_bytes(VOXELS)
    for name in ("particles.csv", "particles.parquet", "report.html"):
        (out / "ore" / name).write_bytes(VOXELS)
    (out / "ore" / "run.json").write_text(json.dumps(RECORD), encoding="utf-8")
    with Journal.open(work_of(out / "next"), {"scan": f"{HOME}/next.tif"}) as journal:
        journal.record("network/000007", VOXELS)
    with Queue(out / ".watch") as queue:
        queue.add(f"{HOME}/bad scan.tif", "1", "bad")
        taken = queue.take()
        assert taken is not None
        reason = f"{HOME}/bad scan.tif is cut short"
        queue.change(taken.id, lambda was: states.failed(was, reason, Retries(tries=1), time.time()))
    (out / ".watch" / "watch.log").write_text(f'  File "{HOME}/venv/lib/run.py", line 3\njane doe said no\n')
    (out / "quarantine").mkdir()
    (out / "quarantine" / "bad.txt").write_text(f"{HOME}/bad scan.tif\n\n{tmp_path}/out is full")
    return out


def texts(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as source:
        return {name: source.read(name).decode() for name in source.namelist()}


def test_a_bundle_tells_how_every_scan_went(watched: Path, tmp_path: Path) -> None:
    SupportBundle.about(tmp_path / "s.zip", [watched]).write("all is well", {"ready": True})
    found = texts(tmp_path / "s.zip")
    assert found.keys() == {
        *("README.txt", "doctor.txt", "doctor.json", "out/ore/run.json", "out/next/journal.json"),
        *("out/queue.json", "out/watch.log", "out/quarantine/bad.txt"),
    }
    assert found["doctor.txt"] == "all is well\n"
    assert json.loads(found["doctor.json"]) == {"ready": True}
    record = json.loads(found["out/ore/run.json"])
    assert record["particles"] == 25
    assert record["scan"]["source"] == "…/ore.tif"
    assert record["warnings"] == ["…/ore.tif says nothing of its spacing."]
    queue = json.loads(found["out/queue.json"])
    assert [(scan["name"], scan["state"], scan["reason"]) for scan in queue["scans"]] == [
        ("bad", "failed", "…/bad scan.tif is cut short")
    ]
    assert [state for _, _, state in queue["steps"]] == [State.QUEUED, State.RUNNING, State.FAILED]
    assert [*json.loads(found["out/next/journal.json"])["tasks"]] == ["network/000007"]
    assert found["out/watch.log"] == '  File "…/run.py", line 3\nUSER said no\n'


def test_neither_voxels_nor_results_nor_a_home_are_in_it(watched: Path, tmp_path: Path) -> None:
    config = tmp_path / "watch.toml"
    config.write_text(f'state = "{HOME}/queue (2)/x"\n')
    SupportBundle.about(tmp_path / "s.zip", [watched, config, watched / "ore"]).write(f"disk {HOME}/x", {"a": [HOME]})
    for name, text in texts(tmp_path / "s.zip").items():
        assert VOXELS.decode() not in text, name
        assert "0.12345" not in text, name
        for word in ("jane", HOME, str(tmp_path), "/home", "(1)", "(2)"):
            assert word not in text + name, (name, word)


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("no path at all, 3 patches/s, 1/2", "no path at all, 3 patches/s, 1/2"),
        ("https://example.org/a/b and ../x/y and a/b.tif", "https://example.org/a/b and ../x/y and a/b.tif"),
        (r"E:\people\Jo Li\my scans\a.tif cannot be read", "…/a.tif cannot be read"),
        (r'{"path": "D:\\data\\b c\\a.tif"}', '{"path": "…/a.tif"}'),
        (r"\\server\share\ore 7\a.tif", "…/a.tif"),
        ("'/x y/q (2)/x' isn't /z/w", "'…/x' isn't …/w"),
        (r"\\?\C:\deep\a.tif", "…/a.tif"),
        ("file:///data/x/a.tif, file:///C:/x/a.tif", "…/a.tif, …/a.tif"),
        ("/one/a.tif and /two/b.tif", "…/a.tif and …/b.tif"),
        ("/", "/"),
        ("input /srv/ct", "input …/ct"),
        ("/" + "home/bob was not found", "…/USER was not found"),
        ("/data/Ünï cöde/試料.tif", "…/試料.tif"),
        ("--out=/srv/a/b, source:/srv/a/c", "--out=…/b, source:…/c"),
    ],
)
def test_of_a_path_the_last_name_is_left(text: str, short: str) -> None:
    assert Shortener().text(text) == short


def test_names_go_however_they_are_spelled() -> None:
    shortener = Shortener(frozenset({"/data/A (b) c"}), {"Jürgen": "USER", "ct7": "HOST"})
    assert shortener.text("JÜRGEN at ct7, not ct77: J\\u00fcrgen") == "USER at HOST, not ct77: USER"
    assert shortener.text("/data/A (b) c/x/y.tif, /data/A (b) cd/y.tif") == "…/y.tif, …/A (b) cd/y.tif"
    assert shortener.value({"ct7": ["/x/é (1)/a b.tif", 3, None]}) == {"HOST": ["…/a b.tif", 3, None]}


def test_what_is_no_output_is_refused_before_anything_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_module, "examine", lambda: pytest.fail("too late"))
    (tmp_path / "scan.tif").write_bytes(VOXELS)
    (tmp_path / "empty").mkdir()
    for about, said in (("scan.tif", "neither a log"), ("empty", "holds nothing"), ("gone", "is not there")):
        with pytest.raises(InputError, match=said):
            doctor_module.doctor(bundle=tmp_path / "s.zip", about=[tmp_path / about])
    (tmp_path / "s.zip").touch()
    with pytest.raises(InputError, match="exists"):
        doctor_module.doctor(bundle=tmp_path / "s.zip", about=[])
    with pytest.raises(InputError, match="--bundle"):
        doctor_module.doctor(bundle=None, about=[tmp_path])


def test_of_a_long_log_the_end_is_taken_and_two_of_one_name_stay_apart(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "run.log").write_bytes(b"first\n" + b"x" * MOST_BYTES + b"\xfflast")
    ((_, text),) = collect(tmp_path / "a" / "run.log")
    assert text.endswith("x\ufffdlast")
    assert "first" not in text
    bundle = SupportBundle.about(tmp_path / "s.zip", [tmp_path / "a" / "run.log", tmp_path / "b" / "run.log"])
    assert bundle.write("", {})[-2:] == ["run.log", "2 run.log"]

"""``run.json``: what is written is read, whichever version wrote it, and a damaged file is said to be damaged."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from ps3d_rt.errors import InputError
from ps3d_rt.run_record import ModelRecord, PatchRecord, RunRecord, ScanRecord, SizeRecord, read_record

SCAN = {"name": "ore", "source": "ore.tif", "shape": [4, 5, 6], "dtype": "uint16", "spacing_mm": [0.1, 0.1, 0.2]}


def full() -> RunRecord:
    return RunRecord(
        date="2026-01-02T03:04:05+00:00",
        scan=ScanRecord(**SCAN, selection={"start": [0, 0, 0]}),
        engine={"name": "openvino", "batch": 4},
        model=ModelRecord(name="default", sha256="ab"),
        gray={"embedding": 80.0},
        parameters={"overlap": 0.25},
        patches=PatchRecord(lattice=8, planned=9, computed=5, skipped=4),
        seconds={"network": 1.5},
        engine_seconds=1.25,
        versions={"python": "3"},
        particle_size=SizeRecord(how="given", mean_found_mm=0.3, mismatch=True),
        size_distribution={"d50_mm": 0.25},
        particles=7,
        minerals={"composition": {"quartz": 1.0}, "warnings": []},
        dropped={"particles": 1},
        likeness={"unlike": False},
        warnings=["Look at it."],
        resumed=False,
        request="5e",
    )


def written(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    full().write(tmp_path / "run.json")
    assert read_record(tmp_path / "run.json") == replace(full(), particle_size=replace(full().particle_size, trials=[]))
    content = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert list(content) == [f.name for f in fields(RunRecord) if f.name != "other"], "every field, in order"
    assert content["patches"] == {"lattice": 8, "planned": 9, "computed": 5, "skipped": 4}
    assert content["resumed"] is False


def test_what_is_not_known_is_kept_where_it_stood(tmp_path: Path) -> None:
    newer = {"scan": SCAN | {"tilt_degrees": 1.5}, "operator": "B. Weber", "patches": {"planned": 9, "mirrored": 2}}
    record = read_record(written(tmp_path / "run.json", newer))
    assert (record.other, record.scan.other) == ({"operator": "B. Weber"}, {"tilt_degrees": 1.5})
    assert record.patches is not None
    assert (record.patches.planned, record.patches.computed) == (9, None)
    again = record.to_json()
    assert again["operator"] == "B. Weber"
    assert again["scan"]["tilt_degrees"] == 1.5
    assert again["patches"]["mirrored"] == 2


def test_an_older_file_lacks_fields_and_says_nothing_of_them(tmp_path: Path) -> None:
    record = read_record(written(tmp_path / "run.json", {"scan": SCAN, "particles": 3}))
    assert (record.particles, record.gray, record.dropped, record.resumed) == (3, None, None, None)
    assert record.to_json().keys() == {"schema_version", "scan", "particles"}


def test_older_names_are_read_and_the_newer_ones_written(tmp_path: Path) -> None:
    tried, said = [{"assumed_mm": 0.2}], ["The embedding is as bright as the particles."]
    older = {"scan": SCAN, "particle_size": {"how": "estimated", "looks": tried}, "gray": {"doubts": said, "noise": 2}}
    record = read_record(written(tmp_path / "run.json", older))
    assert record.particle_size == SizeRecord(how="estimated", trials=tried)
    again = record.to_json()
    assert again["schema_version"] == 2
    assert (again["particle_size"]["trials"], again["gray"]) == (tried, {"warnings": said, "noise": 2})


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        {"scan": None},
        {"scan": "ore.tif"},
        *({"scan": {key: value for key, value in SCAN.items() if key != missing}} for missing in SCAN),
    ],
    ids=str,
)
def test_a_file_that_does_not_say_which_scan_is_damaged(tmp_path: Path, content: Any) -> None:
    with pytest.raises(InputError, match=r"run\.json is damaged: it does not say which scan was segmented; run"):
        read_record(written(tmp_path / "run.json", content))


@pytest.mark.parametrize("section", ["model", "patches", "particle_size"])
@pytest.mark.parametrize("value", [9, None, [1]], ids=str)
def test_a_section_that_is_none_is_named(tmp_path: Path, section: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"damaged: {section} is .* where an object is needed; run predict again"):
        read_record(written(tmp_path / "run.json", {"scan": SCAN, section: value}))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"size_distribution": [1]}, r"size_distribution is \[1\] where an object"),
        ({"engine": "openvino"}, "engine is 'openvino' where an object"),
        ({"warnings": 3}, "warnings is 3 where a list"),
        ({"scan": SCAN | {"shape": [4, 5]}}, r"scan\.shape is \[4, 5\] where three numbers"),
        ({"scan": SCAN | {"spacing_mm": [1, "2", 3]}}, r"scan\.spacing_mm is .* where three numbers"),
    ],
)
def test_another_kind_of_value_than_readers_take_for_granted_is_named(
    tmp_path: Path, wrong: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        read_record(written(tmp_path / "run.json", {"scan": SCAN} | wrong))


@pytest.mark.parametrize("text", ["", "{", "\x00", '{"scan": '])
def test_what_is_no_json_is_damaged(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"run\.json is damaged"):
        read_record(path)

"""Files that were made to do harm, or that a bad day left behind: refused in our words, and nothing else suffers."""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ps3d_rt.batch.listing import list_samples
from ps3d_rt.batch.scans_in import scans_in
from ps3d_rt.cli import logs, main
from ps3d_rt.errors import InputError, InterruptedRun, cannot_write, is_of_the_machine
from ps3d_rt.io import json_text, zip_folder
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.phases import read_phases
from ps3d_rt.io.samples import find_samples
from ps3d_rt.io.zip_folder import unzip_folder
from ps3d_rt.model import ModelBundle, load_model
from ps3d_rt.run_record import read_record
from ps3d_rt.watch.arrivals import Arrivals
from ps3d_rt.watch.config import Arrival
from ps3d_rt.watch.queue import Queue

GIB = 2**30
NO_TEXT = "ore \udcff.npy"
"""How Python writes a name with a byte that is no UTF-8."""


# --- archives ---


def packed(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as target:
        for name, content in files.items():
            target.writestr(name, content)
    return path


@pytest.mark.parametrize(
    ("files", "method", "said"),
    [
        ({"model.json": b"{}", "a.onnx": bytes(40 * 2**20)}, zipfile.ZIP_DEFLATED, "times its size"),
        ({"A.onnx": b"1", "a.onnx": b"2"}, zipfile.ZIP_STORED, "two files of one name"),
        ({"x" * 201: b"1"}, zipfile.ZIP_STORED, "unsafe name"),
        ({"C:a.onnx": b"1"}, zipfile.ZIP_STORED, "unsafe name"),
        ({"a\nb.onnx": b"1"}, zipfile.ZIP_STORED, "unsafe name"),
        ({"a.onnx": b"1"}, zipfile.ZIP_LZMA, "zip it with deflate"),
        ({"a.onnx": b"1"}, zipfile.ZIP_BZIP2, "zip it with deflate"),
        ({}, zipfile.ZIP_STORED, "one folder"),
    ],
)
def test_an_archive_that_no_model_comes_in_is_refused_before_anything_is_written(
    tmp_path: Path, files: dict[str, bytes], method: int, said: str
) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match=said):
        unzip_folder(packed(tmp_path / "a.ps3d", files, method), tmp_path / "out", "a model", GIB)
    assert [*(tmp_path / "out").iterdir()] == []


def test_too_many_files_and_too_many_bytes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = packed(tmp_path / "a.ps3d", {f"{k}.onnx": b"12" for k in range(5)})
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="unpacks to"):
        unzip_folder(archive, tmp_path / "out", "a model", 9)
    monkeypatch.setattr(zip_folder, "MOST_FILES", 4)
    with pytest.raises(InputError, match="at most 4 files"):
        unzip_folder(archive, tmp_path / "out", "a model", GIB)


def test_a_name_in_an_archive_that_is_no_text_is_refused(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.ps3d", {"ä.onnx": b"1"})
    whole = archive.read_bytes()
    at = whole.index("ä".encode())
    archive.write_bytes(whole[:at] + b"\xad" + whole[at + 1 :])
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="neither a model nor a whole zip"):
        unzip_folder(archive, tmp_path / "out", "a model", GIB)


def test_a_link_in_an_archive_is_the_text_that_it_holds(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("a.onnx")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.ps3d", "w") as target:
        target.writestr(link, "../../secret")
    (tmp_path / "out").mkdir()
    unzip_folder(tmp_path / "a.ps3d", tmp_path / "out", "a model", GIB)
    assert not (tmp_path / "out" / "a.onnx").is_symlink()
    assert (tmp_path / "out" / "a.onnx").read_bytes() == b"../../secret"


def test_a_full_disk_and_an_archive_that_may_not_be_read_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = packed(tmp_path / "a.ps3d", {"a.onnx": b"1"})
    (tmp_path / "out").mkdir()
    for number, kind, said in (
        (errno.ENOSPC, InterruptedRun, "disk is full"),
        (errno.EACCES, InputError, "this user may not"),
    ):
        error = OSError(number, os.strerror(number))

        def fail(*_: Any, error: OSError = error) -> None:
            raise error

        monkeypatch.setattr(zip_folder.shutil, "copyfileobj", fail)
        with pytest.raises(kind, match=said):
            unzip_folder(archive, tmp_path / "out", "a model", GIB)
        (tmp_path / "out" / "a.onnx").unlink()


# --- JSON ---


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


def deep_model(folder: Path, deep: str, bundle: ModelBundle) -> Callable[[], object]:
    manifest = json.loads((bundle.path / "model.json").read_text())
    text = json.dumps(manifest | {"provenance": {"x": "HERE"}}).replace('"HERE"', deep)
    (bundle.path / "model.json").write_text(text)
    return lambda: load_model(bundle.path)


def deep_file(name: str, content: str, read: Callable[[Path], object]) -> Callable[..., Callable[[], object]]:
    def make(folder: Path, deep: str, bundle: ModelBundle) -> Callable[[], object]:
        (folder / name).write_text(content.replace("HERE", deep))
        return lambda: read(folder / name)

    return make


DEEP: dict[str, Callable[[Path, str, ModelBundle], Callable[[], object]]] = {
    "model.json": deep_model,
    "run.json": deep_file("run.json", '{"scan": HERE}', read_record),
    "phases.json": deep_file("phases.json", '{"phases": HERE}', read_phases),
    "metadata.json": deep_file("metadata.json", '{"a": HERE}', lambda path: [*find_samples(path.parent)]),
    "sidecar": deep_file(
        "a.raw.json", '{"shape": HERE, "dtype": "u1"}', lambda path: open_volume(path.with_suffix(""))
    ),
}


@pytest.mark.parametrize("levels", [100, 200_000])
@pytest.mark.parametrize("kind", DEEP)
def test_json_that_is_nested_too_deep_is_refused(
    tmp_path: Path, tiny_bundle: ModelBundle, kind: str, levels: int
) -> None:
    (tmp_path / "a.raw").write_bytes(b"1")
    read = DEEP[kind](tmp_path, nested(levels), tiny_bundle)
    with pytest.raises(InputError):
        read()


def test_what_people_write_is_not_too_deep_and_a_flood_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert json_text.parse_json(nested(json_text.MOST_LEVELS)) is not None
    with pytest.raises(ValueError, match="deep"):
        json_text.parse_json(nested(json_text.MOST_LEVELS + 1))
    with pytest.raises(ValueError, match="thousands of digits"):
        json_text.parse_json("9" * 5000)
    with pytest.raises(ValueError, match="deep"):
        json_text.parse_json('{"a":' * 70 + "1" + "}" * 70)
    (tmp_path / "a.json").write_text("[1, 2, 3]")
    monkeypatch.setattr(json_text, "MOST_BYTES", 8)
    with pytest.raises(ValueError, match="larger than"):
        json_text.read_json(tmp_path / "a.json")


def test_a_number_beyond_all_numbers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for key in ("spacing", "particle_size"):
        entry = {"spacing": 0.1, "particle_size": 1} | {key: 10**400}
        (tmp_path / "metadata.json").write_text(json.dumps({"a": entry}))
        with pytest.raises(InputError, match="numbers"):
            [*find_samples(tmp_path)]


# --- folders ---


@pytest.fixture
def odd_folder(tmp_path: Path) -> Path:
    """A folder with one good scan, and with links that lead nowhere and to themselves beside it."""
    (tmp_path / "in" / "locked").mkdir(parents=True)
    for name in ("good.npy", "locked/inner.npy"):
        (tmp_path / "in" / name).write_bytes(b"1")
    try:
        (tmp_path / "in" / "nowhere.npy").symlink_to("gone.npy")
        (tmp_path / "in" / "circle.npy").symlink_to("circle.npy")
        (tmp_path / "in" / "up").symlink_to("..", target_is_directory=True)
    except OSError:
        pytest.skip("no links here")
    return tmp_path / "in"


def refuse(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let the system refuse to list a folder; it refuses nothing to an administrator."""
    real = os.scandir

    def scandir(path: Any = ".") -> Any:
        if Path(path) == folder:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)


def test_a_folder_that_may_not_be_listed_hides_no_other(odd_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, odd_folder / "locked")
    names = {path.name for path in scans_in(odd_folder)}
    assert names >= {"good.npy", "locked", "nowhere.npy", "circle.npy"}
    refuse(monkeypatch, odd_folder)
    with pytest.raises(InputError, match="Permission denied"):
        scans_in(odd_folder)


def test_a_watched_folder_takes_what_is_good_whatever_lies_beside_it(
    odd_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, odd_folder / "locked")
    try:
        (odd_folder / NO_TEXT).write_bytes(b"1")
    except (OSError, UnicodeError):
        pytest.skip("names are text here")
    rules = Arrival(stable_seconds=0, header_seconds=0)
    arrivals = Arrivals(odd_folder, rules, lambda path, content: False)
    found = {scan.path.name for scan in arrivals.look(0.0)}
    assert "good.npy" in found
    assert {Path(path).name for path in arrivals.waiting} >= {"nowhere.npy", "circle.npy", "ore \\udcff.npy"}
    json.dumps(arrivals.waiting).encode()


def test_a_header_that_names_a_link_to_itself_is_refused(odd_folder: Path) -> None:
    (odd_folder / "a.nhdr").write_text(
        "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 1 1 1\nencoding: raw\ndata file: circle.npy\n"
    )
    with pytest.raises(InputError, match=r"circle\.npy"):
        open_volume(odd_folder / "a.nhdr")


def test_a_name_that_is_no_text_is_refused_with_its_cure(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="rename it") as said:
        open_volume(tmp_path / NO_TEXT)
    assert "\\udcff" in str(said.value)
    (tmp_path / "samples.csv").write_text("path,name\na.npy,b\n")
    monday = tmp_path / "monday"
    monday.mkdir()
    try:
        (monday / NO_TEXT).write_bytes(b"1")
    except (OSError, UnicodeError):
        pytest.skip("names are text here")
    (sample,) = list_samples(monday)
    assert sample.problem is not None
    sample.name.encode()


def test_a_log_takes_every_text(tmp_path: Path) -> None:
    lines = logs.Lines()
    lines.open_file(tmp_path / "a.log")
    lines.say(NO_TEXT, {}, seen=False)
    lines.close()
    rotating = logs.RotatingFile(tmp_path / "b.log", 1000, 1)
    rotating.write(NO_TEXT + "\n")
    rotating.close()
    for name in ("a.log", "b.log"):
        assert "ore \\udcff.npy" in (tmp_path / name).read_text(encoding="utf-8")


# --- the system ---


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (errno.ENOSPC, 4, "the disk is full"),
        (errno.EBUSY, 4, "another program has it open"),
        (errno.EROFS, 2, "this user may not"),
        (errno.EACCES, 2, "this user may not"),
        (errno.ENAMETOOLONG, 2, "too long"),
        (errno.ELOOP, 2, "no path"),
        (errno.ESTALE, 4, "the share or drive that it is on is gone"),
        (errno.EHOSTDOWN, 4, "the share or drive that it is on is gone"),
        (errno.ENOTCONN, 4, "the share or drive that it is on is gone"),
        (errno.EIO, 4, "the disk reports an error"),
    ],
)
def test_what_the_system_refuses_is_no_bug(
    number: int, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> Any:
        raise OSError(number, os.strerror(number), "out/x")

    monkeypatch.setattr(sys.modules["ps3d_rt.cli"], "build_app", lambda: lambda prog_name: fail())
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr().err
    assert ended.value.code == code
    assert "out/x" in shown
    assert said in shown
    assert "Traceback" not in shown
    logging.getLogger().handlers = [h for h in logging.getLogger().handlers if not isinstance(h, logs.LogHandler)]


def test_on_windows_its_own_numbers_count_and_a_file_that_is_missing_may_be_a_bug() -> None:
    error = OSError(errno.EINVAL, "The network path was not found")
    error.winerror = 53  # type: ignore[attr-defined]
    assert isinstance(cannot_write("x", error), InterruptedRun)
    locked = PermissionError(errno.EACCES, "in use")
    locked.winerror = 32  # type: ignore[attr-defined]
    assert "close it there, then" in str(cannot_write("x", locked))
    assert isinstance(cannot_write("x", PermissionError("no number")), InputError)
    assert is_of_the_machine(error)
    assert not is_of_the_machine(FileNotFoundError(errno.ENOENT, "gone"))


def test_a_queue_whose_disk_is_full_says_so_and_goes_on_later(tmp_path: Path) -> None:
    with Queue(tmp_path) as queue:
        queue.set("a", "1")
        (pages,) = queue._connection.execute("PRAGMA page_count").fetchone()
        queue._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(InterruptedRun, match=r"queue\.sqlite cannot be used.*full"):
            queue.set("b", "x" * 100_000)
        assert (queue.setting("a"), queue.setting("b")) == ("1", None)
        queue._connection.execute("PRAGMA max_page_count = 100000")
        queue.set("b", "2")
        assert queue.setting("b") == "2"

"""The program that damages files: it finds what it is there for, and the readers stand a few files of every format."""

import random
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from ps3d_rt.errors import InputError

SPEC = spec_from_file_location("fuzz_readers", Path(__file__).parents[2] / "benchmarks/fuzz_readers.py")
fuzz = sys.modules[SPEC.name] = module_from_spec(SPEC)
SPEC.loader.exec_module(fuzz)


class Enough(Exception):  # noqa: N818 - nothing is wrong
    """Ends what would go on for ever."""


class News:
    """The end of the pipe that a process sends to."""

    def __init__(self, most: int) -> None:
        self.sent, self.most = [], most

    def send(self, news):
        if len(self.sent) == self.most:
            raise Enough
        self.sent.append(news)

    def recv(self):
        pass


@pytest.fixture
def no_limits(monkeypatch):
    monkeypatch.setattr(fuzz, "limited_memory", fuzz.peak_bytes)
    monkeypatch.setattr(fuzz.logging, "disable", lambda level: None)


@pytest.mark.parametrize("name", fuzz.SEEDS)
def test_the_files_are_good_before_they_are_damaged(tmp_path, name):
    good = fuzz.made(fuzz.SEEDS[name], tmp_path / "good")
    assert all(path.read_bytes() == content for path, content in good.content.items())
    if name != "nhdr pattern":  # names files that are not there
        assert fuzz.trial(good.opened) is None
        with fuzz.open_volume(good.opened) as volume:
            assert volume.shape == fuzz.IMAGE.shape


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", fuzz.SEEDS)
def test_a_few_damaged_files_are_read_or_refused_in_our_words(tmp_path, name):
    chance, good = random.Random(5), fuzz.made(fuzz.SEEDS[name], tmp_path / "good")
    assert [fuzz.one(good, [b"another file"], chance) for _ in range(5)] == [None] * 5
    assert all(path.read_bytes() == content for path, content in good.content.items()), "whole again"


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (IndexError("list index out of range"), "IndexError"),
        (SystemExit(3), "SystemExit"),
        (InputError("scan.nrrd: cannot be read (ValueError: x)"), "a message with 'ValueError'"),
        (InputError("the header is cut short; copy it again."), "a message without the file's name"),
        (InputError("scan.nrrd: it is cut short; copy it again."), None),
    ],
)
def test_what_leaks_is_found(monkeypatch, tmp_path, error, found):
    def fail(path):
        raise error

    monkeypatch.setattr(fuzz, "open_volume", fail)
    said = fuzz.trial(tmp_path / "scan.nrrd")
    assert said is None if found is None else found in said


@pytest.mark.usefixtures("no_limits")
@pytest.mark.filterwarnings("ignore")
def test_a_process_tells_where_it_is_and_what_it_found_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz, "damaged", lambda good, chance: b"")
    monkeypatch.setattr(fuzz, "WORDS", fuzz.re.compile("is empty"))
    news = News(6)
    with pytest.raises(Enough):
        fuzz.try_files(fuzz.readers, ["npy", "nhdr"], 0, tmp_path, news)
    assert [name for name, _ in news.sent] == ["npy", "npy", "nhdr", "nhdr", "npy", "npy"]
    assert [wrong is None for _, wrong in news.sent] == [True, False] * 3
    assert (tmp_path / "npy" / "a.npy").stat().st_size > 0, "mended for the next trial"


@pytest.mark.usefixtures("no_limits")
def test_too_much_memory_and_computing_are_findings(tmp_path, monkeypatch):
    good = fuzz.made(fuzz.SEEDS["npy"], tmp_path / "good")
    seconds = iter([0.0, 11.0])
    monkeypatch.setattr(fuzz.time, "process_time", lambda: next(seconds))
    assert fuzz.trial(good.opened) == "11 s of computing"
    monkeypatch.undo()
    peaks = iter([0, 3 * 2**30, 3 * 2**30])
    monkeypatch.setattr(fuzz, "limited_memory", lambda: next(peaks))
    monkeypatch.setattr(fuzz, "peak_bytes", lambda: next(peaks))
    monkeypatch.setattr(fuzz.logging, "disable", lambda level: None)
    monkeypatch.setattr(fuzz, "one", lambda good, others, chance, attempt: None)
    news = News(3)
    with pytest.raises(Enough):
        fuzz.try_files(fuzz.readers, ["npy"], 0, tmp_path / "work", news)
    assert news.sent == [("npy", None), ("npy", "3.0 GiB of memory"), ("npy", None)]


def test_a_kind_is_printed_and_kept_once(tmp_path, capsys):
    (tmp_path / "work").mkdir()
    found = fuzz.Findings(tmp_path / "keep", fuzz.Counter())
    for wrong in ("a message with 'x': /one/a.npy: 7 bytes", "a message with 'y': /two/b.npy: 8 bytes", "another"):
        found.add("npy", wrong, tmp_path / "work")
    assert sorted(path.name for path in (tmp_path / "keep").iterdir()) == ["001 npy", "002 npy"]
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert found.count.total() == 3


def test_runs_are_added_up(tmp_path):
    for files in (70, 7):
        fuzz.add_result(tmp_path / "out.json", "fuzz", {"files": files, "findings": files // 70, "command": str(files)})
    written = fuzz.json.loads((tmp_path / "out.json").read_text())
    assert (written["files"], written["findings"]) == (77, 1)
    assert [run["command"] for run in written["runs"]] == ["70", "7"]

"""The program that damages files: it finds what it is there for, and the readers stand a few files of every format."""

import random
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from ps3d_rt.errors import InputError

SPEC = spec_from_file_location("fuzz_readers", Path(__file__).parents[2] / "benchmarks/fuzz_readers.py")
fuzz = module_from_spec(SPEC)
SPEC.loader.exec_module(fuzz)


@pytest.mark.parametrize("name", fuzz.SEEDS)
def test_the_files_are_good_before_they_are_damaged(tmp_path, name):
    opened, target = fuzz.SEEDS[name](tmp_path)
    assert target.exists()
    if name != "nhdr pattern":  # names files that are not there
        assert fuzz.trial(opened) is None
        with fuzz.open_volume(opened) as volume:
            assert volume.shape == fuzz.IMAGE.shape


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", fuzz.SEEDS)
def test_a_few_damaged_files_are_read_or_refused_in_our_words(tmp_path, name):
    chance = random.Random(5)
    assert [fuzz.one(name, chance, tmp_path / "work") for _ in range(5)] == [None] * 5


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (IndexError("list index out of range"), "IndexError"),
        (InputError("scan.nrrd: cannot be read (ValueError: x)"), "a message with 'ValueError'"),
        (InputError("scan.nrrd: it is cut short; copy it again."), None),
    ],
)
def test_what_leaks_is_found(monkeypatch, tmp_path, error, found):
    def fail(path):
        raise error

    monkeypatch.setattr(fuzz, "open_volume", fail)
    said = fuzz.trial(tmp_path)
    assert said is None if found is None else found in said

"""Wheels in parts: none is larger than it may be, and together they are the wheels again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import gpu_wheels
from ps3d_rt.errors import InputError


@pytest.fixture
def wheels(tmp_path: Path) -> dict[str, bytes]:
    """Wheels of 25, 8, 7 and 3 bytes."""
    found = {f"w{size}.whl": bytes(range(size)) for size in (7, 25, 3, 8)}
    (tmp_path / "wheels").mkdir()
    for name, content in found.items():
        (tmp_path / "wheels" / name).write_bytes(content)
    (tmp_path / "wheels/notes.txt").write_text("no wheel")
    return found


def test_parts_are_small_enough_and_hold_every_byte(
    tmp_path: Path, wheels: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = gpu_wheels.pack(tmp_path / "wheels", tmp_path / "parts", 10)
    assert sizes == {"part-01": 10, "part-02": 10, "part-03": 8, "part-04": 8, "part-05": 7}
    parts = sorted((tmp_path / "parts").iterdir())
    gpu_wheels.main(["unpack", *map(str, reversed(parts)), "--into", str(tmp_path / "there")])
    assert {path.name: path.read_bytes() for path in (tmp_path / "there").iterdir()} == wheels
    assert json.loads(capsys.readouterr().out).keys() == wheels.keys()


def test_a_part_that_is_missing_or_damaged_is_named(tmp_path: Path, wheels: dict[str, bytes]) -> None:
    gpu_wheels.pack(tmp_path / "wheels", tmp_path / "parts", 10)
    first, second, *others = sorted((tmp_path / "parts").iterdir())
    with pytest.raises(InputError, match=r"w25\.whl\.001 is in none of the 4 parts"):
        gpu_wheels.unpack([first, *others], tmp_path / "there")
    (second / "w25.whl.001").write_bytes(b"0123456789")
    with pytest.raises(InputError, match=r"w25\.whl is not the wheel that was packed"):
        gpu_wheels.unpack([first, second, *others], tmp_path / "there")


def test_nothing_is_packed_over_something(tmp_path: Path, wheels: dict[str, bytes]) -> None:
    with pytest.raises(InputError, match="is not empty"):
        gpu_wheels.pack(tmp_path / "wheels", tmp_path / "wheels", 10)
    with pytest.raises(InputError, match="holds no wheels"):
        gpu_wheels.pack(tmp_path, tmp_path / "parts", 10)

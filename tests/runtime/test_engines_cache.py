from __future__ import annotations

import dataclasses
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ps3d_rt.engines.cache import CachedEngine, EngineCache, EngineKey, Verdict, user_folder
from ps3d_rt.errors import InputError

KEY = EngineKey(
    onnx_sha256="ab" * 32,
    flavour="tensorrt",
    version="10.13.0",
    gpu="NVIDIA H100 9.0",
    precision="fp16",
    patch=(64, 64, 64),
    batches=(1, 2, 4, 8),
)
ENGINE, FACTS = b"an engine" * 100, {"inputs": [{"name": "patches", "shape": [-1, 1, 64, 64, 64]}], "norm": "native"}


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "made" / "on use")


def found(cache: EngineCache, key: EngineKey = KEY) -> CachedEngine:
    engine = cache.find(key)
    assert engine is not None
    return engine


def test_an_engine_is_found_as_it_was_stored(cache: EngineCache) -> None:
    assert cache.find(KEY) is None
    stored = cache.store(KEY, ENGINE, FACTS)
    there = found(EngineCache(cache.folder))
    assert there == stored
    assert there.path.read_bytes() == ENGINE
    assert there.manifest["facts"] == FACTS
    assert there.manifest["key"]["gpu"] == KEY.gpu
    assert there.gate is None
    assert len(list(cache.folder.iterdir())) == 2, "the engine, its manifest and nothing else"


@pytest.mark.parametrize(
    "change",
    [
        {"onnx_sha256": "cd" * 32},
        {"flavour": "tensorrt-rtx"},
        {"version": "10.13.1"},
        {"gpu": "NVIDIA H200 9.0"},
        {"gpu": ""},
        {"precision": "fp32"},
        {"patch": (64, 64, 32)},
        {"batches": (1, 2, 4)},
    ],
)
def test_an_engine_of_anything_else_is_never_found(cache: EngineCache, change: dict[str, Any]) -> None:
    cache.store(KEY, ENGINE, FACTS)
    other = dataclasses.replace(KEY, **change)
    assert cache.find(other) is None
    cache.store(other, b"other", {})
    assert found(cache).path.read_bytes() == ENGINE


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[5] ^= 1
    path.write_bytes(content)


def without(field: str) -> Callable[[Path], None]:
    def remove(path: Path) -> None:
        manifest = path.with_suffix(".json")
        content = {key: value for key, value in json.loads(manifest.read_text()).items() if key != field}
        manifest.write_text(json.dumps(content))

    return remove


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_bit,
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.with_suffix(".json").write_text('{"key"'),
        lambda path: path.with_suffix(".json").write_bytes(b"\xff\xfe"),
        lambda path: path.with_suffix(".json").write_text("[]"),
        without("engine_sha256"),
        without("gate"),
    ],
)
def test_a_damaged_engine_counts_as_missing_and_is_replaced(
    cache: EngineCache, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], Any]
) -> None:
    damage(cache.store(KEY, ENGINE, FACTS).path)
    with caplog.at_level(logging.WARNING):
        assert cache.find(KEY) is None
    assert "is damaged" in caplog.text
    cache.store(KEY, ENGINE, FACTS)
    assert found(cache).path.read_bytes() == ENGINE


@pytest.mark.parametrize("gone", [".engine", ".json"])
def test_half_an_engine_is_none(cache: EngineCache, gone: str) -> None:
    cache.store(KEY, ENGINE, FACTS).path.with_suffix(gone).unlink()
    assert cache.find(KEY) is None


def test_the_verdict_stays_with_the_engine_until_it_is_built_anew(cache: EngineCache) -> None:
    verdict = Verdict(False, {"F1_instance": [0.91, 0.92], "nan": 0})
    after = cache.store(KEY, ENGINE, FACTS).record_gate(verdict)
    assert after.gate == verdict
    assert found(cache).gate == verdict
    assert found(cache).path.read_bytes() == ENGINE
    assert found(cache).record_gate(Verdict(True, {})).gate == Verdict(True, {})
    cache.store(KEY, b"another build", FACTS)
    assert found(cache).gate is None


def test_a_store_that_fails_leaves_what_was_there(cache: EngineCache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.store(KEY, ENGINE, FACTS)

    def full(_self: Path, _target: Path) -> Path:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", full)
        with pytest.raises(InputError, match=r"PS3D_RT_CACHE.*No space left"):
            cache.store(KEY, b"new", FACTS)
    assert found(cache).path.read_bytes() == ENGINE
    assert len(list(cache.folder.iterdir())) == 2, "nothing half-written is left"


def test_a_folder_that_cannot_be_made_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="PS3D_RT_CACHE"):
        EngineCache(tmp_path / "file" / "engines").store(KEY, ENGINE, FACTS)


def test_the_place_is_the_systems_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PS3D_RT_CACHE", raising=False)
    place = user_folder()
    assert place.is_absolute()
    assert "ps3d-rt" in place.parts
    monkeypatch.setenv("PS3D_RT_CACHE", "")
    assert user_folder() == place, "an empty variable is none"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="XDG is Linux's")
def test_linux_users_move_all_caches_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PS3D_RT_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/fast")
    assert user_folder() == Path("/fast/ps3d-rt")


def test_the_variable_moves_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PS3D_RT_CACHE", str(tmp_path))
    assert EngineCache().folder == tmp_path / "engines"

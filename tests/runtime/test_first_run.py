"""What the first run waits for is said once an installation, and again when its kernels have changed."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from ps3d_rt import first_run

Said = Callable[[], list[str]]


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Said:
    (tmp_path / "core").mkdir()
    (tmp_path / "core/kernel.py").write_text("")
    monkeypatch.setattr(first_run, "core", SimpleNamespace(__path__=[str(tmp_path / "core")]))
    monkeypatch.setenv("PS3D_RT_CACHE", str(tmp_path / "cache"))
    caplog.set_level(logging.INFO, logger="ps3d_rt")
    return lambda: [record.message for record in caplog.records]


def test_it_is_said_once(said: Said, tmp_path: Path) -> None:
    for _ in range(2):
        with first_run.announced():
            assert said() == ["the first run of this installation compiles its kernels, once: ten seconds or more"]
    os.utime(tmp_path / "core/kernel.py", ns=(0, 1))
    with first_run.announced():
        assert len(said()) == 2, "another version was installed"


def test_a_run_that_failed_was_none(said: Said) -> None:
    with pytest.raises(ZeroDivisionError), first_run.announced():
        raise ZeroDivisionError
    with first_run.announced():
        assert len(said()) == 2


def test_without_a_cache_it_is_said_every_time(said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PS3D_RT_CACHE", str(tmp_path / "core/kernel.py"))
    for number in (1, 2):
        with first_run.announced():
            assert len(said()) == number

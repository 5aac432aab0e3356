"""For all tests: how long an example takes never decides whether it passes; a command line to call; the fake engine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

import fake_engine
from ps3d_rt import installing
from ps3d_rt.cli import main
from ps3d_rt.engines import factory

settings.register_profile("ps3d", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ps3d")

sys.modules["ps3d_rt.engines.fake"] = fake_engine
"""The golden test is never changed, and this is where it found the engine on the first day."""


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run ``ps3d-rt`` with arguments: exit code, stdout, stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ps3d-rt", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return call


@pytest.fixture(autouse=True, scope="session")
def _cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what the tests cache out of the user's folder, and what the user has cached out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PS3D_RT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _fake_engine_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``engine="fake"`` open the fake engine, in tests alone: for users there is none of this name."""
    choose = factory._choose

    def choose_here(bundle: Any, request: Any) -> Any:
        return fake_engine.FakeEngine(bundle.patch) if request.engine == "fake" else choose(bundle, request)

    monkeypatch.setattr(factory, "_choose", choose_here)


@pytest.fixture(autouse=True)
def _installed_with_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let messages name pip, whatever installed the environment of the tests."""
    monkeypatch.setattr(installing, "_tool", lambda: "pip")
    monkeypatch.setattr(installing, "checkout", lambda: None)

"""``-v`` and ``-q``: what a person who waits is told, and what not."""

from __future__ import annotations

import json
import logging
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ps3d_rt.cli.logs import LINES, LogHandler, set_level


@pytest.fixture(autouse=True)
def _levels(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Leave the loggers as they were."""
    names = ("ps3d_rt", "ps3d_training", "ps3d_export", "ps3d_bench", "tifffile", "nibabel", "pydicom", "olefile")
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


@pytest.fixture
def predict(cli: Any, tmp_path: Path) -> Any:
    z, y, x = np.indices((20, 20, 40))
    ball = (z - 10) ** 2 + (y - 10) ** 2 + ((x % 20) - 10) ** 2 < 30
    noise = np.random.default_rng(0).normal(0, 100, ball.shape)
    np.save(tmp_path / "a.npy", (np.where(ball, 30000, 9000) + noise).astype(np.uint16))

    def call(*options: str) -> str:
        size = ("--spacing", "0.01", "--particle-size", "0.11", "--engine", "fake", "--overwrite")
        code, _, err = cli("predict", tmp_path / "a.npy", tmp_path / "out", *size, *options)
        assert code == 0, err
        return str(err)

    return call


def test_quiet_says_warnings_only(predict: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "particles in" in predict()
    quiet = predict("-q").splitlines()
    assert "warning: Only 2 whole particles lie in th" in [line[:41] for line in quiet]
    assert all(line.startswith("warning: ") for line in quiet)
    assert {json.loads(line)["event"] for line in predict("--quiet", "--log-json").splitlines()} == {"Warned"}
    monkeypatch.setattr("ps3d_rt.stages.summary.is_mismatch", lambda *sizes: True)
    assert "warning: the run was told" in predict("-q")


@pytest.mark.parametrize(
    ("option", "said"),
    [("-q", ["careful"]), (None, ["building", "careful"]), ("-v", ["detail", "building", "careful"])],
)
def test_levels_of_what_is_logged(
    cli: Any, monkeypatch: pytest.MonkeyPatch, option: str | None, said: list[str]
) -> None:
    def models() -> list[str]:
        logger = logging.getLogger("ps3d_rt.engines.tensorrt_build")
        monkeypatch.setattr(logging.getLogger(), "handlers", [LogHandler()])
        logger.debug("detail")
        logger.info("building")
        logger.warning("careful")
        return []

    monkeypatch.setattr("ps3d_rt.model.bundled_models", models)
    code, _, err = cli("model", "list", *([option] if option else []))
    assert code == 0
    assert [line.split()[-1] for line in err.splitlines()] == said
    assert "warning: careful" in err


def test_with_json_lines_what_is_logged_is_one_too(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [LogHandler()])
    set_level(logging.INFO)
    monkeypatch.setattr(LINES, "as_json", True)
    logging.getLogger("ps3d_rt.engines").info("building an engine")
    line = json.loads(capsys.readouterr().err)
    assert datetime.fromisoformat(line.pop("time")).tzinfo is not None
    assert line == {"event": "Logged", "level": "info", "text": "building an engine"}


@pytest.mark.parametrize("library", ["tifffile", "nibabel.global", "pydicom", "olefile"])
def test_what_a_reader_of_files_logs_of_a_damaged_one_is_for_those_who_want_more(
    monkeypatch: pytest.MonkeyPatch, capsys: Any, library: str
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [LogHandler()])
    for level, said in ((logging.WARNING, ""), (logging.INFO, ""), (logging.DEBUG, "error: <TiffTag 270>\n")):
        set_level(level)
        logging.getLogger(library).error("<TiffTag 270>")
        assert capsys.readouterr().err == said

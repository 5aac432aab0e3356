"""How often a scan is decoded, counted in bytes, stage by stage, as a file in chunks would be."""

from __future__ import annotations

from collections import Counter
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake_engine import FakeEngine
from ps3d_rt.core.grid import Box
from ps3d_rt.events import Event, StageDone, StageStarted
from ps3d_rt.io.base import ArrayVolume
from ps3d_rt.output import predict_to_folder
from ps3d_rt.plan import PredictConfig

SHAPE, SIDE, PATCH = (160, 96, 64), 32, (16, 16, 16)
CONFIG = PredictConfig(spacing_mm=(0.01,) * 3, particle_size_mm=0.12, overlap=0.5, chunk=64)


class InChunks(ArrayVolume):
    """An array that counts the bytes of all the chunks of 32³ voxels that a read cuts."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        super().__init__(array, 0.01, name="ore")
        self.planes_per_read = SIDE
        self.stage = "none"
        self.decoded: Counter[str] = Counter()

    def _read_into(self, out: np.ndarray[Any, Any], box: Box) -> None:
        chunks = [
            (a // SIDE * SIDE, min(-(-b // SIDE) * SIDE, n)) for a, b, n in zip(box.start, box.stop, SHAPE, strict=True)
        ]
        self.decoded[self.stage] += prod(stop - start for start, stop in chunks) * self.dtype.itemsize
        super()._read_into(out, box)

    def hear(self, event: Event) -> None:
        if isinstance(event, StageStarted):
            self.stage = event.stage
        elif isinstance(event, StageDone):
            self.stage = "between"


@pytest.fixture(scope="module")
def scan() -> np.ndarray[Any, Any]:
    """Bright balls in a grid, 12 voxels across (simulated)."""
    z, y, x = np.indices(SHAPE).astype(float)
    distance = np.sqrt((z % 16 - 8) ** 2 + (y % 16 - 8) ** 2 + (x % 16 - 8) ** 2)
    noise = np.random.default_rng(0).normal(0, 100, SHAPE)
    return (np.where(distance < 6, 30000, 9000) + noise).astype(np.uint16)


def test_a_run_decodes_the_scan_once_for_the_network_and_once_for_the_table(
    tmp_path: Path, scan: np.ndarray[Any, Any], fake_model: Any
) -> None:
    volume, seen = InChunks(scan), []

    def hear(event: Event) -> None:
        volume.hear(event)
        seen.append(event)

    engine = FakeEngine(PATCH, threshold=1.0)
    run = predict_to_folder((volume, fake_model(patch=PATCH[0]), engine, CONFIG), tmp_path / "out", on_event=hear)
    assert run["particles"] == 240
    decoded = {stage: count / scan.nbytes for stage, count in volume.decoded.items()}
    assert decoded.pop("network") == 1
    assert decoded.pop("table") == 1
    # The report shows sixteen particles from close by: a chunk or a few of each, whatever the size of the scan.
    assert decoded.pop("report") <= 16 * 4 * SIDE**3 / scan.size
    assert set(decoded) <= {"gray scale"}
    stages = [event.stage for event in seen if isinstance(event, StageStarted)]
    assert stages[:1] + stages[-3:] == ["gray scale", "size distribution", "report", "publish"]
    assert [*stages[:-1], "all"] == list(run["seconds"])


def test_the_reports_planes_are_those_of_the_labels_and_the_scan(
    tmp_path: Path, scan: np.ndarray[Any, Any], fake_model: Any, cli: Any
) -> None:
    np.save(tmp_path / "ore.npy", scan)
    options = ("--spacing", "0.01", "--particle-size", "0.12", "--engine", "fake")
    assert cli("predict", tmp_path / "ore.npy", tmp_path / "out", *options)[0] == 0
    first = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert cli("report", tmp_path / "out")[0] == 0
    assert (tmp_path / "out" / "report.html").read_text(encoding="utf-8") == first
    assert first.count("data-index") == 45

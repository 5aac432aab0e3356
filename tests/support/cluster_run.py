"""A run on a Dask cluster with the fake engine: what its workers import, and the scan that it segments."""

from __future__ import annotations

import os
import socket
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import ps3d_rt.plan
from fake_engine import FakeEngine, fake_bundle
from ps3d_rt.cluster import Cluster
from ps3d_rt.engines.shared import SharedEngine
from ps3d_rt.io.base import ArrayVolume
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.volume_writer import save_volume
from ps3d_rt.output import predict_to_folder
from ps3d_rt.plan import PredictConfig

PATCH = (16, 16, 16)
SLOW = "slow"
"""A file of this name in the folder of the scan makes the engine take its time; a worker leaves its number in it."""


class _SlowEngine(FakeEngine):  # type: ignore[misc] - an engine is final for all but this one
    """The fake engine, which says who it works for, and waits, as long as a file is there."""

    def __init__(self, folder: Path) -> None:
        super().__init__(PATCH, threshold=1.0)
        self._folder = folder

    def _infer(self, patches: Any) -> Any:
        slow = self._folder / SLOW
        if slow.exists():
            (self._folder / f"pid-{os.getpid()}").touch()
            time.sleep(0.05)
        return super()._infer(patches)


def open_engine(folder: Path) -> SharedEngine:
    """Open an engine that workers open again."""
    return SharedEngine(_SlowEngine(folder), partial(_SlowEngine, folder))


def write_scan(path: Path) -> None:
    """Write bright balls in a grid, 12 voxels across: several sweeps, chunks and boxes."""
    z, y, x = np.indices((64, 48, 40)).astype(float)
    distance = np.sqrt((z % 18 - 9) ** 2 + (y % 18 - 9) ** 2 + (x % 20 - 10) ** 2)
    noise = np.random.default_rng(0).normal(0, 100, distance.shape)
    save_volume(ArrayVolume((np.where(distance < 6, 30000, 9000) + noise).astype(np.uint16), 0.01, name="ore"), path)


def content(folder: Path) -> dict[str, bytes]:
    """Every file by its name, but for those with seconds in them."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in files if p.name not in {"run.json", "report.html"}
    }


def free_port() -> int:
    """Find a port of loopback that nobody uses at the moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def run(
    scan: Path | str, out: Path, address: str | None, workers: int = 2, store: str | None = None, **options: Any
) -> dict[str, Any]:
    """Segment the scan, here or on a cluster."""
    ps3d_rt.plan.WORK_SHARD = (16, 16, 32)
    config = PredictConfig(
        spacing_mm=(0.01, 0.01, 0.01),
        particle_size_mm=0.12,
        overlap=0.5,
        chunk=16,
        store=store,
        cluster=None if address is None else Cluster(address, workers),
    )
    with open_volume(scan) as volume, open_engine(Path(scan).parent) as engine:
        return predict_to_folder((volume, fake_bundle(patch=PATCH[0]), engine, config), out, **options)

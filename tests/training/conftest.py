"""A prepared folder of two small samples."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ps3d_rt.io.volume_writer import write_volume
from ps3d_training.dataset import prepare
from toy_training import PLAN


@pytest.fixture(scope="package")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two volumes of 24³ with a lattice of bright balls, 8 voxels across."""
    folder = tmp_path_factory.mktemp("samples")
    z, y, x = np.indices((24, 24, 24))
    ball = ((z % 12 - 6) ** 2 + (y % 12 - 6) ** 2 + (x % 12 - 6) ** 2) < 16
    labels = np.where(ball, 1 + z // 12 * 4 + y // 12 * 2 + x // 12, 0).astype(np.uint16)
    for seed, name in enumerate("ab"):
        gray = np.random.default_rng(seed).normal(np.where(ball, 20_000, 8_000), 1000).astype(np.uint16)
        write_volume(folder / "images" / f"{name}.tif", gray, 0.01)
        write_volume(folder / "instance_seg" / f"{name}.tif", labels, 0.01)
    (folder / "metadata.json").write_text(
        json.dumps({name: {"spacing": 0.01, "particle_size": 0.08} for name in "ab"}), encoding="utf-8"
    )
    return folder


@pytest.fixture(scope="package")
def prepared(samples: Path) -> Path:
    return prepare(samples, samples / "prepared", PLAN)


@pytest.fixture(scope="package")
def larger(samples: Path) -> Path:
    """The same on another grid: balls 12 voxels across."""
    return prepare(samples, samples / "larger", replace(PLAN, target_size_voxels=12))

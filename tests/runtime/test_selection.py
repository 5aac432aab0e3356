"""``--roi``, ``--mask``, ``--dark`` and ``--embedding``, on the command line and in Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ps3d_rt
from ps3d_rt.cli.options import roi
from ps3d_rt.core.arrays import Array
from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import ArrayVolume
from ps3d_rt.io.selected import select
from ps3d_rt.io.volume_writer import write_volume
from ps3d_rt.model import ModelBundle

SHAPE = (24, 56, 56)


@pytest.fixture(scope="module")
def scan() -> Array:
    """Nine dark balls in a row of three by three."""
    z, y, x = np.indices(SHAPE).astype(float)
    distance = np.sqrt((z - 12) ** 2 + ((y - 1) % 18 - 9) ** 2 + ((x - 1) % 18 - 9) ** 2)
    noise = np.random.default_rng(0).normal(0, 100, distance.shape)
    return (np.where(distance < 6, 9000, 30000) + noise).astype(np.uint16)


def test_three_of_nine_dark_balls(cli: Any, scan: Array, tmp_path: Path) -> None:
    mask = np.ones(SHAPE, np.uint8)
    mask[:, :, :19] = 0
    write_volume(tmp_path / "a.npy", scan)
    write_volume(tmp_path / "mask.npy", mask)
    options = ("--spacing", "0.01", "--particle-size", "0.12", "--engine", "fake", "--dark")
    chosen = ("--mask", tmp_path / "mask.npy", "--roi", ":,:,0:38")
    code, out, err = cli("predict", tmp_path / "a.npy", tmp_path / "out", *options, *chosen)
    assert code == 0, err
    assert json.loads(out)["particles"] == 3
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["gray"]["dark"]
    assert run["scan"]["selection"]["roi"] == [[0, 0, 0], [24, 56, 38]]
    assert run["scan"]["selection"]["mask"].endswith("mask.npy")
    with ps3d_rt.open_volume(next((tmp_path / "out").glob("*.ome.zarr"))) as labels:
        assert labels.shape == SHAPE
        found = labels.read(Box.of_shape(SHAPE))
    assert not found[:, :, :19].any()
    assert not found[:, :, 38:].any()
    python = ps3d_rt.predict(
        scan,
        spacing=0.01,
        particle_size=0.12,
        engine="fake",
        dark=True,
        mask=mask,
        roi=((None, None), (None, None), (0, 38)),
    )
    np.testing.assert_array_equal(python.labels, found)


def test_an_embedding_is_for_models_that_have_one(
    cli: Any, scan: Array, tiny_bundle: ModelBundle, tmp_path: Path
) -> None:
    write_volume(tmp_path / "a.npy", scan)
    options = ("--spacing", "0.01", "--particle-size", "0.12", "--engine", "fake", "--embedding", "30000")
    options += ("--model", str(tiny_bundle.path))
    code, _, err = cli("predict", tmp_path / "a.npy", tmp_path / "out", *options)
    assert code == 2
    assert "leave out --embedding" in err


@pytest.mark.parametrize("text", ["1:2", "1:2,3:4", "1:2,3:4,5", "a:b,:,:", "-1:3,:,:", "1:2,3:4,5:6,7:8"])
def test_a_roi_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="z0:z1,y0:y1,x0:x1"):
        roi(text)


@pytest.mark.parametrize("box", [((0, 25), (0, 5), (0, 5)), ((5, 5), (0, 5), (0, 5)), ((0, 5), (9, 3), (None, None))])
def test_a_roi_outside_of_the_volume_is_refused(scan: Array, box: Any) -> None:
    with pytest.raises(InputError, match="0:24,0:56,0:56"):
        select(ArrayVolume(scan), box, None)


def test_without_a_choice_nothing_is_wrapped(scan: Array) -> None:
    volume = ArrayVolume(scan)
    assert select(volume, None, None) is volume


def test_a_mask_without_a_voxel_is_refused(scan: Array) -> None:
    with pytest.raises(InputError, match="check the mask"):
        ps3d_rt.predict(scan, spacing=0.01, particle_size=0.12, engine="fake", mask=np.zeros(SHAPE, bool))

"""The gray scale of a run: what lies outside counts nowhere, dark particles, and what run.json says of it."""

from __future__ import annotations

import pickle
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ps3d_rt
from fake_engine import FakeEngine
from ps3d_rt.core.arrays import Array
from ps3d_rt.core.gray import GrayBins
from ps3d_rt.core.grid import Box
from ps3d_rt.core.normalize import gray_scale
from ps3d_rt.core.sample_table import NO_PARTICLES
from ps3d_rt.core.sampling import MOST_VOXELS, SMALL_VOXELS, sampled_boxes
from ps3d_rt.errors import InputError
from ps3d_rt.events import Event, Warned
from ps3d_rt.io.base import ArrayVolume, Volume
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.selected import Selected
from ps3d_rt.io.volume_writer import write_volume
from ps3d_rt.model import ModelBundle
from ps3d_rt.pipeline import predict_volume
from ps3d_rt.plan import PredictConfig
from ps3d_rt.stages.gray_scale import analyze_gray

PATCH = (24, 24, 24)
SHAPE = (40, 60, 60)
CENTERS = [(8, 18, 20), (10, 40, 22), (30, 20, 40), (28, 42, 34)]
GRID = np.indices(SHAPE)
LABELS = sum(
    n * (((GRID - np.reshape(c, (3, 1, 1, 1))) ** 2).sum(0) <= 6.5**2).astype(np.uint32)
    for n, c in enumerate(CENTERS, start=1)
)
CORNERS = np.hypot(GRID[1] - 29.5, GRID[2] - 29.5) > 29.5
SCHEMES = pytest.mark.parametrize("scheme", ["volume", "embedding"])
CONFIG: dict[str, Any] = {"spacing_mm": (0.01,) * 3, "particle_size_mm": 0.13, "overlap": 0.5}


def scan() -> Array:
    noise = np.random.default_rng(0).normal(0, 200, SHAPE)
    return (np.where(LABELS > 0, 30000, 8000) + noise).astype(np.uint16)


def bundle(scheme: str) -> ModelBundle:
    fields: dict[str, Any] = {"patch": PATCH, "target_size_voxels": 13.0, "border_thickness_voxels": 2.0}
    return ModelBundle(name="fake", members=("a.onnx",), sha256={"a.onnx": "0"}, gray_scheme=scheme, **fields)


def run(volume: Volume | Array, scheme: str, tell: Any = lambda event: None, **changes: Any) -> ps3d_rt.Result:
    engine = FakeEngine(PATCH, threshold=changes.pop("threshold", 1.0 if scheme == "volume" else 0.4))
    volume = volume if isinstance(volume, Volume) else ArrayVolume(volume, 0.01)
    return predict_volume(volume, bundle(scheme), engine, PredictConfig(**(CONFIG | changes)), tell)


@SCHEMES
@pytest.mark.parametrize("fill", [0, 65535, -1000.0, -3024.0, -32768.0])
def test_a_constant_around_the_scan_changes_no_label(scheme: str, fill: float) -> None:
    image = scan() if fill >= 0 else scan().astype(np.float32) / 20
    plain = run(image, scheme)
    image[CORNERS] = fill
    filled = run(image, scheme)
    assert len(filled.particles) == 4
    np.testing.assert_array_equal(filled.labels, plain.labels)
    assert filled.run["gray"]["outside_value"] == fill
    assert filled.run["gray"]["outside_share"] == pytest.approx(CORNERS.mean(), abs=1e-4)
    assert plain.run["gray"]["outside_value"] is None
    assert filled.particles.gray_bins == GrayBins.from_scale(gray_scale(image[~CORNERS]))


def test_the_run_says_what_was_found() -> None:
    gray = run(scan(), "embedding").run["gray"]
    assert gray["embedding"] == pytest.approx(8000, abs=50)
    assert gray["noise"] == pytest.approx(200, rel=0.1)
    assert 0.45 * 22_000 < gray["contrast"] < 22_000, "edges count"
    assert not gray["dark"]
    assert not gray["warnings"]


@SCHEMES
def test_dark_particles_are_those_of_the_mirrored_scan(scheme: str) -> None:
    bright, mirrored = run(scan(), scheme), run(40_000 - scan(), scheme, dark=True)
    np.testing.assert_array_equal(mirrored.labels, bright.labels)
    assert mirrored.run["gray"]["embedding"] == pytest.approx(32_000, abs=50)
    assert mirrored.run["gray"]["contrast"] == pytest.approx(bright.run["gray"]["contrast"], rel=1e-6)
    bins = mirrored.particles.gray_bins
    assert bins.low < 10_000 - 600 < 32_000 + 600 < bins.high


def test_a_given_embedding_is_taken() -> None:
    result = run(scan(), "embedding", embedding=9000.0)
    assert result.run["gray"]["embedding"] == 9000.0
    assert result.run["parameters"]["gray_embedding"] == 9000.0


def test_a_model_without_an_embedding_refuses_one() -> None:
    with pytest.raises(InputError, match="leave out --embedding"):
        run(scan(), "volume", embedding=9000.0)


@SCHEMES
def test_only_the_roi_and_the_mask_are_segmented(scheme: str) -> None:
    image = scan()
    image[:, :, 50:] = 60_000  # what is not looked at must not matter
    mask = np.zeros(SHAPE, np.uint8)
    mask[:, 5:, :30] = 1
    roi = Box((0, 0, 0), (20, 60, 60))
    result = run(Selected(ArrayVolume(image, 0.01), roi=roi, mask=ArrayVolume(mask)), scheme)
    expected = np.where((LABELS <= 2) & (mask > 0) & (GRID[0] < 20), LABELS, 0)
    assert result.labels.shape == SHAPE
    assert len(result.particles) == 2
    assert not result.labels[(mask == 0) | (GRID[0] >= 20)].any()
    assert np.mean((result.labels > 0) == (expected > 0)) > 0.998
    assert result.run["scan"]["selection"] == {"roi": [(0, 0, 0), (20, 60, 60)], "mask": "the array"}


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(InputError, match="same shape"):
        Selected(ArrayVolume(scan()), mask=ArrayVolume(np.ones((2, 3, 4), np.uint8)))


def test_a_selection_travels_to_other_processes(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.npy", scan(), 0.01)
    with open_volume(tmp_path / "a.npy") as volume:
        here = Selected(volume, roi=Box((1, 1, 1), (30, 30, 30)), gray=5)
        there = pickle.loads(pickle.dumps(here))
        whole = Box.of_shape(SHAPE)
        np.testing.assert_array_equal(there.read(whole), here.read(whole))
        np.testing.assert_array_equal(there.inside(whole), here.inside(whole))
        assert there.read(whole)[0, 0, 0] == 5


def test_nothing_found_is_said_aloud() -> None:
    said: list[Event] = []
    noise = np.random.default_rng(0).normal(1000, 50, SHAPE).astype(np.uint16)
    result = run(noise, "volume", said.append, threshold=50)
    assert len(result.particles) == 0
    assert Warned(NO_PARTICLES, "no particle") in said
    assert NO_PARTICLES in result.run["warnings"]


def test_a_doubt_about_the_embedding_is_a_warning() -> None:
    said: list[Event] = []
    result = run(40_000 - scan(), "embedding", said.append)
    (warning,) = result.run["gray"]["warnings"]
    assert "--dark" in warning
    assert Warned(warning) in said


class _Counted(Volume):
    """Ones, and how many voxels were decoded for what was read."""

    def __init__(self, shape: tuple[int, int, int], chunk: tuple[int, int, int]) -> None:
        super().__init__(source="a", name="a", shape=shape, dtype=np.dtype("u1"), spacing_mm=1, chunk=chunk)
        self.decoded = 0

    def _read_into(self, out: Array, box: Box) -> None:
        sides = zip(box.start, box.stop, self.chunk, self.shape, strict=True)
        self.decoded += prod(min(-(-b // c) * c, n) - a // c * c for a, b, c, n in sides)
        out[...] = np.indices(out.shape, np.uint8).sum(0) % 7


@pytest.mark.parametrize("chunk", [(1, 600, 600), (64, 64, 64), (16, 128, 128)])
def test_a_look_decodes_a_few_percent_of_a_large_scan(chunk: tuple[int, int, int]) -> None:
    volume = _Counted((600, 600, 600), chunk)
    analyze_gray(volume, bundle("volume"))
    assert 0 < volume.decoded < 0.04 * prod(volume.shape)


@pytest.mark.parametrize(
    ("shape", "chunk"),
    [
        ((9, 9, 9), (1, 9, 9)),
        ((300, 310, 320), (64, 64, 64)),
        ((40, 3000, 3000), (1, 3000, 3000)),
        ((999,) * 3, (512,) * 3),
    ],
)
def test_looks_are_whole_chunks_inside_the_volume(shape: tuple[int, int, int], chunk: tuple[int, int, int]) -> None:
    chosen = sampled_boxes(shape, chunk)
    assert len({look.read for look in chosen}) == len(chosen)
    kept = [box for look in chosen for box in look.keep]
    assert sum(box.size for box in kept) <= 2 * MOST_VOXELS
    assert sum(box.size for box in kept) >= min(prod(shape), SMALL_VOXELS) / 2
    for look in chosen:
        assert look.read.intersect(Box.of_shape(shape)) == look.read
        assert all(a % c == 0 for a, c in zip(look.read.start, chunk, strict=True))
        assert all(box.intersect(look.read) == box for box in look.keep)


def test_looks_reach_all_over_the_volume() -> None:
    chosen = sampled_boxes((1000, 1000, 1000), (64, 64, 64))
    middles = np.array([np.add(look.read.start, look.read.stop) / 2 for look in chosen])
    for axis in range(3):
        assert np.histogram(middles[:, axis], 4, (0, 1000))[0].min() >= 0.15 * len(chosen)

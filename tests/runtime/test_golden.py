"""Labels that must never change by the way: whoever changes them on purpose says so in CHANGELOG.md, under Results."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import pytest

import ps3d_rt
from ps3d_rt.core.measure import measure
from ps3d_rt.engines.fake import FakeEngine
from ps3d_rt.io.base import ArrayVolume
from ps3d_rt.model import ModelBundle
from ps3d_rt.pipeline import predict_volume
from ps3d_rt.plan import PredictConfig

PATCH = (24, 24, 24)
GOLDEN = {0.08: "6633f067a4aaa8d0", 0.13: "81fe5666075100b2", 0.2: "af0602e4bcb5819c"}
"""Particle size, mm → start of the SHA-256 of the labels."""


def touching_balls() -> np.ndarray:
    """Thirty balls (simulated), some of which touch and some of which the faces cut."""
    grid, rng = np.indices((70, 60, 80)), np.random.default_rng(5)
    labels = np.zeros(grid.shape[1:], np.uint32)
    for label, center in enumerate(rng.uniform(0, labels.shape, (30, 3)), start=1):
        inside = ((grid - center.reshape(3, 1, 1, 1)) ** 2).sum(0) <= rng.uniform(4, 9) ** 2
        labels[inside & (labels == 0)] = label
    return labels


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    labels = touching_balls()
    noise = np.random.default_rng(0).normal(0, 200, labels.shape)
    return (np.where(labels > 0, 30000, 8000) + noise).astype(np.uint16)


def predict(image: np.ndarray, size_mm: float) -> ps3d_rt.Result:
    model = ModelBundle(
        name="fake",
        patch=PATCH,
        target_size_voxels=13.0,
        border_thickness_voxels=2.0,
        members=("a.onnx",),
        sha256={"a.onnx": "0"},
    )
    config = PredictConfig(spacing_mm=(0.01,) * 3, particle_size_mm=size_mm, overlap=0.5)
    return predict_volume(ArrayVolume(image, 0.01), model, FakeEngine(PATCH, threshold=2.0), config)


@pytest.mark.parametrize("size_mm", [0.08, 0.13, 0.2])
def test_the_labels_are_those_of_the_first_day(image: np.ndarray, size_mm: float) -> None:
    labels = predict(image, size_mm).labels
    assert (labels.dtype, labels.shape) == (np.uint32, image.shape)
    assert sha256(labels.tobytes()).hexdigest()[:16] == GOLDEN[size_mm]


@pytest.mark.parametrize("size_mm", [0.08, 0.2])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_the_table_is_that_of_the_labels_measured_at_once(image: np.ndarray, dtype: type, size_mm: float) -> None:
    result = predict(image.astype(dtype), size_mm)
    found, labels = result.particles, result.labels
    whole = measure(labels, (0.01,) * 3, image.astype(dtype), found.gray_bins)
    assert len(whole) > 10
    assert whole.contacts.sum() >= 4
    for name, column in whole.columns().items():
        assert getattr(found, name).tobytes() == column.tobytes(), name
    assert found.gray_histogram.tobytes() == whole.gray_histogram.tobytes()
    assert found.contact_pairs.labels.tobytes() == whole.contact_pairs.labels.tobytes()
    assert found.contact_pairs.faces.tobytes() == whole.contact_pairs.faces.tobytes()

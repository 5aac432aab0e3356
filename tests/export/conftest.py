"""Small networks with the layers of the real ones, and a bundle of one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from scipy import ndimage

from ps3d_export.samples import CalibrationScan
from ps3d_rt.model import ModelBundle, write_bundle

PATCH = (16, 16, 16)
SEAM = 0.15
"""Gray value of a contact over that of a ball."""


class Drawing:
    """A graph in the making: layers with random weights, one after the other."""

    def __init__(self, seed: int = 0) -> None:
        self._draw = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, *shape: int, around: float = 0.0, scale: float | None = None) -> str:
        spread = scale if scale is not None else 1.5 / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.2
        values = around + spread * self._draw.standard_normal(shape)
        self.weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def add(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=f"node.{output}", **attributes))
        return output

    def norm(self, kind: str, x: str, channels: int) -> str:
        affine = [self.weight(f"{x}.scale", channels, around=1.0), self.weight(f"{x}.shift", channels)]
        if kind == "BatchNormalization":
            variance = self._draw.uniform(0.2, 3, channels).astype(np.float32)
            self.weights.append(numpy_helper.from_array(variance, f"{x}.var"))
            affine += [self.weight(f"{x}.mean", channels), f"{x}.var"]
        return self.add(kind, [x, *affine], f"{x}.norm", epsilon=1e-5)

    def block(self, x: str, name: str, channels: tuple[int, int], stride: int = 1, norm: str = "InstanceNormalization"):
        w = [self.weight(f"{name}.w", channels[1], channels[0], 3, 3, 3), self.weight(f"{name}.b", channels[1])]
        x = self.add("Conv", [x, *w], name, kernel_shape=[3] * 3, pads=[1] * 6, strides=[stride] * 3)
        return self.add("LeakyRelu", [self.norm(norm, x, channels[1])], f"{name}.relu", alpha=0.01)

    def model(self, takes: Sequence[Any], gives: Sequence[Any]) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "drawn",
            [helper.make_tensor_value_info("patches", TensorProto.FLOAT, takes)],
            [helper.make_tensor_value_info("scores", TensorProto.FLOAT, gives)],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        onnx.checker.check_model(model, full_check=True)
        return model


def draw_unet(norm: str = "InstanceNormalization", seed: int = 0) -> onnx.ModelProto:
    """A U-Net of two stages and four channels, B open."""
    d = Drawing(seed)
    skip = d.block("patches", "down", (1, 4), norm=norm)
    deep = d.block(skip, "deep", (4, 8), stride=2, norm=norm)
    up = d.add(
        "ConvTranspose",
        [deep, d.weight("up.w", 8, 4, 2, 2, 2), d.weight("up.b", 4)],
        "up",
        kernel_shape=[2] * 3,
        strides=[2] * 3,
    )
    merged = d.block(d.add("Concat", [up, skip], "both", axis=1), "merge", (8, 4), norm=norm)
    d.add("Conv", [merged, d.weight("last.w", 3, 4, 1, 1, 1)], "logits", kernel_shape=[1] * 3)
    d.add("Softmax", ["logits"], "scores", axis=1)
    return d.model(["batch", 1, *PATCH], ["batch", 3, *PATCH])


@pytest.fixture(scope="session")
def drawing() -> type[Drawing]:
    """For tests, which cannot import from here."""
    return Drawing


@pytest.fixture(scope="session")
def unet() -> Callable[..., onnx.ModelProto]:
    """:func:`draw_unet`."""
    return draw_unet


@pytest.fixture
def bundle(tmp_path: Path) -> ModelBundle:
    """A whole bundle of two networks, in a folder of its own."""
    files = {}
    for seed, name in enumerate(("a.onnx", "b.onnx")):
        files[name] = tmp_path / name
        onnx.save(draw_unet(seed=seed), files[name])
    draft = ModelBundle(
        name="tiny", patch=PATCH, target_size_voxels=12, border_thickness_voxels=1, members=("a.onnx", "b.onnx")
    )
    return write_bundle(tmp_path / "tiny.ps3d", draft, files)


def ball_sample(name: str, spacing_mm: float = 0.01) -> CalibrationScan:
    """Two pairs of touching balls and two single ones, 12 voxels across, bright in the dark, contacts half dark."""
    z, y, x = np.indices((40, 40, 40))
    labels = np.zeros((40, 40, 40), np.int64)
    centres = [(9, 9, 9), (9, 9, 20), (9, 30, 10), (30, 10, 10), (30, 10, 30), (30, 21, 30)]
    for number, (cz, cy, cx) in enumerate(centres, 1):
        labels[(z - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 < 36] = number
    noise = np.random.default_rng(0).normal(0, 60, labels.shape)
    highest = ndimage.maximum_filter(labels, 3)
    lowest = ndimage.minimum_filter(np.where(labels > 0, labels, 99), 3)
    share = np.where(labels == 0, 0, np.where(highest == lowest, 1, SEAM))
    image = (1000 + 3000 * share + noise).astype(np.uint16)
    return CalibrationScan(name, image, labels, (spacing_mm,) * 3, 12 * spacing_mm)


@pytest.fixture(scope="session")
def balls() -> Callable[..., CalibrationScan]:
    """:func:`ball_sample`."""
    return ball_sample


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two such samples in the published layout."""
    place = tmp_path / "samples"
    listing = {}
    for name in ("first", "second"):
        sample = ball_sample(name)
        for kind, array in (("images", sample.image), ("instance_seg", sample.instances)):
            (place / kind).mkdir(parents=True, exist_ok=True)
            np.save(place / kind / f"{name}.npy", array)
        listing[name] = {"spacing": 0.01, "particle_size": sample.particle_size_mm}
    (place / "metadata.json").write_text(json.dumps(listing), encoding="utf-8")
    return place

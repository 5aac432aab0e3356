"""A tiny network with the default model's kinds of layers, and torch as the reference for any of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from math import pi
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn import functional

import host_cupy
from fake_engine import fake_bundle
from ps3d_rt.core import arrays
from ps3d_rt.core.arrays import Array
from ps3d_rt.devices import gpu
from ps3d_rt.model import ModelBundle, write_bundle

TINY_PATCH = (16, 16, 16)


def write_tiny_network(path: Path, seed: int) -> None:
    """A U-Net of two stages and four channels with random weights, B dynamic."""
    draw = np.random.default_rng(seed)
    weights: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = []

    def weight(name: str, *shape: int, around: float = 0.0) -> str:
        scale = 1.5 / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.2
        values = around + scale * draw.standard_normal(shape)
        weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def add(kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def block(source: str, name: str, channels: tuple[int, int], stride: int) -> str:
        kernel = [weight(f"{name}.w", channels[1], channels[0], 3, 3, 3), weight(f"{name}.b", channels[1])]
        x = add("Conv", [source, *kernel], f"{name}.conv", kernel_shape=[3] * 3, pads=[1] * 6, strides=[stride] * 3)
        affine = [weight(f"{name}.scale", channels[1], around=1.0), weight(f"{name}.bias", channels[1])]
        x = add("InstanceNormalization", [x, *affine], f"{name}.norm", epsilon=1e-5)
        return add("LeakyRelu", [x], f"{name}.relu", alpha=0.01)

    skip = block("patches", "down", (1, 4), 1)
    deep = block(skip, "deep", (4, 8), 2)
    up = add("ConvTranspose", [deep, weight("up.w", 8, 4, 2, 2, 2)], "up", kernel_shape=[2] * 3, strides=[2] * 3)
    merged = block(add("Concat", [up, skip], "both", axis=1), "merge", (8, 4), 1)
    logits = add("Conv", [merged, weight("last.w", 3, 4, 1, 1, 1)], "logits", kernel_shape=[1] * 3)
    add("Softmax", [logits], "scores", axis=1)
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("patches", TensorProto.FLOAT, ["batch", 1, *TINY_PATCH])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 3, *TINY_PATCH])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def run_in_torch(onnx_path: Path, patches: Array) -> Array:
    """Interpret an ONNX graph with torch in fp32; an unknown layer or attribute is an error."""
    graph = onnx.load(onnx_path).graph
    values = {w.name: torch.from_numpy(numpy_helper.to_array(w).copy()) for w in graph.initializer}
    values[graph.input[0].name] = torch.from_numpy(patches)
    for node in graph.node:
        options = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        inputs = [values[name] for name in node.input]
        values[node.output[0]] = _LAYERS[node.op_type](options, *inputs)
    result: Array = values[graph.output[0].name].numpy()
    return result


def _convolve(options: dict[str, Any], x: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
    pads = options.get("pads", [0] * 6)
    assert pads[:3] == pads[3:], "the reference pads both ends alike"
    assert set(options.get("dilations", [1])) == {1}
    assert options.get("group", 1) == 1
    return functional.conv3d(x, *weights, stride=options.get("strides", [1] * 3), padding=pads[:3])


def _convolve_up(options: dict[str, Any], x: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
    assert set(options.get("pads", [0])) == {0}
    assert set(options.get("dilations", [1])) == {1}
    assert options.get("group", 1) == 1
    return functional.conv_transpose3d(x, *weights, stride=options["strides"])


def _normalize(options: dict[str, Any], x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return functional.instance_norm(x, weight=scale, bias=bias, eps=options.get("epsilon", 1e-5))


_LAYERS: dict[str, Callable[..., torch.Tensor]] = {
    "Conv": _convolve,
    "ConvTranspose": _convolve_up,
    "InstanceNormalization": _normalize,
    "LeakyRelu": lambda options, x: functional.leaky_relu(x, options.get("alpha", 0.01)),
    "Concat": lambda options, *xs: torch.cat(xs, options["axis"]),
    "Softmax": lambda options, x: torch.softmax(x, options.get("axis", -1)),
    "Identity": lambda _options, x: x,
}


@pytest.fixture(scope="session")
def cubes() -> Callable[..., Array]:
    """Make labels of separate cubes along x of the sides given, none on a face except with side 9."""

    def make(*sides: int) -> Array:
        labels = np.zeros((9, 9, sum(sides) + len(sides) + 1), np.uint8)
        x = 1
        for label, side in enumerate(sides, start=1):
            at = 0 if side == 9 else 1
            labels[at : at + side, at : at + side, x : x + side] = label
            x += side + 1
        return labels

    return make


@pytest.fixture(scope="session")
def diameter() -> Callable[[int], float]:
    """Equivalent diameter of a cube."""
    return lambda side: (6 * side**3 / pi) ** (1 / 3)


@pytest.fixture(scope="session")
def tiny_networks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two ONNX networks of one shape with different weights."""
    folder = tmp_path_factory.mktemp("networks")
    paths = folder / "a.onnx", folder / "b.onnx"
    for seed, path in enumerate(paths):
        write_tiny_network(path, seed)
    return paths


@pytest.fixture
def tiny_bundle(tmp_path: Path, tiny_networks: tuple[Path, Path]) -> ModelBundle:
    """A whole bundle with one member, in a folder of its own."""
    draft = ModelBundle(
        name="tiny", patch=TINY_PATCH, target_size_voxels=8, border_thickness_voxels=1, members=("a.onnx",)
    )
    return write_bundle(tmp_path / "tiny.ps3d", draft, {"a.onnx": tiny_networks[0]})


@pytest.fixture(scope="session")
def fake_model() -> Callable[..., ModelBundle]:
    """:func:`fake_engine.fake_bundle`."""
    return fake_bundle


@pytest.fixture(scope="session")
def torch_reference() -> Callable[[Path, Array], Array]:
    """:func:`run_in_torch`, for tests, which cannot import from here."""
    return run_in_torch


def _gpu() -> bool:
    try:
        return bool(import_module("cupy").cuda.runtime.getDeviceCount())
    except Exception:  # noqa: BLE001 - whatever is amiss with CuPy or the driver, there is no GPU for us
        return False


@pytest.fixture(params=["host", pytest.param("gpu", marks=pytest.mark.gpu)])
def cupy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """CuPy on a GPU, and the stand-in of host_cupy.py: the same test feeds the kernels of both."""
    if request.param == "gpu" and not _gpu():
        pytest.skip("no CUDA device")
    if request.param == "host":
        if host_cupy.COMPILER is None:
            pytest.skip("no g++ to compile the kernels for the host")
        for name, module in host_cupy.modules().items():
            monkeypatch.setitem(sys.modules, name, module)
    yield import_module("cupy")
    arrays._raw_kernel.cache_clear()
    vars(gpu._mine).clear()
    if request.param == "host":
        assert not host_cupy.counted_offences()

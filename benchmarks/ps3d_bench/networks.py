"""Networks to measure with: the published one's shape with random weights, its arithmetic, and any ONNX in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ps3d_rt.core.grid import Zyx
from ps3d_rt.model import ModelBundle, write_bundle

MOST_FEATURES = 320
NET_SHARE = 1e-3
"""Weight of the random network's logits: it does all its work, and does not decide."""
SHARPNESS = 12.0
THRESHOLD = 0.4
"""Gray value, standardized, above which a voxel of a simulated scan is particle."""


@dataclass(frozen=True)
class Width:
    """The shape of a U-Net as nnU-Net plans it."""

    features: int = 32
    """Of the first stage; doubled each stage, up to 320."""
    stages: int = 6
    patch: Zyx = (128, 128, 128)
    target_size_voxels: float = 60.0
    border_voxels: int = 3

    def channels(self, stage: int) -> int:
        """Features of a stage."""
        return min(self.features << stage, MOST_FEATURES)


def random_bundle(folder: Path, width: Width, **fields: Any) -> ModelBundle:
    """Write a bundle ``NAME.ps3d`` whose network has random weights, or read it if it is there.

    Random scores would give no particles, and so no work after the network. So the logits are those of a threshold,
    with a layer of border, plus a thousandth of the network's own: particles come out, and nothing is left uncomputed.

    Args:
        folder: of the bundle.
        width: of the network.
        fields: more of the bundle, such as ``mirror_axes``.
    """
    import onnx  # noqa: PLC0415 - heavy

    from ps3d_rt.model import load_model  # noqa: PLC0415

    if folder.exists():
        return load_model(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    network = folder.parent / f"{folder.stem}.onnx"
    onnx.save(random_network(width), network)
    draft = ModelBundle(
        name=folder.stem,
        patch=width.patch,
        target_size_voxels=width.target_size_voxels,
        border_thickness_voxels=float(width.border_voxels),
        members=("random.onnx",),
        provenance={"made_by": "random weights, for speed only"},
        **fields,
    )
    written = write_bundle(folder, draft, {"random.onnx": network})
    network.unlink()
    return written


def random_network(width: Width) -> Any:
    """Build the ONNX network: two convolutions a stage, instance norm, as published; weights drawn from seed 0."""
    from onnx import TensorProto, checker, helper, numpy_helper  # noqa: PLC0415 - heavy

    draw = np.random.default_rng(0)
    weights: list[Any] = []
    nodes: list[Any] = []

    def weight(name: str, values: Any) -> str:
        weights.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def add(kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def convolve(x: str, name: str, inside: int, outside: int, stride: int = 1) -> str:
        kernel = draw.standard_normal((outside, inside, 3, 3, 3)) * np.sqrt(2 / (27 * inside))
        given = [x, weight(f"{name}.w", kernel), weight(f"{name}.b", np.zeros(outside))]
        x = add("Conv", given, f"{name}.c", kernel_shape=[3] * 3, pads=[1] * 6, strides=[stride] * 3)
        affine = [weight(f"{name}.scale", np.ones(outside)), weight(f"{name}.shift", np.zeros(outside))]
        x = add("InstanceNormalization", [x, *affine], f"{name}.n", epsilon=1e-5)
        return add("LeakyRelu", [x], f"{name}.a", alpha=0.01)

    x, skips, inside = "patches", [], 1
    for stage in range(width.stages):
        outside = width.channels(stage)
        x = convolve(x, f"down{stage}.0", inside, outside, 1 if stage == 0 else 2)
        x = convolve(x, f"down{stage}.1", outside, outside)
        skips.append(x)
        inside = outside
    for stage in reversed(range(width.stages - 1)):
        outside = width.channels(stage)
        kernel = draw.standard_normal((inside, outside, 2, 2, 2)) / np.sqrt(inside)
        up = add("ConvTranspose", [x, weight(f"up{stage}.t", kernel)], f"up{stage}.u", kernel_shape=[2] * 3,
                 strides=[2] * 3)  # fmt: skip
        x = add("Concat", [up, skips[stage]], f"up{stage}.both", axis=1)
        x = convolve(x, f"up{stage}.0", 2 * outside, outside)
        x = convolve(x, f"up{stage}.1", outside, outside)
        inside = outside
    kernel = draw.standard_normal((3, inside, 1, 1, 1)) / np.sqrt(inside)
    logits = add("Conv", [x, weight("last.w", kernel)], "logits", kernel_shape=[1] * 3)
    small = add("Mul", [logits, weight("share", NET_SHARE)], "small")
    known = _threshold(add, weight, width.border_voxels)
    add("Softmax", [add("Add", [known, small], "decided")], "scores", axis=1)
    graph = helper.make_graph(
        nodes,
        "random",
        [helper.make_tensor_value_info("patches", TensorProto.FLOAT, ["batch", 1, *width.patch])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 3, *width.patch])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model)
    return model


def _threshold(add: Callable[..., str], weight: Callable[[str, Any], str], border: int) -> str:
    """Logits of a threshold: smoothed gray above it is foreground, of which the inside is core."""
    x = "patches"
    for axis in range(3):
        kernel, pads = _along(axis, 2)
        x = add("AveragePool", [x], f"smooth{axis}", kernel_shape=kernel, pads=pads)
    raised = add("Add", [x, weight("line", 0.5 - THRESHOLD)], "raised")
    foreground = add("Clip", [raised, weight("none", 0.0), weight("all", 1.0)], "foreground")
    x = add("Neg", [foreground], "hollow")
    for axis in range(3):
        kernel, pads = _along(axis, border)
        x = add("MaxPool", [x], f"shrunk{axis}", kernel_shape=kernel, pads=pads)
    core = add("Neg", [x], "core")
    shares = [
        add("Sub", [weight("one", 1.0), foreground], "background"),
        core,
        add("Sub", [foreground, core], "border"),
    ]
    both = add("Concat", shares, "shares", axis=1)
    return add("Mul", [both, weight("sharpness", SHARPNESS)], "known")


def _along(axis: int, reach: int) -> tuple[list[int], list[int]]:
    """Kernel and padding of a pool that reaches so far along one axis."""
    reaches = [reach if i == axis else 0 for i in range(3)]
    return [2 * r + 1 for r in reaches], reaches * 2


def operations_of(path: Path) -> int:
    """Count the operations of the convolutions for one patch: a multiplication and an addition each count."""
    import onnx  # noqa: PLC0415 - heavy
    from onnx import helper, shape_inference  # noqa: PLC0415

    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    known = (*graph.value_info, *graph.input, *graph.output)
    shapes = {value.name: [side.dim_value for side in value.type.tensor_type.shape.dim] for value in known}
    kernels = {weight.name: list(weight.dims) for weight in graph.initializer}
    total = 0
    for node in graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            options = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            # Every voxel of a convolution's result, or of a transposed one's input, meets every weight once.
            where = node.output[0] if node.op_type == "Conv" else node.input[0]
            total += 2 * prod(shapes[where][2:]) * prod(kernels[node.input[1]]) // options.get("group", 1)
    return total


def in_torch(path: Path) -> Any:
    """Make a torch module of an ONNX network with the layers that ours have; any other is an error."""
    import onnx  # noqa: PLC0415 - heavy
    import torch  # noqa: PLC0415
    from onnx import helper, numpy_helper  # noqa: PLC0415

    graph = onnx.load(path).graph
    layers = _torch_layers()
    steps = [
        (layers[node.op_type], {a.name: helper.get_attribute_value(a) for a in node.attribute}, node.input, node.output)
        for node in graph.node
    ]
    steps = [(layer, options, tuple(inputs), outputs[0]) for layer, options, inputs, outputs in steps]
    first, last = graph.input[0].name, graph.output[0].name

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            arrays = [torch.from_numpy(numpy_helper.to_array(w).copy()) for w in graph.initializer]
            self.weights = torch.nn.ParameterList(torch.nn.Parameter(a, requires_grad=False) for a in arrays)
            self.places = {w.name: i for i, w in enumerate(graph.initializer)}

        def forward(self, patches: Any) -> Any:
            values = {first: patches}
            for layer, options, inputs, output in steps:
                given = [values[n] if n in values else self.weights[self.places[n]] for n in inputs]
                values[output] = layer(options, *given)
            return values[last]

    return Network().eval()


def _torch_layers() -> dict[str, Callable[..., Any]]:
    import torch  # noqa: PLC0415 - heavy
    from torch.nn import functional as f  # noqa: PLC0415

    def pads(options: dict[str, Any]) -> list[int]:
        return list(options.get("pads", [0] * 6)[:3])

    def convolve(options: dict[str, Any], x: Any, weight: Any, bias: Any = None) -> Any:
        return f.conv3d(x, weight, bias, stride=options.get("strides", 1), padding=pads(options))

    def pool(function: Callable[..., Any], **fixed: Any) -> Callable[..., Any]:
        return lambda o, x: function(x, o["kernel_shape"], stride=1, padding=pads(o), **fixed)

    return {
        "Conv": convolve,
        "ConvTranspose": lambda o, x, w, b=None: f.conv_transpose3d(x, w, b, stride=o["strides"]),
        "InstanceNormalization": lambda o, x, s, b: f.instance_norm(x, weight=s, bias=b, eps=o.get("epsilon", 1e-5)),
        "LeakyRelu": lambda o, x: f.leaky_relu(x, o.get("alpha", 0.01)),
        "Concat": lambda o, *xs: torch.cat(xs, o["axis"]),
        "Softmax": lambda o, x: torch.softmax(x.float(), o.get("axis", -1)),
        "AveragePool": pool(f.avg_pool3d, count_include_pad=False),
        "MaxPool": pool(f.max_pool3d),
        "Add": lambda o, a, b: a + b,
        "Sub": lambda o, a, b: a - b,
        "Mul": lambda o, a, b: a * b,
        "Neg": lambda o, a: -a,
        "Clip": lambda o, x, low, high: torch.clamp(x, low, high),
    }

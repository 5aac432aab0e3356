"""The arithmetic of a network, written into its graph: TensorRT 11 has no precision flags, and no engine has to guess.

    fp16   weights and values between nodes in half precision; norms and softmax in float32, by explicit casts
    int8   as fp16, but inputs and weights of all convolutions save the first and the last in 8 bits (Q/DQ), with
           scales measured on patches of scans

Input and output are float32 always, so every engine takes the same patches and gives the same kind of scores.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, version_converter

from ps3d_export.graph import copy_of, replace_nodes, values_of, weights_of, with_shapes
from ps3d_rt.errors import InputError

PRECISIONS = ("fp32", "fp16", "int8")

HALF_OPS = frozenset(
    {"Add", "AveragePool", "Concat", "Conv", "ConvTranspose", "Identity", "LeakyRelu", "MaxPool"}
    | {"Mul", "Pad", "PRelu", "Relu", "Reshape", "Slice", "Transpose", "QuantizeLinear", "DequantizeLinear"}
)
"""What runs in half precision. Everything else, norms and softmax first of all, is left in float32: the sums over
millions of voxels that a norm takes overflow or lose digits in half precision."""
LARGEST_HALF = float(np.finfo(np.float16).max)
HALF_SCALES_OPSET = 19
"""The first version of ONNX in which the scales of Q/DQ may be in half precision."""
SMALLEST_RANGE = 254 * 2.0**-20
"""Of what 8 bits have to cover: its scale must not become 0 in half precision."""


def to_fp16(model: ModelProto) -> ModelProto:
    """Convert a network to half precision, with a cast wherever the type changes.

    Args:
        model: float32, as :func:`ps3d_export.graph.read_network` gives it.

    Raises:
        InputError: if a weight is too large for half precision.
    """
    model = copy_of(model)
    graph = model.graph
    weights = {name: array for name, array in weights_of(graph).items() if array.dtype == np.float32}
    floats = {name for name, value in values_of(graph).items() if _is_float(value)}
    types = {value.name: TensorProto.FLOAT for value in graph.input}
    outputs = {value.name for value in graph.output}
    nodes: list[NodeProto] = []
    made: dict[tuple[str, int], str] = {}

    def as_type(name: str, wanted: int) -> str:
        """Name of ``name`` in the type ``wanted``; it is made where it is asked for the first time."""
        if name in weights:
            if wanted == TensorProto.FLOAT:
                return name
            half = f"{name}.fp16"
            if (name, wanted) not in made:
                graph.initializer.append(numpy_helper.from_array(_to_half(weights[name], name), half))
        elif types.get(name, wanted) == wanted:
            return name
        else:
            half = f"{name}.{'fp16' if wanted == TensorProto.FLOAT16 else 'fp32'}"
            if (name, wanted) not in made:
                nodes.append(helper.make_node("Cast", [name], [half], name=f"{half}.cast", to=wanted))
        return made.setdefault((name, wanted), half)

    for node in graph.node:
        wanted = TensorProto.FLOAT16 if node.op_type in HALF_OPS else TensorProto.FLOAT
        node.input[:] = [as_type(name, wanted) for name in node.input]
        nodes.append(node)
        types |= {name: wanted for name in node.output if name in floats}
    for name in outputs:
        if types[name] == TensorProto.FLOAT16:
            _hand_out(nodes, name)
    replace_nodes(graph, nodes)
    return with_shapes(model)


def _hand_out(nodes: list[NodeProto], name: str) -> None:
    """Let the half-precision value ``name`` leave the graph as float32."""
    inside = f"{name}.fp16"
    for node in nodes:
        node.input[:] = [inside if n == name else n for n in node.input]
        node.output[:] = [inside if n == name else n for n in node.output]
    nodes.append(helper.make_node("Cast", [inside], [name], name=f"{name}.cast", to=TensorProto.FLOAT))


def _to_half(array: NDArray[Any], name: str) -> NDArray[np.float16]:
    if array.size and not np.abs(array).max() <= LARGEST_HALF:
        raise InputError(
            f"the weight {name} reaches {np.abs(array).max():g}; half precision ends at {LARGEST_HALF:g}. "
            "Export this model as fp32."
        )
    return array.astype(np.float16)


def _is_float(value: onnx.ValueInfoProto) -> bool:
    return bool(value.type.tensor_type.elem_type == TensorProto.FLOAT)


def to_int8(model: ModelProto, patches: Iterable[NDArray[np.float32]], *, zero_points: bool = False) -> ModelProto:
    """Give the network with Q/DQ around its inner convolutions: what TensorRT, OpenVINO and ONNX Runtime read as INT8.

    Weights have a scale a channel, inputs one scale, both symmetric, as TensorRT wants them; biases are not quantized.
    For a CPU, inputs may have a zero point: behind a rectifier most values are above 0, and 8 bits then hold them twice
    as finely. What is not in 8 bits stays in float32 there.

    Args:
        model: float32, as :func:`ps3d_export.graph.read_network` gives it. Transposed convolutions are not quantized,
            and OpenVINO is wrong about 8-bit convolutions of concatenations: rewrite both before.
        patches: (1, 1, *patch) float32, normalized gray values, of all kinds that will come.
        zero_points: whether inputs have one.

    Raises:
        InputError: if there is nothing to quantize.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static  # noqa: PLC0415 - heavy

    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
    if len(convolutions) < 3 or not all(convolutions):
        raise InputError("INT8 needs a network of at least three named convolutions; export this model as fp16.")
    with tempfile.TemporaryDirectory() as scratch, _quiet():
        out = Path(scratch) / "int8.onnx"
        quantize_static(
            copy_of(model),  # it is changed there
            out,
            _Reader(model.graph.input[0].name, iter(patches)),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8 if zero_points else QuantType.QInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            nodes_to_quantize=convolutions[1:-1],
            extra_options={
                "ActivationSymmetric": not zero_points,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                # The results go to norms, which want them as they are.
                "OpTypesToExcludeOutputQuantization": ["Conv"],
                "MinimumRealRange": SMALLEST_RANGE,
                # Of the extremes of all patches the mean, not the most extreme: one bright speck must not cost a bit.
                "CalibMovingAverage": True,
            },
        )
        quantized = onnx.load(out)
    if zero_points:
        return with_shapes(quantized)
    return to_fp16(with_shapes(version_converter.convert_version(quantized, HALF_SCALES_OPSET)))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the advice to run a preprocessing, which is done here already, out of the user's sight."""
    root = logging.getLogger()

    def is_other(record: logging.LogRecord) -> bool:
        return "pre-processing before quantization" not in record.getMessage()

    root.addFilter(is_other)
    try:
        yield
    finally:
        root.removeFilter(is_other)


class _Reader:
    """Hands the patches to the calibration one by one."""

    def __init__(self, name: str, patches: Iterator[NDArray[np.float32]]) -> None:
        self._name, self._patches = name, patches

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        patch = next(self._patches, None)
        return None if patch is None else {self._name: patch}

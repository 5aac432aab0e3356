"""Rewrites that leave the scores as they are and give engines less, or better known, work.

``replace_transposed_convolutions``   kernel 2, stride 2 → 1×1×1 convolution, then depth to space. An output voxel has
                                      one input voxel, so it is a matrix product; and engines that have no 8-bit
                                      transposed convolution in 3-D have an 8-bit convolution.
``fold_batch_norms``                  after training a norm is a factor and an offset per channel, which the convolution
                                      before it can apply by itself.
``split_concatenations``              a convolution of two inputs put together is the sum of two convolutions. Of use
                                      in 8 bits only: each input then has a scale of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, ValueInfoProto, helper, numpy_helper

from ps3d_export.graph import (
    attributes_of,
    copy_of,
    replace_nodes,
    spatial_shape,
    uses_of,
    values_of,
    weights_of,
    with_shapes,
)

Weights = Mapping[str, NDArray[Any]]

_PLAIN_TRANSPOSED = {"dilations": {1}, "group": {1}, "pads": {0}, "output_padding": {0}, "strides": {2}}
"""Attributes of a transposed convolution whose outputs have one input each, and the values they must hold."""


def rewrite(model: ModelProto) -> tuple[ModelProto, dict[str, int]]:
    """Apply every rewrite wherever it fits.

    Returns:
        The rewritten network, and how many nodes each rewrite has replaced.
    """
    folded, norms = fold_batch_norms(model)
    replaced, transposed = replace_transposed_convolutions(folded)
    return replaced, {"folded_batch_norms": norms, "replaced_transposed_convolutions": transposed}


def replace_transposed_convolutions(model: ModelProto) -> tuple[ModelProto, int]:
    """Turn transposed convolutions of kernel and stride 2 in 3-D into a 1×1×1 convolution and depth to space.

    1. y[c, 2z+i, 2y+j, 2x+k] = Σ over d of w[d, c, i, j, k] · x[d, z, y, x] + b[c]: one product a voxel with the
       matrix of rows (c, i, j, k) and columns d;
    2. its rows are taken apart, (c, i, j, k) → c, i, j, k, and i, j, k moved behind z, y, x.

    Others, and those whose input has no fixed z, y, x, stay as they are.
    """
    model = copy_of(model)
    graph = model.graph
    values, weights = values_of(graph), weights_of(graph)
    nodes: list[NodeProto] = []
    count = 0
    for node in graph.node:
        sides = spatial_shape(values.get(node.input[0])) if _is_plain_transposed(node, weights) else None
        if sides is None:
            nodes.append(node)
            continue
        new, arrays = _as_convolution(node, weights, sides)
        nodes += new
        graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
        count += 1
    replace_nodes(graph, nodes)
    return with_shapes(model), count


def _is_plain_transposed(node: NodeProto, weights: Weights) -> bool:
    if node.op_type != "ConvTranspose" or any(name not in weights for name in node.input[1:] if name):
        return False
    attributes = attributes_of(node)
    set_otherwise = [
        name
        for name, allowed in _PLAIN_TRANSPOSED.items()
        if not set(np.ravel(attributes.get(name, min(allowed)))) <= allowed
    ]
    padded = attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID") or "output_shape" in attributes
    # Without "strides" they are 1.
    return weights[node.input[1]].shape[2:] == (2, 2, 2) and "strides" in attributes and not (set_otherwise or padded)


def _as_convolution(
    node: NodeProto, weights: Weights, sides: tuple[int, ...]
) -> tuple[list[NodeProto], dict[str, NDArray[Any]]]:
    (out,) = node.output
    weight = weights[node.input[1]]
    channels = weight.shape[1]
    z, y, x = sides
    arrays: dict[str, NDArray[Any]] = {
        f"{out}.matrix": np.ascontiguousarray(weight.reshape(len(weight), -1).T)[..., None, None, None],
        # -1 is batch · channels.
        f"{out}.apart": np.array([-1, 2, 2, 2, z, y, x], np.int64),
        f"{out}.together": np.array([-1, channels, 2 * z, 2 * y, 2 * x], np.int64),
    }
    if len(node.input) > 2 and node.input[2]:
        arrays[f"{out}.offset"] = np.repeat(weights[node.input[2]], prod(weight.shape[2:]))
    parameters = [name for name in (f"{out}.matrix", f"{out}.offset") if name in arrays]
    name = node.name or out
    return [
        helper.make_node(
            "Conv", [node.input[0], *parameters], [f"{out}.product"], name=f"{name}.product", kernel_shape=[1, 1, 1]
        ),
        helper.make_node("Reshape", [f"{out}.product", f"{out}.apart"], [f"{out}.blocks"], name=f"{name}.take_apart"),
        helper.make_node(
            "Transpose", [f"{out}.blocks"], [f"{out}.woven"], name=f"{name}.weave", perm=[0, 4, 1, 5, 2, 6, 3]
        ),
        helper.make_node("Reshape", [f"{out}.woven", f"{out}.together"], [out], name=f"{name}.put_together"),
    ], arrays


def fold_batch_norms(model: ModelProto) -> tuple[ModelProto, int]:
    """Let a convolution do what the BatchNorm after it does: w · s and (b − mean) · s + bias, s = scale / √(var + ε).

    Only where nothing else uses the convolution's result, and in float64, rounded once.
    """
    model = copy_of(model)
    graph = model.graph
    weights, uses = weights_of(graph), uses_of(graph)
    makers = {name: node for node in graph.node for name in node.output}
    folded: list[NodeProto] = []
    for norm in graph.node:
        before = makers.get(norm.input[0]) if norm.input else None
        if before is None or uses[norm.input[0]] > 1 or not _can_fold(norm, before, weights):
            continue
        for name, array in _fold(norm, before, weights).items():
            graph.initializer.append(numpy_helper.from_array(array, name))
        before.output[0] = norm.output[0]
        folded.append(norm)
    replace_nodes(graph, [node for node in graph.node if node not in folded])
    return with_shapes(model), len(folded)


def _can_fold(norm: NodeProto, before: NodeProto, weights: Weights) -> bool:
    is_norm = norm.op_type == "BatchNormalization" and not attributes_of(norm).get("training_mode", 0)
    is_convolution = before.op_type == "Conv" or (
        before.op_type == "ConvTranspose" and attributes_of(before).get("group", 1) == 1
    )
    known = all(name in weights for name in (*norm.input[1:], *before.input[1:]) if name)
    return is_norm and is_convolution and known


def _fold(norm: NodeProto, before: NodeProto, weights: Weights) -> dict[str, NDArray[Any]]:
    """Compute the new weights and hand them to ``before``."""
    scale, bias, mean, variance = (weights[name].astype(np.float64) for name in norm.input[1:5])
    factor = scale / np.sqrt(variance + float(attributes_of(norm).get("epsilon", 1e-5)))
    weight = weights[before.input[1]].astype(np.float64)
    has_offset = len(before.input) > 2 and before.input[2]
    offset = weights[before.input[2]].astype(np.float64) if has_offset else np.zeros_like(mean)
    # A convolution's weights are (out, in, …), a transposed one's (in, out, …).
    out_axis = 0 if before.op_type == "Conv" else 1
    along = [1] * weight.ndim
    along[out_axis] = -1
    name = norm.output[0]
    arrays = {f"{name}.weight": weight * factor.reshape(along), f"{name}.bias": (offset - mean) * factor + bias}
    before.input[:] = [before.input[0], *arrays]
    return {key: array.astype(np.float32) for key, array in arrays.items()}


def split_concatenations(model: ModelProto) -> tuple[ModelProto, int]:
    """Turn a convolution after a concatenation of channels into a sum of convolutions, one for each of its inputs.

    The scores change by rounding only: the same products are summed in another order.

    Returns:
        The rewritten network, and how many convolutions were split.
    """
    model = copy_of(model)
    graph = model.graph
    values, weights, uses = values_of(graph), weights_of(graph), uses_of(graph)
    makers = {name: node for node in graph.node for name in node.output}
    nodes: list[NodeProto] = []
    split: list[NodeProto] = []
    for node in graph.node:
        joined = makers.get(node.input[0]) if node.op_type == "Conv" else None
        channels = _joined_channels(joined, values) if joined is not None else None
        if joined is None or channels is None or not _can_split(node, weights):
            nodes.append(node)
            continue
        parts = np.split(weights[node.input[1]], np.cumsum(channels)[:-1], axis=1)
        nodes += _as_sum(node, joined, len(parts))
        graph.initializer.extend(
            numpy_helper.from_array(np.ascontiguousarray(part), f"{node.output[0]}.weight{i}")
            for i, part in enumerate(parts)
        )
        uses[node.input[0]] -= 1
        split.append(joined)
    replace_nodes(graph, [node for node in nodes if node not in split or uses[node.output[0]]])
    return with_shapes(model), len(split)


def _can_split(node: NodeProto, weights: Weights) -> bool:
    return node.input[1] in weights and attributes_of(node).get("group", 1) == 1


def _joined_channels(node: NodeProto, values: Mapping[str, ValueInfoProto]) -> list[int] | None:
    """How many channels each input of a concatenation brings; None if it is none, or they are not fixed."""
    if node.op_type != "Concat" or attributes_of(node)["axis"] != 1 or any(name not in values for name in node.input):
        return None
    channels = [values[name].type.tensor_type.shape.dim[1].dim_value for name in node.input]
    return channels if all(channels) else None


def _as_sum(node: NodeProto, joined: NodeProto, count: int) -> list[NodeProto]:
    """One convolution for each part, the first with the offset, and the sums of what they give."""
    (out,) = node.output
    name = node.name or out
    parts: list[NodeProto] = []
    sums: list[NodeProto] = []
    for i in range(count):
        part = NodeProto()
        part.CopyFrom(node)
        part.name = f"{name}.part{i}"
        part.input[:] = [joined.input[i], f"{out}.weight{i}", *(node.input[2:] if i == 0 else [])]
        part.output[:] = [f"{out}.part{i}"]
        parts.append(part)
        if i > 0:
            total = out if i == count - 1 else f"{out}.sum{i}"
            before = parts[0].output[0] if i == 1 else f"{out}.sum{i - 1}"
            sums.append(helper.make_node("Add", [before, part.output[0]], [total], name=f"{name}.sum{i}"))
    return [*parts, *sums]

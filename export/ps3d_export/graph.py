"""An ONNX graph as the other modules here need it: read whole, with the type and shape of every value, and checked."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # what onnx raises for a file that is none
from numpy.typing import NDArray
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, ValueInfoProto, numpy_helper, shape_inference

from ps3d_rt.errors import InputError, Ps3dError


def read_network(path: Path) -> ModelProto:
    """Read one network of a bundle.

    Raises:
        InputError: if it is not valid ONNX, or has branches or loops, which no network of a bundle needs.
    """
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except (OSError, DecodeError, onnx.checker.ValidationError) as error:
        raise InputError(f"{path} is not a valid ONNX network; export the model again. onnx says: {error}") from error
    if any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for n in model.graph.node for a in n.attribute):
        raise InputError(f"{path} has branches or loops; only plain feed-forward networks can be rewritten.")
    return with_shapes(model)


def with_shapes(model: ModelProto) -> ModelProto:
    """Work out type and shape of every value again, and check the whole graph against them.

    Raises:
        Ps3dError: if types or shapes contradict each other: then a rewrite is wrong.
    """
    bare = copy_of(model)
    del bare.graph.value_info[:]
    try:
        inferred = shape_inference.infer_shapes(bare, check_type=True, strict_mode=True, data_prop=True)
        onnx.checker.check_model(inferred)
    except (shape_inference.InferenceError, onnx.checker.ValidationError) as error:
        raise Ps3dError(f"the rewritten network is not valid ONNX: {error}") from error
    return inferred


def copy_of(model: ModelProto) -> ModelProto:
    """Give a network of its own to change."""
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy


def values_of(graph: GraphProto) -> dict[str, ValueInfoProto]:
    """Give type and shape of every value between nodes, and of the graph's inputs and outputs."""
    return {value.name: value for value in (*graph.value_info, *graph.input, *graph.output)}


def weights_of(graph: GraphProto) -> dict[str, NDArray[Any]]:
    """Give the arrays the network holds, by name."""
    return {weight.name: numpy_helper.to_array(weight) for weight in graph.initializer}


def spatial_shape(value: ValueInfoProto | None) -> tuple[int, ...] | None:
    """Sides z, y, x of a (B, C, z, y, x) value; None where they are not fixed.

    >>> spatial_shape(onnx.helper.make_tensor_value_info("a", 1, ["batch", 4, 5, 6, 7]))
    (5, 6, 7)
    """
    if value is None:
        return None
    sides = tuple(side.dim_value for side in value.type.tensor_type.shape.dim[2:])
    return sides if sides and all(sides) else None


def replace_nodes(graph: GraphProto, nodes: list[NodeProto]) -> None:
    """Make ``nodes`` the graph's own, and drop the weights that none of them uses."""
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input} | {value.name for value in graph.output}
    kept = [weight for weight in graph.initializer if weight.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def uses_of(graph: GraphProto) -> Counter[str]:
    """How many times each value is used, the graph's own outputs included."""
    names = [name for node in graph.node for name in node.input] + [value.name for value in graph.output]
    return Counter(names)


def attributes_of(node: NodeProto) -> dict[str, Any]:
    """Give a node's attributes, by name."""
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}

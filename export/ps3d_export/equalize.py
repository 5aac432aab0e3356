"""Channels of one tensor brought to one range before 8 bits, which share a scale among them all.

A leaky rectifier commutes with positive factors, so what the convolution before it divides by, the ones behind it can
multiply by: the scores stay (cross-layer equalization: Nagel et al., ICCV 2019, section 4.1; here all of the range goes
from the activations into the weights, which have a scale a channel, as in SmoothQuant, Xiao et al., ICML 2023).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, numpy_helper

from ps3d_export.graph import attributes_of, copy_of, uses_of, weights_of, with_shapes
from ps3d_export.run import run_values

RECTIFIERS = frozenset({"LeakyRelu", "Relu"})
NARROWEST = 1e-3
"""Range of a channel, in that of the widest, from which on it is brought up: one that is silent in calibration must not
overflow half precision when it speaks."""


class Rectifier(NamedTuple):
    """A value whose channels may be scaled: convolutions alone make it, convolutions alone use it."""

    value: str
    before: list[NodeProto]
    behind: list[NodeProto]


def equalize_channels(model: ModelProto, patches: Sequence[NDArray[np.float32]]) -> tuple[ModelProto, int]:
    """Give every channel behind a rectifier the range of the widest one.

    Args:
        model: float32; batch norms folded and concatenations split (:mod:`ps3d_export.rewrites`).
        patches: (1, 1, *patch) float32 each, to measure on: of every channel the mean of the patches' extremes.

    Returns:
        The network, its scores changed by rounding only, and how many rectifiers it was done for: those that stand
        between convolutions alone.
    """
    model = copy_of(model)
    graph = model.graph
    rectifiers = list(_rectifiers(graph))
    if not rectifiers:
        return model, 0
    weights = weights_of(graph)
    for rectifier, range_ in zip(rectifiers, _ranges(model, [r.value for r in rectifiers], patches), strict=True):
        factor = np.maximum(range_ / (range_.max() or 1), NARROWEST).astype(np.float32)
        for node in rectifier.before:
            for name in node.input[1:]:
                weights[name] = weights[name] / factor.reshape(-1, *[1] * (weights[name].ndim - 1))
        for node in rectifier.behind:
            name = node.input[1]
            weights[name] = weights[name] * factor.reshape(1, -1, *[1] * (weights[name].ndim - 2))
    del graph.initializer[:]
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    return with_shapes(model), len(rectifiers)


def _rectifiers(graph: GraphProto) -> Iterator[Rectifier]:
    uses, weights = uses_of(graph), weights_of(graph)
    makers = {name: node for node in graph.node for name in node.output}

    def is_free(node: NodeProto | None) -> bool:
        """Whether the weights of a convolution can change without changing anything else."""
        return (
            node is not None
            and node.op_type == "Conv"
            and attributes_of(node).get("group", 1) == 1
            and all(name in weights and uses[name] == 1 for name in node.input[1:])
        )

    def makers_of(name: str) -> Iterable[NodeProto | None]:
        """Name the nodes whose sum this value is, if it is used once."""
        node = makers.get(name) if uses[name] == 1 else None
        if node is None or node.op_type != "Add":
            return [node]
        return [maker for part in node.input for maker in makers_of(part)]

    for node in graph.node:
        if node.op_type not in RECTIFIERS:
            continue
        (value,) = node.output
        before = list(makers_of(node.input[0]))
        behind = [user for user in graph.node if value in user.input]
        if len(behind) == uses[value] and all(map(is_free, [*before, *behind])):
            yield Rectifier(value, [maker for maker in before if maker is not None], behind)


def _ranges(model: ModelProto, values: list[str], patches: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float64]]:
    """(channels,) for each value: largest absolute value of a channel in a patch, mean over the patches."""
    sums = [np.float64(0.0)] * len(values)
    for found in run_values(model, patches, values):
        sums = [total + np.abs(array).max(axis=(0, 2, 3, 4)) for total, array in zip(sums, found, strict=True)]
    return [np.asarray(total / len(patches)) for total in sums]

"""Channels get one range, the scores stay, and what does not stand between convolutions alone is left as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from ps3d_export.equalize import NARROWEST, equalize_channels
from ps3d_export.graph import weights_of, with_shapes
from ps3d_export.rewrites import rewrite, split_concatenations
from ps3d_export.run import run_network, run_values

PATCHES = [np.random.default_rng(seed).standard_normal((1, 1, 16, 16, 16), dtype=np.float32) for seed in range(3)]


@pytest.fixture
def network(unet) -> onnx.ModelProto:
    """Without norms and concatenations; two channels of the first rectifier are a tenth and a millionth as wide."""
    model = split_concatenations(rewrite(with_shapes(unet(norm="BatchNormalization")))[0])[0]
    maker = next(node for node in model.graph.node if "down.norm" in node.output)
    factor = np.array([1, 0.1, 1, 1e-6], np.float32)
    for weight in model.graph.initializer:
        if weight.name in maker.input[1:]:
            array = numpy_helper.to_array(weight)
            scaled = array * factor.reshape(-1, *[1] * (array.ndim - 1))
            weight.CopyFrom(numpy_helper.from_array(scaled, weight.name))
    return model


def ranges(model: onnx.ModelProto, value: str) -> Any:
    """(channels,) largest values, mean over the patches."""
    return np.mean([np.abs(found).max(axis=(0, 2, 3, 4)) for (found,) in run_values(model, PATCHES, [value])], axis=0)


def test_every_channel_gets_the_range_of_the_widest_and_the_scores_stay(network):
    equal, count = equalize_channels(network, PATCHES)
    assert count == 3
    for value in ("deep.relu", "merge.relu"):
        assert np.ptp(ranges(network, value)) > 0.1
        np.testing.assert_allclose(ranges(equal, value), ranges(network, value).max(), rtol=1e-5)
    other = np.random.default_rng(9).standard_normal((2, 1, 16, 16, 16), dtype=np.float32)
    np.testing.assert_allclose(run_network(equal, other), run_network(network, other), atol=1e-6)


def test_a_channel_that_is_silent_is_not_blown_up(network):
    equal, _ = equalize_channels(network, PATCHES)
    before, after = ranges(network, "down.relu"), ranges(equal, "down.relu")
    np.testing.assert_allclose(after[:3], before.max(), rtol=1e-5)
    np.testing.assert_allclose(after[3], before[3] / NARROWEST, rtol=1e-5)


def test_the_network_given_is_not_changed(network):
    before = network.SerializeToString(deterministic=True)
    equalize_channels(network, PATCHES)
    assert network.SerializeToString(deterministic=True) == before


def chain(drawing: Any, middle: str, shared: bool = False) -> onnx.ModelProto:
    """Draw convolution, rectifier, convolution, with something between."""
    d = drawing()
    weight = d.weight("w", 2, 2, 1, 1, 1)
    x = d.add("Conv", ["patches", weight], "x", kernel_shape=[1] * 3)
    if middle == "norm":
        x = d.norm("InstanceNormalization", x, 2)
    x = d.add("Sigmoid" if middle == "sigmoid" else "LeakyRelu", [x], "y")
    z = d.add("Conv", [x, weight if shared else d.weight("v", 2, 2, 1, 1, 1)], "z", kernel_shape=[1] * 3)
    d.add("Add" if middle == "used" else "Sub", [z, x if middle == "used" else "patches"], "scores")
    model = d.model(["batch", 2, 4, 4, 4], ["batch", 2, 4, 4, 4])
    if middle == "output":
        model.graph.output.append(
            onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", 2, 4, 4, 4])
        )
    return with_shapes(model)


@pytest.mark.parametrize(
    ("middle", "shared", "count"),
    [
        ("", False, 1),
        ("", True, 0),
        ("norm", False, 0),
        ("sigmoid", False, 0),
        ("used", False, 0),
        ("output", False, 0),
    ],
)
def test_only_rectifiers_between_convolutions_of_their_own_are_touched(drawing, middle, shared, count):
    model = chain(drawing, middle, shared)
    some = [np.random.default_rng(0).standard_normal((1, 2, 4, 4, 4), dtype=np.float32)]
    equal, done = equalize_channels(model, some)
    assert done == count
    changed = any(not np.array_equal(array, weights_of(equal.graph)[n]) for n, array in weights_of(model.graph).items())
    assert changed == bool(count)
    np.testing.assert_allclose(run_network(equal, some[0]), run_network(model, some[0]), atol=1e-5)

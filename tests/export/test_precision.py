"""Half precision and 8 bits: the types are those the engines are told, and the classes stay."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from ps3d_export.graph import attributes_of, values_of, with_shapes
from ps3d_export.precision import to_fp16, to_int8
from ps3d_export.run import run_network
from ps3d_export.variant import convert
from ps3d_rt.errors import InputError

FLOAT, HALF, INT8 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8


def types_of(model: onnx.ModelProto) -> dict[str, int]:
    types = {name: value.type.tensor_type.elem_type for name, value in values_of(model.graph).items()}
    return types | {weight.name: weight.data_type for weight in model.graph.initializer}


def computed_in(model: onnx.ModelProto, kind: str) -> set[int]:
    """Types of everything that nodes of this kind take and give."""
    types = types_of(model)
    nodes = [node for node in model.graph.node if node.op_type == kind]
    return {types[name] for node in nodes for name in (*node.input, *node.output) if name}


def patches(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 1, 16, 16, 16), dtype=np.float32)


@pytest.mark.parametrize("norm", ["InstanceNormalization", "BatchNormalization"])
def test_convolutions_are_half_norms_and_softmax_are_not(unet, norm):
    half = to_fp16(with_shapes(unet(norm)))
    onnx.checker.check_model(half, full_check=True)
    assert computed_in(half, "Conv") == computed_in(half, "ConvTranspose") == computed_in(half, "LeakyRelu") == {HALF}
    assert computed_in(half, norm) == computed_in(half, "Softmax") == {FLOAT}
    types = types_of(half)
    assert (types["patches"], types["scores"]) == (FLOAT, FLOAT)


def test_half_precision_gives_nearly_the_same_scores(unet):
    network = with_shapes(unet())
    for count in (1, 3):
        expected, scores = (run_network(n, patches(count)) for n in (network, to_fp16(network)))
        assert 0 < np.abs(scores - expected).max() < 0.02


def test_a_norm_keeps_its_digits_where_half_precision_loses_them(drawing):
    """Gray values around 3000 with a spread of 1: their squares are beyond half precision."""
    d = drawing()
    d.weights.append(numpy_helper.from_array(np.ones((1, 1, 1, 1, 1), np.float32), "one"))
    x = d.add("Conv", ["patches", "one"], "x", kernel_shape=[1] * 3)
    d.add("Softmax", [d.norm("InstanceNormalization", x, 1)], "scores", axis=2)
    network = with_shapes(d.model(["batch", 1, 16, 16, 16], ["batch", 1, 16, 16, 16]))
    # Whole numbers up to 2048 are exact in half precision: only the norm can lose anything.
    gray = 1000 + np.round(4 * patches(1))
    expected, scores = (run_network(n, gray) for n in (network, to_fp16(network)))
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_an_output_in_half_precision_leaves_as_float32(drawing):
    d = drawing()
    x = d.add("Relu", ["patches"], "scores")
    d.add("Relu", [x], "unused")
    half = to_fp16(with_shapes(d.model(["batch", 1, 4, 4, 4], ["batch", 1, 4, 4, 4])))
    assert types_of(half)["scores"] == FLOAT
    assert computed_in(half, "Relu") == {HALF}


def test_a_value_is_cast_once_for_all_that_use_it(drawing):
    d = drawing()
    a, b = (d.add("Relu", ["patches"], name) for name in "ab")
    d.add("Add", [a, b], "scores")
    half = to_fp16(with_shapes(d.model(["batch", 1, 4, 4, 4], ["batch", 1, 4, 4, 4])))
    assert Counter(node.op_type for node in half.graph.node)["Cast"] == 2  # in and out


def test_a_weight_beyond_half_precision_is_refused(drawing):
    d = drawing()
    d.weights.append(numpy_helper.from_array(np.full((1, 1, 1, 1, 1), 1e5, np.float32), "huge"))
    d.add("Conv", ["patches", "huge"], "scores", kernel_shape=[1] * 3)
    with pytest.raises(InputError, match="huge reaches 100000"):
        to_fp16(with_shapes(d.model(["batch", 1, 4, 4, 4], ["batch", 1, 4, 4, 4])))


@pytest.fixture(scope="module")
def eight(unet) -> onnx.ModelProto:
    return convert(with_shapes(unet()), "int8", patches=list(patches(4, seed=1)[:, None]))[0]


def test_inner_convolutions_take_8_bits_and_norms_float32(eight):
    onnx.checker.check_model(eight, full_check=True)
    types, makers = types_of(eight), {name: node for node in eight.graph.node for name in node.output}
    convolutions = [node for node in eight.graph.node if node.op_type == "Conv"]
    quantized = [
        [makers[name].op_type == "DequantizeLinear" if name in makers else False for name in node.input[:2]]
        for node in convolutions
    ]
    assert quantized == [[False, False], *[[True, True]] * 4, [False, False]]
    assert computed_in(eight, "InstanceNormalization") == computed_in(eight, "Softmax") == {FLOAT}
    assert {types[node.output[0]] for node in convolutions} == {HALF}
    assert not computed_in(eight, "ConvTranspose")


def test_scales_are_symmetric_one_a_channel_for_weights_and_above_zero(eight):
    arrays = {weight.name: numpy_helper.to_array(weight) for weight in eight.graph.initializer}
    per_channel = 0
    for node in eight.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert (arrays[node.input[1]] > 0).all()
            assert arrays[node.input[1]].dtype == np.float16
            assert not arrays[node.input[2]].any()
            assert arrays[node.input[2]].dtype == np.int8
        if node.op_type == "DequantizeLinear" and node.input[0] in arrays:
            assert arrays[node.input[1]].shape == (arrays[node.input[0]].shape[0],)
            assert attributes_of(node)["axis"] == 0
            per_channel += 1
    assert per_channel == 4


def test_8_bits_give_mostly_the_same_classes(unet, eight):
    some = patches(2)
    expected, scores = (run_network(n, some) for n in (with_shapes(unet()), eight))
    assert np.isfinite(scores).all()
    assert (scores.argmax(1) == expected.argmax(1)).mean() > 0.97
    assert not np.array_equal(scores, expected)


def test_equal_patches_give_equal_bytes(unet):
    some = list(patches(2)[:, None])
    first, second = (to_int8(with_shapes(unet()), some).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


def test_a_channel_of_tiny_weights_keeps_a_scale(unet):
    network = unet()
    (weight,) = (w for w in network.graph.initializer if w.name == "deep.w")
    tiny = numpy_helper.to_array(weight).copy()
    tiny[0] = 1e-12
    weight.CopyFrom(numpy_helper.from_array(tiny, "deep.w"))
    eight = to_int8(with_shapes(network), list(patches(2)[:, None]))
    arrays = {weight.name: numpy_helper.to_array(weight) for weight in eight.graph.initializer}
    scales = [arrays[node.input[1]] for node in eight.graph.node if node.op_type == "DequantizeLinear"]
    assert min(scale.min() for scale in scales) > 0
    assert np.isfinite(run_network(eight, patches(1))).all()

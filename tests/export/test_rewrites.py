"""A rewritten network gives the scores of the original, and what does not fit a rewrite is left alone."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest

from ps3d_export.graph import read_network, with_shapes
from ps3d_export.rewrites import fold_batch_norms, replace_transposed_convolutions, rewrite, split_concatenations
from ps3d_export.run import run_network
from ps3d_rt.errors import InputError

TOLERANCE = 1e-5


def kinds(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def check_equal(before: onnx.ModelProto, after: onnx.ModelProto, shape: tuple[int, ...]) -> None:
    for batch in (1, 3):
        patches = np.random.default_rng(batch).standard_normal((batch, *shape), dtype=np.float32)
        expected = run_network(before, patches)
        np.testing.assert_allclose(run_network(after, patches), expected, atol=TOLERANCE * np.abs(expected).max())


def transposed(drawing: Any, sides: tuple[Any, ...] = (5, 3, 7), *, bias: bool = True, **attributes: Any) -> Any:
    d = drawing()
    weights = [d.weight("w", 3, 4, 2, 2, 2), *([d.weight("b", 4)] if bias else [])]
    options = {"kernel_shape": [2] * 3, "strides": [2] * 3} | attributes
    d.add("ConvTranspose", ["patches", *weights], "scores", **{k: v for k, v in options.items() if v})
    return with_shapes(d.model(["batch", 3, *sides], ["batch", *"czyx"]))


@pytest.mark.parametrize("bias", [True, False])
def test_a_transposed_convolution_becomes_a_product_on_odd_sides_and_any_batch(drawing, bias):
    before = transposed(drawing, bias=bias)
    after, count = replace_transposed_convolutions(before)
    assert count == 1
    assert kinds(after) == {"Conv": 1, "Reshape": 2, "Transpose": 1}
    check_equal(before, after, (3, 5, 3, 7))


@pytest.mark.parametrize(
    "attributes",
    [{"strides": None}, {"strides": [1, 2, 2]}, {"pads": [1] * 6}, {"output_padding": [1, 0, 0]}, {"group": 3}],
)
def test_other_transposed_convolutions_stay(drawing, attributes):
    before = transposed(drawing, bias=False, **attributes)
    after, count = replace_transposed_convolutions(before)
    assert count == 0
    assert kinds(after) == {"ConvTranspose": 1}


def test_one_whose_sides_are_open_stays(drawing):
    _, count = replace_transposed_convolutions(transposed(drawing, sides=("z", "y", "x")))
    assert count == 0


@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_batch_norm_goes_into_the_convolution_before_it(drawing, kind, bias):
    d = drawing()
    shape = (5, 2, 3, 3, 3) if kind == "Conv" else (2, 5, 3, 3, 3)
    weights = [d.weight("w", *shape), *([d.weight("b", 5)] if bias else [])]
    x = d.add(kind, ["patches", *weights], "x", kernel_shape=[3] * 3)
    d.add("Relu", [d.norm("BatchNormalization", x, 5)], "scores")
    before = with_shapes(d.model(["batch", 2, 5, 7, 6], ["batch", 5, "z", "y", "x"]))
    after, count = fold_batch_norms(before)
    assert count == 1
    assert kinds(after) == {kind: 1, "Relu": 1}
    check_equal(before, after, (2, 5, 7, 6))


def test_a_batch_norm_stays_where_the_convolution_is_also_used_elsewhere(drawing):
    d = drawing()
    x = d.add("Conv", ["patches", d.weight("w", 5, 2, 3, 3, 3)], "x", kernel_shape=[3] * 3)
    d.add("Add", [d.norm("BatchNormalization", x, 5), x], "scores")
    before = with_shapes(d.model(["batch", 2, 5, 7, 6], ["batch", 5, 3, 5, 4]))
    after, count = fold_batch_norms(before)
    assert count == 0
    assert kinds(after) == kinds(before)


def test_a_concatenation_is_split_into_a_sum_and_stays_where_others_use_it(drawing):
    d = drawing()
    a, b = (d.add("Conv", ["patches", d.weight(f"{n}.w", 3, 2, 1, 1, 1)], n, kernel_shape=[1] * 3) for n in "ab")
    both = d.add("Concat", [a, b, "patches"], "both", axis=1)
    c = d.add(
        "Conv", [both, d.weight("c.w", 8, 8, 3, 3, 3), d.weight("c.b", 8)], "c", kernel_shape=[3] * 3, pads=[1] * 6
    )
    d.add("Add", [both, c], "scores")
    before = with_shapes(d.model(["batch", 2, 5, 4, 3], ["batch", 8, 5, 4, 3]))
    after, count = split_concatenations(before)
    assert count == 1
    assert kinds(after) == {"Conv": 5, "Concat": 1, "Add": 3}
    check_equal(before, after, (2, 5, 4, 3))


@pytest.mark.parametrize("norm", ["InstanceNormalization", "BatchNormalization"])
def test_a_whole_network_keeps_its_scores(unet, norm):
    before = with_shapes(unet(norm))
    after, counts = rewrite(before)
    folded = 3 if norm == "BatchNormalization" else 0
    assert counts == {"folded_batch_norms": folded, "replaced_transposed_convolutions": 1}
    assert not kinds(after)["ConvTranspose"]
    assert kinds(after)[norm] == 3 - folded
    check_equal(before, after, (1, 16, 16, 16))
    split, count = split_concatenations(after)
    assert count == 1
    assert not kinds(split)["Concat"]
    check_equal(before, split, (1, 16, 16, 16))


def test_a_rewrite_leaves_the_original_and_no_unused_weight(unet):
    before = with_shapes(unet("BatchNormalization"))
    bytes_before = before.SerializeToString()
    after, _ = rewrite(before)
    assert before.SerializeToString() == bytes_before
    used = {name for node in after.graph.node for name in node.input}
    assert {weight.name for weight in after.graph.initializer} <= used


def test_a_file_that_is_no_network_is_named(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a network")
    with pytest.raises(InputError, match=r"broken\.onnx is not a valid ONNX network"):
        read_network(path)

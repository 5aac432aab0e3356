"""A variant is a whole bundle that says where it comes from; the default model survives each precision."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from scipy import ndimage

from ps3d_export import variant
from ps3d_export.graph import read_network, with_shapes
from ps3d_export.run import run_network
from ps3d_export.variant import convert, export_variant
from ps3d_rt.engines import CPU_ENGINES, open_engine
from ps3d_rt.errors import InputError, Ps3dError
from ps3d_rt.model import load_model


def test_a_variant_is_a_bundle_that_says_where_it_comes_from(bundle, tmp_path):
    half = export_variant(bundle, tmp_path / "half.ps3d", precision="fp16")
    assert half == load_model(tmp_path / "half.ps3d")
    assert (half.name, half.members, half.patch) == ("half", bundle.members, bundle.patch)
    assert half.provenance["precision"] == "fp16"
    assert half.provenance["exported_from"] == {"name": "tiny", "hash": bundle.hash}
    for member in half.members:
        difference = half.provenance["export"][member]["score_difference"]
        assert 0 < difference["mean"] < difference["largest"] < 0.02
    assert half.hash != bundle.hash
    patches = np.random.default_rng(0).standard_normal((2, 1, *bundle.patch), dtype=np.float32)
    with open_engine(half, engine="onnxruntime") as low, open_engine(bundle, engine="onnxruntime") as full:
        np.testing.assert_allclose(low.infer(patches), full.infer(patches), atol=0.02)


def test_int8_is_calibrated_on_the_samples_given(bundle, folder, tmp_path):
    eight = export_variant(bundle, tmp_path / "eight.ps3d", precision="int8", samples=folder)
    assert eight.provenance["export"]["calibration"] == {"samples": "samples", "patches": 32, "seed": 310}
    counts = eight.provenance["export"]["a.onnx"]
    assert (counts["replaced_transposed_convolutions"], counts["split_concatenations"]) == (1, 1)
    kinds = [node.op_type for node in onnx.load(eight.onnx_paths[1]).graph.node]
    assert kinds.count("QuantizeLinear") == 3  # of four convolutions, two share an input


def test_a_rewritten_fp32_model_keeps_its_scores(bundle, tmp_path):
    rewritten = export_variant(bundle, tmp_path / "r.ps3d", precision="fp32", rewrites=True)
    told = rewritten.provenance["export"]["a.onnx"]
    assert told["replaced_transposed_convolutions"] == 1
    assert told["score_difference"]["largest"] < 1e-5


def test_what_cannot_be_exported_is_said_before_any_work(bundle, tmp_path):
    out = tmp_path / "out.ps3d"
    with pytest.raises(InputError, match="nothing would change"):
        export_variant(bundle, out, precision="fp32")
    with pytest.raises(InputError, match="use fp32, fp16, int8"):
        export_variant(bundle, out, precision="bf16")
    with pytest.raises(InputError, match=r"ends in \.ps3d"):
        export_variant(bundle, tmp_path / "out", precision="fp16")
    half = replace(bundle, provenance={"precision": "fp16", "exported_from": {"name": "first", "hash": ""}})
    with pytest.raises(InputError, match="is fp16 already; export from the float32 one, 'first'"):
        export_variant(half, out, precision="int8")
    assert not out.exists()


def test_a_wrong_rewrite_is_not_written(bundle, tmp_path, monkeypatch):
    def wrong(network, precision, **options):
        changed, counts = convert(network, precision, **options)
        (weight,) = (w for w in changed.graph.initializer if w.name == "last.w")
        weight.CopyFrom(onnx.numpy_helper.from_array(1.01 * onnx.numpy_helper.to_array(weight), "last.w"))
        return changed, counts

    monkeypatch.setattr(variant, "convert", wrong)
    with pytest.raises(Ps3dError, match="differs by"):
        export_variant(bundle, tmp_path / "out.ps3d", precision="fp32", rewrites=True)
    assert not (tmp_path / "out.ps3d").exists()


def test_scores_that_are_not_finite_are_not_written(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(variant, "run_network", lambda network, patches: np.full_like(patches, np.nan))
    with pytest.raises(Ps3dError, match="not finite"):
        export_variant(bundle, tmp_path / "out.ps3d", precision="fp16")
    assert not (tmp_path / "out.ps3d").exists()


@pytest.fixture(scope="module")
def default() -> tuple[onnx.ModelProto, np.ndarray, np.ndarray]:
    """The default model's network, patches of blurred balls of its size, and its scores of the last."""
    bundle = load_model()
    draw = np.random.default_rng(3)
    side, radius = 48, bundle.target_size_voxels / 2
    far = np.ones((3 * side, side, side), bool)
    far[tuple(draw.integers(0, far.shape, (24, 3)).T)] = False
    gray = ndimage.gaussian_filter((ndimage.distance_transform_edt(far) < radius).astype(np.float32), 1)
    gray += 0.1 * draw.standard_normal(gray.shape)
    patches = ((gray - gray.mean()) / gray.std()).reshape(3, 1, 1, side, side, side).astype(np.float32)
    network = smaller(read_network(bundle.onnx_paths[0]), side)
    return network, patches, run_network(network, patches[2])


def smaller(network: onnx.ModelProto, side: int) -> onnx.ModelProto:
    """The same network for smaller patches: the test is quick."""
    for value in (*network.graph.input, *network.graph.output):
        for dimension in value.type.tensor_type.shape.dim[2:]:
            dimension.dim_value = side
    return with_shapes(network)


@pytest.mark.parametrize(("precision", "share"), [("fp32", 1.0), ("fp16", 0.9995), ("int8", 0.985)])
def test_the_default_model_gives_the_same_classes(default, precision, share):
    network, patches, expected = default
    changed, _ = convert(network, precision, rewrites=True, patches=list(patches[:2]))
    scores = run_network(changed, patches[2])
    shares = np.bincount(expected.argmax(1).ravel(), minlength=3) / expected[0, 0].size
    assert (shares > 0.01).all(), f"shares of background, core, border: {shares}"
    assert (scores.argmax(1) == expected.argmax(1)).mean() >= share


def test_openvino_agrees_with_onnx_runtime_about_8_bits(default, tmp_path):
    """It does not for 8-bit convolutions of concatenations: this is why they are split."""
    network, patches, _ = default
    eight, _ = convert(network, "int8", patches=list(patches[:2]))
    onnx.save(eight, tmp_path / "eight.onnx")
    with CPU_ENGINES["openvino"](tmp_path / "eight.onnx", patches.shape[3:], precision="fp32") as engine:
        scores = engine.infer(patches[2])
        assert "int8" in engine.spec.precision.split("+")
    assert (scores.argmax(1) == run_network(eight, patches[2]).argmax(1)).mean() > 0.998

"""The bundled default model computes the same thing in every engine as in torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino
import pytest
from scipy import ndimage

from ps3d_rt.core.arrays import Array
from ps3d_rt.engines import CPU_ENGINES, open_engine
from ps3d_rt.engines.precision import candidates, draw_patch
from ps3d_rt.model import ModelBundle, load_model

Reference = Callable[[Path, Array], Array]


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    return load_model()


@pytest.fixture(scope="module")
def patches(bundle: ModelBundle) -> Array:
    """Two patches of blurred, noisy balls of the size the model was trained for, z-scored."""
    draw = np.random.default_rng(0)
    radius = bundle.target_size_voxels / 2
    result = np.empty((2, 1, *bundle.patch), np.float32)
    for patch in result[:, 0]:
        far = np.ones(bundle.patch, bool)
        count = max(3, round(0.4 * far.size / (4 / 3 * np.pi * radius**3)))
        far[tuple(draw.integers(0, bundle.patch, (count, 3)).T)] = False
        balls = ndimage.distance_transform_edt(far) < radius
        image = ndimage.gaussian_filter(balls.astype(np.float32), 1) + 0.1 * draw.standard_normal(bundle.patch)
        patch[:] = (image - image.mean()) / image.std()
    return result


@pytest.fixture(scope="module")
def expected(bundle: ModelBundle, patches: Array, torch_reference: Reference) -> Array:
    scores = [torch_reference(path, patches) for path in bundle.onnx_paths]
    mean: Array = np.mean(scores, axis=0)
    return mean


def test_the_reference_tells_the_classes_apart(expected: Array) -> None:
    # Were the reference blank, engines that are blank too would pass.
    shares = np.bincount(expected.argmax(axis=1).ravel(), minlength=3) / expected[:, 0].size
    assert (shares > 0.01).all(), f"shares of background, core, border: {shares}"


@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_fp32_agrees_with_torch(bundle: ModelBundle, patches: Array, expected: Array, engine: str) -> None:
    with open_engine(bundle, engine=engine, precision="fp32") as ready:
        scores = ready.infer(patches)
    np.testing.assert_allclose(scores, expected, atol=1e-3)
    assert (scores.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.9999


def test_bf16_gives_nearly_the_same_classes(bundle: ModelBundle, patches: Array, expected: Array) -> None:
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU has no bf16")
    with open_engine(bundle, device="cpu", precision="bf16") as ready:
        scores = ready.infer(patches)
        assert ready.spec.precision == "bf16"
    assert np.abs(scores - expected).mean() < 0.002
    assert (scores.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.998


def test_8_bits_give_nearly_the_same_classes(bundle: ModelBundle, patches: Array, expected: Array) -> None:
    with open_engine(bundle, device="cpu", precision="int8") as ready:
        scores = ready.infer(patches)
        assert "int8" in ready.spec.precision.split("+")
    assert (scores.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.992


def test_the_default_model_may_run_in_8_bits(bundle: ModelBundle) -> None:
    """Retrained, it needs ``ps3d-rt export precisions default`` once more: without, every CPU would run fp32."""
    assert candidates(bundle) == ("fp32", "bf16", "int8")
    patch = draw_patch(bundle.patch, bundle.target_size_voxels, scheme=bundle.gray_scheme)
    with open_engine(bundle, device="cpu", precision="fp32") as ready:
        shares = np.bincount(ready.infer(patch[None, None]).argmax(axis=1).ravel(), minlength=3) / patch.size
    assert (shares > 0.02).all(), f"a patch without a class could not tell whether it is right: {shares}"

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from ps3d_bench.baselines.sliding_window import SlidingWindow
from ps3d_rt.errors import InputError
from ps3d_rt.model import load_model

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def default():
    return load_model()


@pytest.fixture(scope="module")
def scores(default):
    """A patch, and what ONNX Runtime makes of it."""
    import onnxruntime  # noqa: PLC0415 - heavy

    patch = np.random.default_rng(0).standard_normal((1, 1, *default.patch), dtype=np.float32)
    session = onnxruntime.InferenceSession(default.onnx_paths[0], providers=["CPUExecutionProvider"])
    return patch, session.run(["scores"], {"patches": patch})[0]


def test_the_network_has_the_bundles_weights(default, scores):
    patch, expected = scores
    with torch.inference_mode():
        logits = SlidingWindow(default).network(torch.from_numpy(patch))
    assert np.abs(torch.softmax(logits, 1).numpy() - expected).max() < 1e-4


def test_a_volume_of_one_patch_is_its_argmax(default, scores):
    patch, expected = scores
    found = SlidingWindow(default).predict_classes(patch[0, 0], overlap=0.25, mirror=False)
    assert found.windows == 1
    assert found.seconds > 0
    assert found.classes.dtype == np.uint8
    best, second = np.sort(expected[0], axis=0)[[-1, -2]]
    clear = best > 1.05 * second
    # Logits times Gaussian are kept in half precision, which has no digits left for the Gaussian at the corners.
    middle = np.s_[16:-16, 16:-16, 16:-16]
    assert clear[middle].mean() > 0.9
    assert (found.classes == expected[0].argmax(0))[middle][clear[middle]].all()


@pytest.fixture(scope="module")
def small(default):
    return SlidingWindow(replace(default, patch=(16, 16, 16)), threads=1)


def test_windows_lie_on_a_grid_that_the_overlap_sets(small):
    volume = np.random.default_rng(1).standard_normal((16, 30, 20), dtype=np.float32)
    assert small.predict_classes(volume, overlap=0.25, mirror=False).windows == 1 * 3 * 2
    half = small.predict_classes(volume, overlap=0.5, mirror=False)
    assert (half.windows, half.classes.shape) == (1 * 3 * 2, volume.shape)
    assert small.predict_classes(volume, overlap=0.0, mirror=False).windows == 1 * 2 * 2


def test_a_volume_smaller_than_a_patch_is_padded(small):
    found = small.predict_classes(np.zeros((9, 16, 12), np.float32), overlap=0.5, mirror=False)
    assert (found.windows, found.classes.shape) == (1, (9, 16, 12))


def test_with_mirroring_a_mirrored_volume_gives_mirrored_classes(small):
    noise = np.random.default_rng(2).standard_normal((16, 16, 16), dtype=np.float32)
    volume = 8 * ndimage.gaussian_filter(noise, 1.5)  # blobs as bright as particles
    shares = {}
    for mirror in (True, False):
        there = small.predict_classes(volume, overlap=0.5, mirror=mirror).classes
        back = small.predict_classes(volume[::-1, :, ::-1].copy(), overlap=0.5, mirror=mirror).classes
        shares[mirror] = (there == back[::-1, :, ::-1]).mean()
    assert shares[True] > 0.995 > shares[False]


def test_a_bundle_without_a_plan_is_refused(default):
    with pytest.raises(InputError, match="does not say how it was trained"):
        SlidingWindow(replace(default, provenance={}))


def test_a_plan_that_does_not_fit_the_weights_is_refused(default):
    plan = default.provenance["training_plan"] | {"width": 8}
    with pytest.raises(InputError, match="no fitting tensor"):
        SlidingWindow(replace(default, provenance={"training_plan": plan}))

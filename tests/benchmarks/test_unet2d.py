from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from ps3d_bench import accuracy, methods
from ps3d_bench.accuracy_samples import Drawn
from ps3d_bench.baselines.unet2d import SliceNetwork
from ps3d_bench.methods import Lab
from ps3d_bench.samples import Case
from ps3d_rt.errors import InputError
from ps3d_training.synth import SampleSpec


def network(path: Path, classes: int = 2) -> Path:
    """Scores of classes 0 and 1: −g and g of every pixel's standardized gray value g."""
    weights = np.linspace(-1, 1, classes, dtype=np.float32).reshape(classes, 1, 1, 1)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weights"], ["scores"])],
        "sign",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, "y", "x"])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, classes, "y", "x"])],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def test_slices_are_scored_one_by_one_whatever_their_sides(grains, tmp_path):
    image, _ = grains
    found = SliceNetwork(network(tmp_path / "net.onnx")).foreground(image)
    assert found.shape == image.shape
    assert (found == (image > image.mean())).all()


def test_it_is_opened_eroded_and_grown_as_tuned_on_training_samples(grains, tmp_path, bundle, monkeypatch):
    spec = SampleSpec(seed=6, shape=(40, 40, 40), particle_size_voxels=12, fill=0.2, touching=0.1, noise=0.02)
    monkeypatch.setattr(methods, "TUNING", (spec,))
    image, reference = grains
    came_out = {"particles": 3, "mean_diameter_voxels": 11.0, "touching": 2 / 3}
    case = Case("synth_00001", tmp_path, 0.01, 0.11, {}, came_out, image, reference)
    lab = Lab(bundle, tmp_path, engine="fake", unet2d=network(tmp_path / "net.onnx"))
    found = accuracy.judge(Drawn("in", spec), case, lab.segmenters(["unet2d"]))["methods"]["unet2d"]
    assert found["f1"] > 0.95
    assert found["erosion_share"] >= 0


def test_a_network_of_other_classes_or_none_is_refused(grains, tmp_path):
    with pytest.raises(InputError, match="two classes"):
        SliceNetwork(network(tmp_path / "three.onnx", classes=3)).foreground(grains[0])
    (tmp_path / "no.onnx").write_text("no network")
    with pytest.raises(InputError, match="Pass an ONNX file"):
        SliceNetwork(tmp_path / "no.onnx")

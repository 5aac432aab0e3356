"""A results folder of nnU-Net v2 goes through the importer; the network to compare with is built from its package."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import nn

from ps3d_rt.errors import InputError
from ps3d_rt.model import load_model
from ps3d_training import import_v2
from ps3d_training.import_model import import_model
from ps3d_training.trained_model import Normalization

PATCH = (8, 16, 16)
SIZES: dict[str, Any] = {
    "n_stages": 3,
    "features_per_stage": [4, 8, 12],
    "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
    "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
    "n_conv_per_stage": [2, 2, 2],
    "n_conv_per_stage_decoder": [2, 1],
}
Edit = Callable[[dict[str, Any]], object]


def make_network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    network = PlainConvUNet(
        input_channels=1,
        num_classes=3,
        conv_op=nn.Conv3d,
        conv_bias=True,
        norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=True,
        **SIZES,
    )
    with torch.no_grad():
        for value in network.parameters():
            value.add_(0.2 * torch.randn(value.shape))
    return network


def plans() -> dict[str, Any]:
    names = {"conv_op": "torch.nn.modules.conv.Conv3d", "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d"}
    options = {
        **SIZES,
        **names,
        "conv_bias": True,
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    full = {
        "patch_size": list(PATCH),
        "normalization_schemes": ["ZScoreNormalization"],
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": options,
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }
    return {
        "dataset_name": "Dataset007_ore",
        "plans_name": "nnUNetPlans",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": full, "3d_larger": {"inherits_from": "3d_fullres", "batch_size": 3}},
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fold 0 with both checkpoints, and fold_all with the best one alone."""
    folder = tmp_path_factory.mktemp("v2") / "nnUNetTrainer__nnUNetPlans__3d_larger"
    dataset = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "core": 1, "border": 2}, "file_ending": ".tif"}
    for fold, name, seed in (("0", "final", 0), ("0", "best", 9), ("all", "best", 1)):
        content = {
            "network_weights": make_network(seed).state_dict(),
            "optimizer_state": {"state": {}, "param_groups": [{"lr": 1e-2}]},
            "grad_scaler_state": None,
            "logging": {"ema_fg_dice": [np.float64(0.9)], "train_losses": [np.mean([0.1, 0.2])]},
            "_best_ema": np.float64(0.9),
            "current_epoch": 1000,
            "init_args": {"plans": plans(), "configuration": "3d_larger", "device": torch.device("cpu")},
            "trainer_name": "nnUNetTrainer",
            "inference_allowed_mirroring_axes": (0, 2),
        }
        (folder / f"fold_{fold}").mkdir(parents=True, exist_ok=True)
        torch.save(content, folder / f"fold_{fold}" / f"checkpoint_{name}.pth")
    (folder / "plans.json").write_text(json.dumps(plans()), encoding="utf-8")
    (folder / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
    return folder


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "trained"))


def edit(path: Path, change: Edit) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_the_bundle_scores_as_the_networks_in_the_files(trained: Path, tmp_path: Path) -> None:
    sizes = Normalization(target_size_voxels=30, border_thickness_voxels=2, gray=(120.0, 14.5))
    written = import_model(trained, tmp_path / "ore.ps3d", normalization=sizes)
    bundle = load_model(written.path)
    assert (bundle.name, bundle.patch, bundle.members) == ("ore", PATCH, ("fold_0.onnx", "fold_all.onnx"))
    assert (bundle.target_size_voxels, bundle.border_thickness_voxels, bundle.lowpass) == (30, 2, False)
    assert (bundle.gray_scheme, bundle.gray_mean, bundle.gray_std) == ("constants", 120, 14.5)
    assert bundle.mirror_axes == (0, 2)
    assert bundle.provenance["configuration"] == "3d_larger"
    assert bundle.provenance["folds"]["fold_0"]["checkpoint"] == "checkpoint_final.pth"
    patches = np.random.default_rng(3).normal(0, 1.5, (3, 1, *PATCH)).astype(np.float32)
    for path, seed in zip(bundle.onnx_paths, (0, 1), strict=True):
        network = make_network(seed).eval()
        with torch.inference_mode():
            expected = torch.softmax(network(torch.from_numpy(patches))[0], dim=1).numpy()
        assert expected.std(axis=(0, 2, 3, 4)).min() > 0.05, "scores that hardly vary would show nothing"
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (scores,) = session.run(["scores"], {"patches": patches})
        np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_sizes_must_be_given(cli: Callable[..., tuple[int, str, str]], trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.ps3d"
    for options in ([], ["--target-size", 30], ["--border", 2]):
        code, _, stderr = cli("model", "import", trained, out, *options)
        assert code == 2
        assert "--target-size and --border" in stderr
    with pytest.raises(InputError, match="target_size_voxels is 0"):
        import_model(trained, out, normalization=Normalization(target_size_voxels=0, border_thickness_voxels=2))
    assert not out.exists()


def loads(folder: Path) -> None:
    model = import_v2.read_folder(folder, None)
    model.load(model.checkpoints["0"])


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        ("dataset.json", lambda d: d["labels"].update(core=2, border=1), "names channels .* labels"),
        ("dataset.json", lambda d: d["labels"].pop("border"), "names channels .* labels"),
        ("dataset.json", lambda d: d["channel_names"].update({"1": "more"}), "one channel"),
        ("plans.json", lambda p: p.update(transpose_forward=[1, 0, 2]), "turns the axes"),
        ("plans.json", lambda p: p["configurations"]["3d_fullres"].update(patch_size=[32, 32]), "3-D network"),
        ("plans.json", lambda p: p["configurations"]["3d_larger"].update(previous_stage="3d_lowres"), "cascade"),
        ("plans.json", lambda p: p["configurations"].pop("3d_larger"), "3d_larger"),
        ("plans.json", lambda p: p.pop("configurations"), "configurations"),
        (
            "plans.json",
            lambda p: p["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"].update(
                features_per_stage=[4, 8, 16]
            ),
            "does not fit the network",
        ),
    ],
)
def test_folders_that_do_not_fit_are_refused(copied: Path, file: str, change: Edit, says: str) -> None:
    edit(copied / file, change)
    with pytest.raises(InputError, match=says):
        loads(copied)


@pytest.mark.parametrize(
    "name",
    ["os.system", "mischief", "mischief.Net", "torch.nn.modules.module.warnings.warn", "torch.save", 5, ["a"]],
)
@pytest.mark.parametrize("place", ["network", "layer"])
def test_a_plan_can_name_networks_and_layers_only(
    copied: Path, monkeypatch: pytest.MonkeyPatch, name: object, place: str
) -> None:
    (copied / "mischief.py").write_text("open('done', 'w')\nclass Net: pass\n", encoding="utf-8")
    monkeypatch.chdir(copied)
    monkeypatch.syspath_prepend(copied)

    def change(content: dict[str, Any]) -> None:
        architecture = content["configurations"]["3d_fullres"]["architecture"]
        if place == "network":
            architecture["network_class_name"] = name
        else:
            architecture["arch_kwargs"]["nonlin"] = name

    edit(copied / "plans.json", change)
    with pytest.raises(InputError, match=r"asks for .* not a network or layer"):
        loads(copied)
    assert not (copied / "done").exists()


class Mischief:
    """Unpickled, it writes a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("mischief").touch, ())


def test_a_checkpoint_runs_no_code(copied: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"network_weights": {}, "trainer_name": Mischief()}, copied / "fold_0/checkpoint_final.pth")
    with pytest.raises(InputError, match=r"checkpoint_final\.pth cannot be read .*asks for"):
        loads(copied)
    assert not Path("mischief").exists()

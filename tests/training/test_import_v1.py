"""Networks of nnU-Net v1, made here layer by layer from the names in its files, go through the importer."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch.nn import functional

from ps3d_rt.engines import open_engine
from ps3d_rt.errors import InputError
from ps3d_rt.model import load_model
from ps3d_training import import_v1
from ps3d_training.import_model import import_model
from ps3d_training.safe_pickle import read_pickle, read_torch

# Flat at first: kernels and poolings differ along z. The decoder takes the kernels of the stage below, as v1 does.
PATCH = (8, 16, 24)
STRIDES = [[1, 2, 2], [2, 2, 2], [2, 2, 1]]
KERNELS = [[1, 3, 3], [3, 3, 3], [3, 3, 3], [3, 1, 3]]
FEATURES = [4, 8, 16, 16]
Weights = dict[str, torch.Tensor]


def make_weights(seed: int, inputs: int = 1, classes: int = 3) -> Weights:
    """Random weights under the names of the published files."""
    random, weights = torch.Generator().manual_seed(seed), OrderedDict()

    def block(name: str, features: int, inputs: int, kernel: list[int]) -> None:
        scale = 1.5 / np.sqrt(inputs * np.prod(kernel))
        weights[f"{name}.conv.weight"] = torch.randn(features, inputs, *kernel, generator=random) * scale
        weights[f"{name}.conv.bias"] = torch.randn(features, generator=random)
        weights[f"{name}.instnorm.weight"] = 1 + 0.2 * torch.randn(features, generator=random)
        weights[f"{name}.instnorm.bias"] = 0.5 * torch.randn(features, generator=random)

    before = inputs
    for s, (features, kernel) in enumerate(zip(FEATURES, KERNELS, strict=True)):
        last = s == len(FEATURES) - 1
        for i, name in enumerate(("0.blocks.0", "1.blocks.0") if last else ("blocks.0", "blocks.1")):
            block(f"conv_blocks_context.{s}.{name}", features, features if i else before, kernel)
        before = features
    for u in range(len(STRIDES)):
        skip, kernel = FEATURES[-2 - u], KERNELS[-1 - u]
        weights[f"tu.{u}.weight"] = torch.randn(before, skip, *STRIDES[-1 - u], generator=random) / np.sqrt(before)
        block(f"conv_blocks_localization.{u}.0.blocks.0", skip, 2 * skip, kernel)
        block(f"conv_blocks_localization.{u}.1.blocks.0", skip, skip, kernel)
        weights[f"seg_outputs.{u}.weight"] = torch.randn(classes, skip, 1, 1, 1, generator=random)
        before = skip
    return weights


def scores_of(weights: Weights, patches: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What a network of this layout computes: written down once more, without its classes."""

    def block(name: str, x: torch.Tensor, stride: list[int]) -> torch.Tensor:
        kernel = weights[f"{name}.conv.weight"]
        padding = [(side - 1) // 2 for side in kernel.shape[2:]]
        x = functional.conv3d(x, kernel, weights[f"{name}.conv.bias"], stride, padding)
        mean, variance = x.mean((2, 3, 4), keepdim=True), x.var((2, 3, 4), unbiased=False, keepdim=True)
        scale, shift = (weights[f"{name}.instnorm.{part}"].reshape(-1, 1, 1, 1) for part in ("weight", "bias"))
        x = (x - mean) / (variance + 1e-5).sqrt() * scale + shift
        return torch.where(x > 0, x, 0.01 * x)

    x, skips, still = torch.from_numpy(patches), [], [1, 1, 1]
    for s, stride in enumerate([still, *STRIDES]):
        first, second = ("0.blocks.0", "1.blocks.0") if s == len(STRIDES) else ("blocks.0", "blocks.1")
        x = block(f"conv_blocks_context.{s}.{first}", x, stride)
        x = block(f"conv_blocks_context.{s}.{second}", x, still)
        skips.append(x)
    skips.pop()
    for u, stride in enumerate(reversed(STRIDES)):
        x = functional.conv_transpose3d(x, weights[f"tu.{u}.weight"], stride=stride)
        x = torch.cat([x, skips.pop()], dim=1)
        x = block(f"conv_blocks_localization.{u}.0.blocks.0", x, still)
        x = block(f"conv_blocks_localization.{u}.1.blocks.0", x, still)
    x = functional.conv3d(x, weights[f"seg_outputs.{len(STRIDES) - 1}.weight"])
    scores: np.ndarray[Any, Any] = torch.softmax(x, dim=1).numpy()
    return scores


def plans(**changes: Any) -> dict[str, Any]:
    """A plan with the kinds of values that v1 writes: arrays, their numbers, ordered dicts."""
    stage = {
        "batch_size": 2,
        "num_pool_per_axis": [2, 3, 2],
        "patch_size": np.array(PATCH),
        "median_patient_size_in_voxels": np.array([128, 400, 400]),
        "current_spacing": np.array([0.1, 0.1, 0.1]),
        "do_dummy_2D_data_aug": False,
        "pool_op_kernel_sizes": STRIDES,
        "conv_kernel_sizes": KERNELS,
    } | changes
    coarse = stage | {"patch_size": np.array([1, 1, 1])}
    return {
        "num_stages": 2,
        "modalities": {0: "noNorm"},
        "normalization_schemes": OrderedDict([(0, "noNorm")]),
        "dataset_properties": {"all_classes": {1, 2}, "mean": np.float32(3.5), "size_reductions": OrderedDict()},
        "original_sizes": [np.array([128, 400, 400])],
        "base_num_features": FEATURES[0],
        "num_classes": 2,
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "plans_per_stage": {0: coarse, 1: stage},
        "conv_per_stage": 2,
    }


def of_old_numpy(content: bytes) -> bytes:
    """The same pickle as numpy 1 would have written it."""
    assert b"numpy._core.multiarray\n" in content
    return content.replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n")


def write_checkpoint(path: Path, weights: Weights, trainer: str = "nnUNetTrainerV2_slimDA5_touchV5") -> None:
    """The two files of a v1 checkpoint."""
    content = {
        "epoch": 1000,
        "state_dict": weights,
        "optimizer_state_dict": {"state": {0: {"momentum_buffer": torch.zeros(2)}}, "param_groups": [{"lr": 1e-2}]},
        "lr_scheduler_state_dict": None,
        "plot_stuff": ([np.float32(0.5)], [np.float64(0.25)], [], [np.mean([0.5])]),
        "best_stuff": (np.float64(0.1), 0.2, -np.inf),
        "amp_grad_scaler": {"scale": 65536.0, "_growth_tracker": 0},
    }
    new = path.with_suffix(".new")
    torch.save(content, new)
    with zipfile.ZipFile(new) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.namelist():
            stored = source.read(entry)
            target.writestr(entry, of_old_numpy(stored) if entry.endswith("data.pkl") else stored)
    new.unlink()
    info = OrderedDict(init=("plans.pkl", 0), name=trainer, **{"class": "<class 'Trainer'>"}, plans=plans())
    path.with_name(f"{path.name}.pkl").write_bytes(of_old_numpy(pickle.dumps(info, protocol=3)))


def write_folder(folder: Path, folds: dict[str, Weights], trainer: str = "nnUNetTrainerV2", **changes: Any) -> Path:
    """A results folder as v1 leaves it."""
    folder.mkdir(parents=True)
    (folder / "plans.pkl").write_bytes(of_old_numpy(pickle.dumps(plans(**changes), protocol=3)))
    for fold, weights in folds.items():
        place = folder / f"fold_{fold}"
        place.mkdir()
        write_checkpoint(place / "model_best.model", weights, trainer)
        (place / "debug.json").write_text(json.dumps({"num_classes": "3", "conv_per_stage": "2"}), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def two_folds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folds 0 and 3."""
    return write_folder(tmp_path_factory.mktemp("v1") / "trained", {"0": make_weights(0), "3": make_weights(3)})


@pytest.fixture(scope="module")
def imported(two_folds: Path) -> Path:
    return import_model(two_folds, two_folds.parent / "published.ps3d").path


@pytest.fixture
def copied(two_folds: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(two_folds, tmp_path / "trained"))


def some_patches(count: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(7).standard_normal((count, 1, *PATCH), dtype=np.float32)


@pytest.mark.parametrize(("member", "seed"), [(0, 0), (1, 3)])
def test_a_member_scores_as_the_network_in_the_files(imported: Path, member: int, seed: int) -> None:
    patches = some_patches(3)
    expected = scores_of(make_weights(seed), patches)
    assert expected.std(axis=(0, 2, 3, 4)).min() > 0.1, "scores that hardly vary would show nothing"
    session = onnxruntime.InferenceSession(load_model(imported).onnx_paths[member], providers=["CPUExecutionProvider"])
    (scores,) = session.run(["scores"], {"patches": patches})
    np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_the_bundle_runs_as_the_published_ensemble_does(imported: Path) -> None:
    patches = some_patches(1)
    expected = np.zeros((1, 3, *PATCH))
    for seed, turned in product((0, 3), range(8)):
        axes = [axis for axis in range(3) if turned >> axis & 1]
        image = np.flip(patches, [axis + 2 for axis in axes]).copy()
        expected += np.flip(scores_of(make_weights(seed), image), [axis + 2 for axis in axes])
    with open_engine(load_model(imported), engine="onnxruntime") as engine:
        np.testing.assert_allclose(engine.infer(patches), expected / 16, atol=1e-4)


def test_the_bundle_says_what_was_published(imported: Path, two_folds: Path) -> None:
    bundle = load_model(imported)
    assert (bundle.name, bundle.patch, bundle.members) == ("published", PATCH, ("fold_0.onnx", "fold_3.onnx"))
    assert (bundle.target_size_voxels, bundle.border_thickness_voxels) == (60, 3)
    assert bundle.gray_scheme == "constants"
    assert (bundle.gray_mean, bundle.gray_std) == (5850.29762143569, 7078.294543817302)
    assert (bundle.lowpass, bundle.overlap, bundle.min_relative_volume) == (False, 0.5, 0.005)
    assert bundle.mirror_axes == (0, 1, 2)
    assert bundle.licence == "NOASSERTION"
    assert bundle.provenance["trainers"] == ["nnUNetTrainerV2"]
    assert bundle.provenance["folds"]["fold_3"]["onnx_to_torch_difference"] < 1e-4
    assert str(two_folds.parent) not in (imported / "model.json").read_text(encoding="utf-8")


def test_what_is_asked_for_counts(cli: Callable[..., tuple[int, str, str]], two_folds: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.ps3d"
    options = ["--folds", "3", "--no-mirror", "--target-size", 24, "--border", 2.5, "--gray", "volume"]
    code, stdout, stderr = cli("model", "import", two_folds, out, *options, "--licence", "CC-BY-4.0")
    assert (code, stdout) == (0, f"{out}\n"), stderr
    bundle = load_model(out)
    assert (bundle.members, bundle.mirror_axes, bundle.licence) == (("fold_3.onnx",), (), "CC-BY-4.0")
    assert (bundle.target_size_voxels, bundle.border_thickness_voxels) == (24, 2.5)
    assert (bundle.gray_scheme, bundle.gray_mean) == ("volume", None)
    code, _, stderr = cli("model", "import", two_folds, out)
    assert code == 2
    assert "exists" in stderr
    assert cli("model", "import", two_folds, tmp_path / "n.ps3d", "--gray", "1;2")[0] == 2


def test_a_trainer_without_mirrors_has_none(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "t", {"0": make_weights(0)}, trainer="nnUNetTrainerV2_noMirroring")
    assert import_v1.read_folder(folder, None).mirror_axes == ()


def test_names_from_a_training_on_several_gpus_are_understood(tmp_path: Path) -> None:
    weights = make_weights(0)
    folder = write_folder(tmp_path / "t", {"0": {f"module.{name}": value for name, value in weights.items()}})
    model = import_v1.read_folder(folder, None)
    loaded = model.load(model.checkpoints["0"]).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in weights.items())


# --- folders and weights that do not fit ---


def without(weights: Weights, name: str) -> Weights:
    return {key: value for key, value in weights.items() if key != name}


def first_of(folder: Path) -> None:
    model = import_v1.read_folder(folder, None)
    model.load(model.checkpoints["0"])


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        (make_weights(0, inputs=2), "takes 2 images"),
        (make_weights(0, classes=4), "knows 4 classes"),
        (without(make_weights(0), "seg_outputs.2.weight"), "2 seg_outputs for 3 resolutions"),
        (without(make_weights(0), "conv_blocks_context.1.blocks.0.instnorm.bias"), "instnorm.bias"),
        (without(make_weights(0), "conv_blocks_localization.1.0.blocks.0.conv.weight"), "localization.1.0"),
        (make_weights(0) | {"attention.weight": torch.zeros(1)}, "attention.weight"),
        ({}, "conv_blocks_context"),
    ],
)
def test_other_networks_are_refused(tmp_path: Path, weights: Weights, says: str) -> None:
    folder = write_folder(tmp_path / "t", {"0": weights})
    with pytest.raises(InputError, match=says):
        first_of(folder)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"pool_op_kernel_sizes": [[2, 2, 2]] * 3}, "was not trained with the plans.pkl of its folder"),
        ({"conv_kernel_sizes": [[3, 3, 3]] * 4}, "was not trained with the plans.pkl of its folder"),
        ({"patch_size": np.array([8, 16, 22])}, "do not divide"),
        ({"patch_size": np.array([64, 64])}, "a 3-D network is needed"),
        ({"pool_op_kernel_sizes": None}, "not a plan of nnU-Net v1"),
    ],
)
def test_plans_that_do_not_fit_are_refused(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    folder = write_folder(tmp_path / "t", {"0": make_weights(0)}, **changes)
    with pytest.raises(InputError, match=says):
        first_of(folder)


def test_turned_axes_are_refused(copied: Path) -> None:
    (copied / "plans.pkl").write_bytes(pickle.dumps(plans() | {"transpose_forward": [2, 0, 1]}))
    with pytest.raises(InputError, match="turns the axes"):
        first_of(copied)


def test_missing_files_are_named(copied: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.ps3d"
    with pytest.raises(InputError, match=r"of fold 1, 4; folds that have one: 0, 3"):
        import_model(copied, out, folds=["0", "1", "4"])
    with pytest.raises(InputError, match=r"holds neither plans\.pkl nor plans\.json"):
        import_model(copied.parent, out)
    for fold in (0, 3):
        (copied / f"fold_{fold}" / "model_best.model").unlink()
    with pytest.raises(InputError, match="folds that have one: none"):
        import_model(copied, out)
    with pytest.raises(InputError, match=r"ends in \.ps3d"):
        import_model(copied, tmp_path / "m")


def test_the_last_checkpoint_serves_where_there_is_no_best(copied: Path) -> None:
    place = copied / "fold_0"
    (place / "model_best.model").rename(place / "model_final_checkpoint.model")
    found = import_v1.read_folder(copied, None).checkpoints
    assert [path.name for path in found.values()] == ["model_final_checkpoint.model", "model_best.model"]


# --- files that want to run code ---


class Mischief:
    """Unpickled, it writes a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("mischief").touch, ())


class Through:
    """Unpickled, it calls ``function`` with ``values``."""

    def __init__(self, function: Callable[..., Any], *values: Any) -> None:
        self.call = (function, values)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.fixture
def nothing_happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.usefixtures("nothing_happened")
@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "evil",
    [
        Mischief(),
        [np.array([1, Mischief()], object)],
        Through(eval, "open('mischief', 'w')"),
        Through(getattr, "a", "upper"),
        Through(np.save, "mischief", np.zeros(3)),
        Path("mischief"),
    ],
    ids=["method", "in an array", "eval", "getattr", "numpy function", "path"],
)
def test_a_pickle_runs_no_code(tmp_path: Path, evil: Any, protocol: int) -> None:
    (tmp_path / "plans.pkl").write_bytes(pickle.dumps({"plans_per_stage": evil}, protocol=protocol))
    with pytest.raises(InputError, match=r"plans\.pkl cannot be read .*asks for"):
        read_pickle(tmp_path / "plans.pkl")


@pytest.mark.usefixtures("nothing_happened")
def test_no_file_of_a_folder_runs_code(copied: Path, tmp_path: Path) -> None:
    place = copied / "fold_0"
    torch.save({"state_dict": Mischief()}, tmp_path / "evil.model")
    evil = {
        "plans.pkl": (copied / "plans.pkl", pickle.dumps(Mischief())),
        "model_best.model.pkl": (place / "model_best.model.pkl", pickle.dumps(OrderedDict(name=Mischief()))),
        "model_best.model": (place / "model_best.model", (tmp_path / "evil.model").read_bytes()),
    }
    for name, (path, content) in evil.items():
        good = path.read_bytes()
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"{name} cannot be read"):
            import_model(copied, tmp_path / "m.ps3d")
        path.write_bytes(good)
    assert not (tmp_path / "m.ps3d").exists()


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_values_and_arrays_come_back(tmp_path: Path, protocol: int) -> None:
    value = {
        "text": ["ä", b"\xff\x00", None, True, 1.5, 2**70],
        "ordered": OrderedDict([(1, (2, 3))]),
        "sets": [{1, 2}, frozenset("a")],
        "arrays": [np.arange(6).reshape(2, 3).astype(dtype) for dtype in ("i8", "u2", "f4", "?")],
        "fortran": np.asfortranarray(np.eye(3)),
        "objects": np.array([[1, "a"], None], object),
        "numbers": [np.float64(0.5), np.float32(2), np.int64(-3), np.bool_(True)],
    }
    (tmp_path / "v.pkl").write_bytes(pickle.dumps(value, protocol=protocol))
    read = read_pickle(tmp_path / "v.pkl")
    np.testing.assert_equal(read, value)
    assert [array.dtype for array in read["arrays"]] == [array.dtype for array in value["arrays"]]


@pytest.mark.parametrize("read", [read_pickle, read_torch])
def test_damaged_files_are_named(two_folds: Path, tmp_path: Path, read: Callable[[Path], Any]) -> None:
    whole = {read_pickle: two_folds / "plans.pkl", read_torch: two_folds / "fold_0/model_best.model"}[read]
    read(whole)
    content = whole.read_bytes()
    for damaged in (b"", b"x", content[: len(content) // 2]):
        (tmp_path / "damaged").write_bytes(damaged)
        with pytest.raises(InputError, match="damaged cannot be read"):
            read(tmp_path / "damaged")
    with pytest.raises(InputError, match="none cannot be read"):
        read(tmp_path / "none")

from __future__ import annotations

import json
import pickle
from dataclasses import asdict, replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import pytest
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

from ps3d_rt.core.border_core import to_border_core
from ps3d_rt.core.grid import Box
from ps3d_rt.errors import CapabilityError, InputError
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.samples import find_samples
from ps3d_rt.io.volume_writer import write_volume
from ps3d_training import capability
from ps3d_training.augment.bank import read_listing
from ps3d_training.dataset import class_locations, prepare, splits
from ps3d_training.plan import TrainingPlan, check_patch, nnunet_plans, read_plan

PLAN = TrainingPlan(target_size_voxels=12, border_thickness_voxels=1.5, patch=(16, 16, 16), stages=2, width=4)
CASES = Path("Dataset001_particles", "ps3dPlans_3d_fullres")


def ball(shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float) -> np.ndarray[Any, Any]:
    grid = np.indices(shape)
    return sum((axis - c) ** 2 for axis, c in zip(grid, centre, strict=True)) < radius**2


def write_sample(folder: Path, name: str, *, labels: np.ndarray[Any, Any] | None = None) -> np.ndarray[Any, Any]:
    """Two touching balls of 12 voxels across in 20 × 24 × 40, bright on dark."""
    if labels is None:
        labels = np.zeros((20, 24, 40), np.uint32)
        labels[ball(labels.shape, (10, 12, 12), 6)] = 1
        labels[ball(labels.shape, (10, 12, 23), 6) & (labels == 0)] = 7
    gray = np.random.default_rng(0).normal(np.where(labels > 0, 20_000, 8_000), 500).astype(np.uint16)
    write_volume(folder / "images" / f"{name}.zarr", gray, 0.01)
    write_volume(folder / "instance_seg" / f"{name}.npy", labels)
    listing = folder / "metadata.json"
    metadata = json.loads(listing.read_text()) if listing.exists() else {}
    listing.write_text(json.dumps(metadata | {name: {"spacing": 0.01, "particle_size": 0.12}}))
    return labels


def load(out: Path, name: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], dict[str, Any]]:
    data, segmentation, _, properties = nnUNetDatasetBlosc2(str(out / CASES), [name]).load_case(name)
    return data[:], segmentation[:], properties


def test_a_case_at_its_own_size_is_zscored_and_cut_into_border_and_core(tmp_path: Path) -> None:
    labels = write_sample(tmp_path / "in", "a")
    said = []
    prepare(tmp_path / "in", tmp_path / "out", PLAN, on_case=said.append)
    data, segmentation, properties = load(tmp_path / "out", "a")
    assert np.array_equal(segmentation[0], to_border_core(labels, 1.5))
    assert data.shape == (1, 20, 24, 40)
    assert data.dtype == np.float32
    assert abs(data.mean()) < 0.01
    assert data.std() == pytest.approx(1, abs=0.01)
    assert data[0][labels > 0].min() > data[0][labels == 0].max()
    assert [(case.name, case.particles) for case in said] == [("a", 2)]
    for label, places in properties["class_locations"].items():
        assert len(places) > 100
        assert np.all(segmentation[tuple(places.T)] == label)


def test_darker_voxels_are_raised_to_the_floor(tmp_path: Path) -> None:
    write_sample(tmp_path / "in", "a")
    for name, floor in (("without", None), ("with", -0.5)):
        prepare(tmp_path / "in", tmp_path / name, replace(PLAN, gray_floor=floor))
    (data, *_), (raised, *_) = (load(tmp_path / name, "a") for name in ("without", "with"))
    assert data.min() < -0.5
    assert np.array_equal(raised, np.maximum(data, np.float32(-0.5)))


def test_brighter_voxels_are_lowered_to_the_ceiling(tmp_path: Path) -> None:
    write_sample(tmp_path / "in", "a")
    for name, ceiling in (("without", None), ("with", 1.0)):
        prepare(tmp_path / "in", tmp_path / name, replace(PLAN, gray_ceiling=ceiling))
    (data, *_), (lowered, *_) = (load(tmp_path / name, "a") for name in ("without", "with"))
    assert data.max() > 1.1
    by_hand = np.minimum(data, np.float32(1))
    np.testing.assert_allclose(lowered, (by_hand - by_hand.mean()) / by_hand.std(), atol=0.01)


def test_size_normalization_keeps_image_and_labels_aligned(tmp_path: Path) -> None:
    write_sample(tmp_path / "in", "a")
    prepare(tmp_path / "in", tmp_path / "out", TrainingPlan(target_size_voxels=24, border_thickness_voxels=2.5))
    data, segmentation, _ = load(tmp_path / "out", "a")
    assert data.shape == segmentation.shape == (1, 40, 48, 80)
    inside = segmentation[0] > 0
    centres = [np.mean(np.argwhere(where), axis=0) for where in (inside, data[0] > 0.5)]
    assert np.allclose(*centres, atol=0.1), "half a source voxel off would be 1 here"
    assert data[0][segmentation[0] == 1].min() > 0.5


def test_float_labels_of_the_published_tools_are_taken_only_if_whole(tmp_path: Path) -> None:
    labels = write_sample(tmp_path / "whole", "a").astype(np.float64)
    for name, values in (("as_float", labels), ("between", labels / 2)):
        write_sample(tmp_path / name, "a", labels=values)
    prepare(tmp_path / "as_float", tmp_path / "out", PLAN)
    with pytest.raises(InputError, match="whole numbers"):
        prepare(tmp_path / "between", tmp_path / "none", PLAN)
    assert not list((tmp_path / "none").iterdir()), "a failed call leaves nothing"


def test_nothing_is_replaced_unless_asked(tmp_path: Path) -> None:
    write_sample(tmp_path / "in", "a")
    prepare(tmp_path / "in", tmp_path / "out", PLAN)
    (tmp_path / "out" / CASES / "stale.pkl").touch()
    with pytest.raises(InputError, match="--overwrite"):
        prepare(tmp_path / "in", tmp_path / "out", PLAN)
    assert (tmp_path / "out" / CASES / "stale.pkl").exists()
    prepare(tmp_path / "in", tmp_path / "out", PLAN, overwrite=True)
    assert nnUNetDatasetBlosc2.get_identifiers(str(tmp_path / "out" / CASES)) == ["a"]
    assert not (tmp_path / "out" / CASES / "stale.pkl").exists()


def test_a_spacing_that_contradicts_the_image_is_said(tmp_path: Path) -> None:
    write_sample(tmp_path / "in", "a")
    listing = tmp_path / "in" / "metadata.json"
    listing.write_text(json.dumps({"a": {"spacing": 0.02, "particle_size": 0.24}}))
    cases = []
    prepare(tmp_path / "in", tmp_path / "out", PLAN, on_case=cases.append)
    (said,) = cases[0].warnings
    assert said.startswith("metadata.json says 0.02 mm a voxel, ")
    assert "a.zarr 0.01: metadata.json counts" in said


@pytest.mark.parametrize(
    ("breaking", "message"),
    [
        (lambda folder: (folder / "metadata.json").unlink(), "metadata.json is not there; a folder of samples holds"),
        (
            lambda folder: (folder / "metadata.json").write_text("{"),
            "metadata.json: is not JSON; a folder of samples holds",
        ),
        (lambda folder: (folder / "metadata.json").write_text('{"a": {"spacing": 1, "particle_size": 0}}'), "above 0"),
        (lambda folder: (folder / "metadata.json").write_text("{}"), "names no sample"),
        (lambda folder: (folder / "metadata.json").write_text('{"a": {"spacing": 1}}'), "particle_size"),
        (lambda folder: (folder / "instance_seg" / "a.npy").unlink(), "holds 0 volumes called a"),
        (lambda folder: write_volume(folder / "images" / "a.npy", np.zeros((2, 2, 2))), "holds 2 volumes called a"),
        (lambda folder: np.save(folder / "instance_seg" / "a.npy", np.ones((20, 24, 39), int)), r"\(20, 24, 39\)"),
    ],
)
def test_an_incomplete_sample_is_named(tmp_path: Path, breaking: Any, message: str) -> None:
    write_sample(tmp_path / "in", "a")
    breaking(tmp_path / "in")
    with pytest.raises(InputError, match=message):
        prepare(tmp_path / "in", tmp_path / "out", PLAN)


def test_a_name_that_begins_like_another_is_not_mixed_up(tmp_path: Path) -> None:
    for name in ("a", "a.b"):
        write_sample(tmp_path, name)
    assert [sample.image.name for sample in find_samples(tmp_path)] == ["a.zarr", "a.b.zarr"]


def test_every_name_is_validated_once_and_never_trained_on_in_that_fold() -> None:
    names = list("abcdefg")
    folds = splits(names)
    assert sorted(name for fold in folds for name in fold["val"]) == names
    assert all(sorted(fold["train"] + fold["val"]) == names for fold in folds)
    assert len(folds) == 5
    assert splits(["a"]) == [{"train": ["a"], "val": ["a"]}]


def test_samples_are_added_and_the_others_left_as_they_are(tmp_path: Path) -> None:
    first, more, out = tmp_path / "first", tmp_path / "more", tmp_path / "out"
    for name in "abcdef":
        write_sample(first, name)
    for name in "fgh":
        write_sample(more, name)
    prepare(first, out, PLAN)
    folder = out / CASES.parent
    folds = json.loads((folder / "splits_final.json").read_text())
    before = {path: path.stat().st_mtime_ns for path in (out / CASES).iterdir()}
    said = []
    prepare(more, out, PLAN, add=True, on_case=said.append)
    assert [case.name for case in said] == ["g", "h"]
    assert before.items() <= {path: path.stat().st_mtime_ns for path in (out / CASES).iterdir()}.items()
    assert load(out, "h")[0].shape == (1, 20, 24, 40)
    after = json.loads((folder / "splits_final.json").read_text())
    assert [old["val"] for old in folds] == [["a", "f"], ["b"], ["c"], ["d"], ["e"]]
    assert [new["val"] for new in after] == [["a", "f"], ["b", "g"], ["c", "h"], ["d"], ["e"]]
    assert json.loads((folder / "dataset.json").read_text())["numTraining"] == 8
    assert set(read_listing(out / CASES).names) == set("abcdefgh")
    prepare(more, out, PLAN, add=True, on_case=said.append)
    assert len(said) == 2, "nothing was new"


def test_samples_of_another_plan_are_not_added(tmp_path: Path) -> None:
    write_sample(tmp_path / "in", "a")
    prepare(tmp_path / "in", tmp_path / "out", PLAN)
    with pytest.raises(InputError, match=r"border_thickness_voxels is 2, but .* was prepared with 1\.5"):
        prepare(tmp_path / "in", tmp_path / "out", replace(PLAN, border_thickness_voxels=2), add=True)


def test_class_locations_are_capped_and_an_absent_class_has_none() -> None:
    places = class_locations(np.ones((1, 30, 30, 30), np.int8))
    assert places[1].shape == (10_000, 4)
    assert len(np.unique(places[1], axis=0)) == 10_000
    assert places[2].shape == (0, 4)


def test_a_plan_survives_its_file_and_a_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plans.json"
    path.write_text(json.dumps(nnunet_plans(PLAN)))
    assert read_plan(path) == PLAN
    for text in ("{}", "[", json.dumps({"ps3d": asdict(PLAN) | {"depth": 4}})):
        path.write_text(text)
        with pytest.raises(InputError, match="no training plan"):
            read_plan(path)


def test_the_advice_on_a_patch_that_does_not_fit_works() -> None:
    with pytest.raises(InputError, match=r"Use \(56, 16, 48\)"):
        check_patch((50, 3, 48), stages=4)
    check_patch((56, 16, 48), stages=4)


def test_missing_packages_are_named_with_the_cure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(capability, "find_spec", lambda name: None if name == "nnunetv2" else object())
    with pytest.raises(CapabilityError, match=r'nnunetv2.*pip install "ps3d-rt\[train\]"'):
        prepare(tmp_path, tmp_path / "out", PLAN)


def test_the_chosen_plan_is_what_nnunet_builds() -> None:
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager  # noqa: PLC0415

    manager = PlansManager(nnunet_plans(TrainingPlan(width=16, stages=6, patch=(64, 64, 96))))
    configuration = manager.get_configuration("3d_fullres")
    assert configuration.patch_size == [64, 64, 96]
    assert configuration.network_arch_init_kwargs["features_per_stage"] == [16, 32, 64, 128, 256, 320]
    assert len(configuration.pool_op_kernel_sizes) == 6
    assert pickle.loads(pickle.dumps(manager.plans)) == manager.plans


def test_a_case_on_the_embedding_scale_does_not_see_what_lies_outside(tmp_path: Path) -> None:
    write_sample(tmp_path / "in", "a")
    plan = replace(PLAN, gray_scheme="embedding")
    prepare(tmp_path / "in", tmp_path / "plain", plan)
    image = tmp_path / "in" / "images" / "a.zarr"
    with open_volume(image) as volume:
        gray = volume.read(Box.of_shape(volume.shape))
    gray[:, :2], gray[:, :, -3:] = 0, 0
    rmtree(image)
    write_volume(image, gray, 0.01)
    prepare(tmp_path / "in", tmp_path / "filled", plan)
    plain, filled = (load(tmp_path / name, "a")[0] for name in ("plain", "filled"))
    assert np.median(plain) == pytest.approx(-0.5, abs=0.1)
    assert 1.3 < plain[0, 10, 12, 12] < 2.1, "small balls: edges count, so the contrast is up to half of theirs"
    assert np.all(np.abs(filled[0, :, :2] + 0.5) < 0.01)
    assert np.abs(filled - plain)[0, :, 3:-3, :-4].max() < 0.1
    assert read_plan(tmp_path / "plain" / CASES.parent / "ps3dPlans.json").gray_scheme == "embedding"


def test_an_unknown_gray_scheme_is_refused() -> None:
    with pytest.raises(InputError, match="otsu"):
        replace(PLAN, gray_scheme="otsu")

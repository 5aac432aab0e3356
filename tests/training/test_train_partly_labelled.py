"""Samples that are labelled in part: what nobody has labelled is left out of the loss, and is not background."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

from ps3d_rt.core.border_core import to_border_core
from ps3d_rt.errors import InputError
from ps3d_rt.io.samples import find_samples
from ps3d_rt.io.volume_writer import write_volume
from ps3d_training.dataset import leave_out, prepare
from ps3d_training.plan import CONFIGURATION, DATASET_NAME, IGNORE, PLANS_NAME
from ps3d_training.training import open_trainer
from ps3d_training.validate import score_sample, smallest_sample
from toy_training import PLAN, run_of

CASES = Path(DATASET_NAME) / f"{PLANS_NAME}_{CONFIGURATION}"


@pytest.fixture
def partly(tmp_path: Path) -> Path:
    """Balls in 24³ all bright; only those with x < 12 are labelled, in b all."""
    folder = tmp_path / "samples"
    z, y, x = np.indices((24, 24, 24))
    ball = ((z % 12 - 6) ** 2 + (y % 12 - 6) ** 2 + (x % 12 - 6) ** 2) < 16
    labels = np.where(ball, 1 + z // 12 * 4 + y // 12 * 2 + x // 12, 0).astype(np.uint16)
    for name in "ab":
        known = (x < 12) | (name == "b")
        gray = np.random.default_rng(0).normal(np.where(ball, 20_000, 8_000), 1000).astype(np.uint16)
        write_volume(folder / "images" / f"{name}.tif", gray, 0.01)
        write_volume(folder / "instance_seg" / f"{name}.tif", np.where(known, labels, 0).astype(np.uint16), 0.01)
        write_volume(folder / "annotated" / f"{name}.tif", known.astype(np.uint8), 0.01)
    listing = {name: {"spacing": 0.01, "particle_size": 0.08} for name in "ab"}
    (folder / "metadata.json").write_text(json.dumps(listing), encoding="utf-8")
    return folder


def case(prepared: Path, name: str) -> Any:
    return nnUNetDatasetBlosc2(str(prepared / CASES), [name]).load_case(name)


def test_prepare_marks_what_is_not_labelled(partly: Path, tmp_path: Path) -> None:
    said = []
    prepared = prepare(partly, tmp_path / "prepared", PLAN, on_case=said.append)
    _, classes, _, properties = case(prepared, "a")
    assert (classes[0, :, :, 12:] == IGNORE).all()
    assert set(np.unique(classes[0, :, :, :12])) == {0, 1, 2}
    places = properties["class_locations"][(-1, 0, 1, 2)]
    assert len(places) == 24 * 24 * 12
    assert places[:, 3].max() == 11
    assert [(one.name, one.particles, one.labelled_share) for one in said] == [("a", 4, 0.5), ("b", 8, 1.0)]
    assert json.loads((prepared / DATASET_NAME / "dataset.json").read_text())["labels"]["ignore"] == IGNORE
    assert (-1, 0, 1, 2) not in case(prepared, "b")[3]["class_locations"]


def test_a_particle_of_which_a_part_is_unknown_is_unknown_as_a_whole() -> None:
    labels = np.array([[[1, 1, 0, 2, 2, 0]]])
    classes = to_border_core(labels, 1.0)
    leave_out(labels, classes, np.array([[[True, True, True, True, False, True]]]))
    assert labels.tolist() == [[[1, 1, 0, 0, 0, 0]]]
    assert (classes == IGNORE).tolist() == [[[False, False, False, True, True, False]]]


@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_does_not_see_what_is_not_labelled(partly: Path, tmp_path: Path, weighted: bool) -> None:
    prepared = prepare(partly, tmp_path / "prepared", PLAN)
    trainer = open_trainer(run_of(prepared, tmp_path / "out", weighted=weighted))
    trainer.initialize()
    assert trainer.network(torch.zeros(1, 1, 16, 16, 16)).shape[1] == 3
    classes = torch.zeros(1, 1, 16, 16, 16, dtype=torch.int64)
    classes[..., :4] = 1
    classes[..., 8:] = IGNORE
    target = torch.cat([classes, torch.ones_like(classes)], dim=1) if weighted else classes
    right = torch.nn.functional.one_hot(classes[:, 0] % IGNORE, 3).movedim(-1, 1) * 20.0
    other = right.clone()
    other[..., 8:] = torch.randn(1, 3, 16, 16, 8)
    assert float(trainer.loss(right, target)) == pytest.approx(float(trainer.loss(other, target)))
    other[..., 7] = -right[..., 7]
    assert float(trainer.loss(other, target)) > float(trainer.loss(right, target)) + 0.1
    nothing = torch.full_like(target, IGNORE)
    assert np.isfinite(float(trainer.loss(other, nothing)))


def test_an_epoch_runs_and_its_patches_lie_where_there_are_labels(partly: Path, tmp_path: Path) -> None:
    prepared = prepare(partly, tmp_path / "prepared", PLAN)
    run = run_of(prepared, tmp_path / "out", epochs=1, validate_every=1)
    trainer = open_trainer(replace(run, fold="all"))
    done = []
    trainer.fit(done.append)
    assert np.isfinite([done[0].train_loss, done[0].validation_loss, *done[0].dice]).all()
    loader = trainer.get_dataloaders()[1].dataset.loader
    places = case(prepared, "a")[3]["class_locations"]
    starts = [loader.get_bbox((24, 24, 24), False, places)[0][2] for _ in range(20)]
    assert max(starts) <= 11 - 16 // 2


def test_what_is_found_where_nobody_labelled_costs_nothing(partly: Path, tmp_path: Path) -> None:
    prepared = prepare(partly, tmp_path / "prepared", PLAN)
    image, instances = smallest_sample(nnUNetDatasetBlosc2(str(prepared / CASES), ["a"]))
    assert set(np.unique(instances)) == {-1, 0, 1, 2, 3, 4}
    z, y, x = np.indices(image.shape)
    ball = ((z % 12 - 6) ** 2 + (y % 12 - 6) ** 2 + (x % 12 - 6) ** 2) < 16
    truth = to_border_core(np.where(ball, 1 + z // 12 * 4 + y // 12 * 2 + x // 12, 0), 1.0).astype(np.float32)

    def oracle(voxels: Any) -> Any:
        return np.stack([voxels == value for value in (0, 1, 2)]).astype(np.float32)

    assert score_sample(oracle, truth, instances, (16, 16, 16)).f1_instance > 0.99
    assert score_sample(oracle, truth, np.maximum(instances, 0), (16, 16, 16)).f1_instance == pytest.approx(
        0.5, abs=0.01
    )


def test_samples_without_any_label_are_left_out_and_said(partly: Path, tmp_path: Path) -> None:
    (partly / "annotated" / "a.tif").unlink()
    write_volume(partly / "annotated" / "a.tif", np.zeros((24, 24, 24), np.uint8), 0.01)
    said = []
    prepared = prepare(partly, tmp_path / "prepared", PLAN, on_case=said.append)
    assert [(one.name, one.labelled_share, bool(one.warnings)) for one in said] == [("a", 0, True), ("b", 1, False)]
    assert json.loads((prepared / DATASET_NAME / "dataset.json").read_text())["labels"].get("ignore") is None
    (partly / "annotated" / "b.tif").unlink()
    write_volume(partly / "annotated" / "b.tif", np.zeros((24, 24, 24), np.uint8), 0.01)
    with pytest.raises(InputError, match="nothing is labelled"):
        prepare(partly, tmp_path / "other", PLAN)


def test_whoever_needs_all_labels_is_not_given_a_part_of_them(partly: Path) -> None:
    first, second = find_samples(partly)
    with pytest.raises(InputError, match=r"50\.0% of its voxels are labelled"):
        first.read()
    assert second.read()[1].max() == 8


def test_adding_whole_samples_keeps_the_others_partly_labelled(partly: Path, samples: Path, tmp_path: Path) -> None:
    prepared = prepare(partly, tmp_path / "prepared", PLAN)
    more = tmp_path / "more"
    for sample in find_samples(samples):
        image, instances = sample.read()
        write_volume(more / "images" / f"whole_{sample.name}.tif", image, 0.01)
        write_volume(more / "instance_seg" / f"whole_{sample.name}.tif", instances, 0.01)
    listing = {f"whole_{name}": {"spacing": 0.01, "particle_size": 0.08} for name in "ab"}
    (more / "metadata.json").write_text(json.dumps(listing), encoding="utf-8")
    prepare(more, prepared, PLAN, add=True)
    assert json.loads((prepared / DATASET_NAME / "dataset.json").read_text())["labels"]["ignore"] == IGNORE

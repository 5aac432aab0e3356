from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import blosc2
import numpy as np
import pytest
import torch
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class, nnUNetDatasetBlosc2

from ps3d_rt.core.arrays import Array
from ps3d_rt.errors import InputError
from ps3d_rt.io.volume_writer import write_volume
from ps3d_training.augment import bank
from ps3d_training.augment.bank import open_bank, save_instances
from ps3d_training.augment.presets import PUBLISHED
from ps3d_training.augment.touching import MARGIN
from ps3d_training.augment.transforms import read_size, training_transforms
from ps3d_training.dataset import prepare
from ps3d_training.patches import InsideDataLoader, PatchStream
from ps3d_training.plan import TrainingPlan

PLAN = TrainingPlan(target_size_voxels=12, border_thickness_voxels=1.5, patch=(24, 24, 24), stages=2, width=4)
CASES = Path("Dataset001_particles", "ps3dPlans_3d_fullres")
TOUCHING = replace(PUBLISHED, rotation=0, scaling=0, mirror=False)


def ball(shape: tuple[int, int, int], centre: tuple[int, int, int], radius: float) -> Array:
    return sum((axis - c) ** 2 for axis, c in zip(np.indices(shape), centre, strict=True)) < radius**2


def sample() -> Array:
    """One ball well inside, one near a face, one cut by a face, one too small and beside the first."""
    labels = np.zeros((40, 36, 44), np.uint32)
    for centre, radius, name in (
        ((20, 12, 12), 6, 5),
        ((20, 28, 7), 6, 900),
        ((2, 10, 30), 6, 7),
        ((28, 20, 20), 3, 70_000),
    ):
        labels[ball(labels.shape, centre, radius)] = name
    return labels


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    for seed, name in enumerate("ab"):
        gray = np.random.default_rng(seed).normal(np.where(sample() > 0, 20_000, 8_000), 500).astype(np.uint16)
        write_volume(folder / "images" / f"{name}.npy", gray)
        write_volume(folder / "instance_seg" / f"{name}.npy", sample())
    listing = {name: {"spacing": 0.01, "particle_size": 0.12} for name in "ab"}
    (folder / "metadata.json").write_text(json.dumps(listing), encoding="utf-8")
    return prepare(folder, folder / "prepared", PLAN)


def training_samples(prepared: Path, *names: str) -> nnUNetDatasetBlosc2:
    return nnUNetDatasetBlosc2(str(prepared / CASES), list(names))


def loader(dataset: nnUNetDatasetBlosc2, transforms: Any) -> InsideDataLoader:
    return InsideDataLoader(
        dataset,
        patch_size=read_size(PLAN.patch, TOUCHING),
        final_patch_size=PLAN.patch,
        batch_size=2,
        label_manager=SimpleNamespace(all_labels=[0, 1, 2], has_ignore_label=False),
        oversample_foreground_percent=1.0,
        transforms=transforms,
    )


def test_instances_lie_beside_the_cases_and_nnunet_does_not_mind(prepared: Path) -> None:
    assert infer_dataset_class(str(prepared / CASES)) is nnUNetDatasetBlosc2
    assert sorted(nnUNetDatasetBlosc2.get_identifiers(str(prepared / CASES))) == ["a", "b"]
    dataset = training_samples(prepared, "a")
    assert dataset.load_case("a")[2] is None, "as before, unless they are asked for"
    open_bank(dataset, 1.5)
    stored = dataset.load_case("a")[2][:]
    pairs = np.unique(np.stack([sample().ravel(), stored.ravel()]), axis=1).T.tolist()
    assert pairs == [[0, 0], [5, 1], [7, 2], [900, 3], [70_000, 4]]


def test_only_whole_particles_of_some_size_of_the_training_samples_are_drawn(prepared: Path) -> None:
    for names in (("a",), ("a", "b")):
        listing = open_bank(training_samples(prepared, *names), 1.5).listing
        assert listing.names.tolist() == [name for name in names for _ in range(2)]
        assert listing.labels.tolist() == [1, 3] * len(names)
    drawn = open_bank(training_samples(prepared, "a", "b"), 1.5)
    np.random.seed(0)
    means = {round(float(drawn.draw().image.mean()), 4) for _ in range(60)}
    assert len(means) == 4


def test_a_particle_is_read_with_its_surroundings(prepared: Path) -> None:
    dataset = training_samples(prepared, "a")
    opened = open_bank(dataset, 1.5)
    image = dataset.load_case("a")[0][:][0]
    inside, near_a_face = opened.read(0), opened.read(1)
    assert inside.mask.shape == inside.image.shape == (11 + 2 * MARGIN,) * 3
    corner = np.argwhere(sample() == 5).min(axis=0) - MARGIN
    where = tuple(slice(c, c + side) for c, side in zip(corner, inside.mask.shape, strict=True))
    assert np.array_equal(inside.mask, sample()[where] == 5)
    assert np.array_equal(inside.image, image[where])
    assert inside.image.dtype == np.float32
    assert near_a_face.mask.shape == inside.mask.shape, "it lies 2 voxels from a face, and 4 are needed"
    assert near_a_face.mask.sum() == np.sum(sample() == 900)
    assert np.array_equal(near_a_face.image[..., 0], near_a_face.image[..., 2])
    assert near_a_face.image[near_a_face.mask].min() > 0.5


def test_labels_beyond_int16_begin_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank, "LAST_LABEL", 3)
    listing = save_instances(tmp_path / "cases", "a", np.where(sample() == 7, 0, sample()), PLAN.patch)
    assert listing.labels.tolist() == [1, 2]
    listing = save_instances(tmp_path / "other", "a", sample() + (sample() == 900) * np.uint32(10**6), PLAN.patch)
    assert listing.labels.tolist() == [1, 1], "the fourth is called as the first"
    stored = blosc2.open(str(tmp_path / "other_instances" / "a.b2nd"), mode="r")[:]
    assert np.unique(stored).tolist() == [0, 1, 2, 3]


def test_folders_without_instances_or_particles_say_so(prepared: Path, tmp_path: Path) -> None:
    listing = prepared / Path(f"{CASES}_instances") / "particles.npz"
    content = listing.read_bytes()
    dataset = training_samples(prepared, "a")
    listing.unlink()
    try:
        with pytest.raises(InputError, match="prepared without instances"):
            open_bank(dataset, 1.5)
        assert dataset.folder_with_segs_from_previous_stage is None
    finally:
        listing.write_bytes(content)
    dataset.identifiers = ["c"]
    with pytest.raises(InputError, match="box of 500 voxels"):
        open_bank(dataset, 1.5)


def test_a_sample_without_a_usable_particle_is_prepared_all_the_same(tmp_path: Path) -> None:
    labels = np.where(sample() == 70_000, 1, 0)
    gray = np.random.default_rng(0).integers(0, 100, labels.shape).astype(np.uint16)
    write_volume(tmp_path / "images" / "a.npy", gray)
    write_volume(tmp_path / "instance_seg" / "a.npy", labels)
    (tmp_path / "metadata.json").write_text('{"a": {"spacing": 0.01, "particle_size": 0.12}}', encoding="utf-8")
    dataset = training_samples(prepare(tmp_path, tmp_path / "out", PLAN), "a")
    with pytest.raises(InputError, match="box of 500 voxels"):
        open_bank(dataset, 1.5)


def test_patches_from_the_loader_have_more_particles_than_the_samples(prepared: Path) -> None:
    dataset = training_samples(prepared, "a", "b")
    opened = open_bank(dataset, 1.5)

    def stream(share: float) -> list[Any]:
        transforms = training_transforms(PLAN.patch, None, replace(TOUCHING, touching=share), opened)
        patches = iter(PatchStream(loader(dataset, transforms), seed=(0, 0), epoch=0, stride=1))
        return [next(patches) for _ in range(10)]

    plain, touching, again = stream(0), stream(1), stream(1)
    for batch in touching:
        assert batch["target"].shape == (2, 1, 24, 24, 24)
        assert set(np.unique(batch["target"])) <= {0, 1, 2}
        assert torch.isfinite(batch["data"]).all()
    foreground = [np.mean([(batch["target"] > 0).float().mean() for batch in batches]) for batches in (plain, touching)]
    assert foreground[1] > 1.2 * foreground[0]
    for first, second in zip(touching, again, strict=True):
        assert torch.equal(first["data"], second["data"])
        assert torch.equal(first["target"], second["target"])

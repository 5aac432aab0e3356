from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.io.open import open_volume
from ps3d_training.synth import SampleSpec, make_sample, random_spec
from ps3d_training.synth.folder import read_metadata, write_samples
from ps3d_training.synth.packing import BAND
from ps3d_training.synth.shapes import make_grain
from ps3d_training.synth.truth import connected, touching_share

SMALL = SampleSpec(shape=(64, 64, 64), particle_size_voxels=14)
PLAIN = replace(SMALL, spacers=0, bubbles=0, inclusions=0, cracks=0, texture=0, matrix_texture=0, rings=0, streaks=0)


def test_equal_specs_give_equal_bytes_and_seeds_differ() -> None:
    first, again, other = (make_sample(replace(SMALL, seed=seed)) for seed in (3, 3, 4))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.labels, again.labels)
    assert first.facts == again.facts
    assert not np.array_equal(first.labels, other.labels)


def test_types_shapes_and_ids() -> None:
    sample = make_sample(replace(SMALL, shape=(40, 56, 72)))
    assert sample.image.shape == sample.labels.shape == (40, 56, 72)
    assert (sample.image.dtype, sample.labels.dtype) == (np.uint16, np.uint32)
    count = sample.facts["particles"]
    assert np.array_equal(np.unique(sample.labels), np.arange(count + 1))
    for index, where in enumerate(ndimage.find_objects(sample.labels.astype(int)), start=1):
        assert ndimage.label(sample.labels[where] == index)[1] == 1, "a particle is in one piece"


@pytest.mark.parametrize("touching", [0.0, 0.5, 1.0])
def test_the_share_of_touching_particles_is_what_was_asked(touching: float) -> None:
    sample = make_sample(replace(SMALL, shape=(96, 96, 96), touching=touching, fill=0.3))
    assert sample.facts["particles"] > 60
    assert sample.facts["touching"] == pytest.approx(touching, abs=0.06)


def test_isolated_particles_share_no_face() -> None:
    sample = make_sample(replace(SMALL, touching=0.0, fill=0.3))
    assert sample.facts["particles"] > 30
    assert not any(((a != b) & (a > 0) & (b > 0)).any() for a, b in _neighbours(sample.labels))


def test_contacts_are_faces_not_points() -> None:
    sample = make_sample(replace(SMALL, shape=(96, 96, 96), touching=1.0, fill=0.4))
    faces = sum(np.count_nonzero((a != b) & (a > 0) & (b > 0)) for a, b in _neighbours(sample.labels))
    assert faces / sample.facts["particles"] > 15


def test_fill_and_size_follow_the_spec() -> None:
    sample = make_sample(replace(SMALL, shape=(112, 112, 112), fill=0.3, touching=0.4))
    assert sample.facts["fill"] == pytest.approx(0.3, abs=0.04)
    assert sample.facts["mean_diameter_voxels"] == pytest.approx(14, rel=0.15)
    sizes = np.bincount(sample.labels.ravel())[1:]
    narrow = make_sample(replace(SMALL, shape=(112, 112, 112), fill=0.3, touching=0.4, size_spread=0.05))
    narrow_sizes = np.bincount(narrow.labels.ravel())[1:]
    assert np.log(sizes).std() > 1.3 * np.log(narrow_sizes).std()


def test_a_grain_has_the_asked_volume_and_is_not_a_ball() -> None:
    rng, box, center = np.random.default_rng(0), Box.of_shape((64, 64, 64)), np.full(3, 31.5)
    distance = np.sqrt(((np.indices(box.shape) - 31.5) ** 2).sum(0))
    for _ in range(8):
        grain = make_grain(rng, 24.0, roundness=0.2, elongation=0.3)
        inside = grain.level_in(box, center) < 0
        assert np.cbrt(6 / np.pi * inside.sum()) == pytest.approx(24, rel=0.08)
        shared = (inside & (distance < 12)).sum() / inside.sum()
        assert shared < 0.93, "a ball would share all of its volume"
        assert distance[inside].max() < grain.reach + BAND


def test_gray_values_show_particles_brighter_than_resin_with_partial_volume() -> None:
    sample = make_sample(replace(PLAIN, noise=0.02, blur_voxels=0.5))
    inside = ndimage.binary_erosion(sample.labels > 0, iterations=2)
    outside = ~ndimage.binary_dilation(sample.labels > 0, iterations=2)
    resin, grain = sample.image[outside].mean(), sample.image[inside].mean()
    rim = sample.image[(sample.labels > 0) & ~ndimage.binary_erosion(sample.labels > 0)].mean()
    assert resin + 2000 < rim < grain
    assert resin == pytest.approx(9000, rel=0.03)


def test_spacers_are_seen_but_not_labelled() -> None:
    without = make_sample(replace(PLAIN, noise=0.01))
    with_sugar = make_sample(replace(PLAIN, noise=0.01, spacers=0.15, spacer_gray=1.4))
    assert np.array_equal(without.labels, with_sugar.labels)
    outside = ~ndimage.binary_dilation(without.labels > 0, iterations=2)
    sugar = 9000 + 0.4 * 6500
    near = np.abs(with_sugar.image.astype(float) - sugar) < 400
    assert (near & outside).sum() > 0.02 * outside.sum()
    plain = without.image.astype(float)
    assert (np.abs(plain - sugar) < 400)[outside].mean() < 0.005


def test_a_container_keeps_grains_inside_and_air_outside() -> None:
    sample = make_sample(replace(SMALL, container=True))
    assert not sample.labels[:, 0, 0].any()
    assert sample.image[:, :4, :4].mean() < 4000


@pytest.mark.parametrize("field", ["rings", "cupping", "streaks"])
def test_every_artifact_changes_the_image_but_not_the_truth(field: str) -> None:
    base = replace(PLAIN, cupping=0)
    plain, bad = make_sample(base), make_sample(replace(base, **{field: 0.5}))
    assert np.array_equal(plain.labels, bad.labels)
    assert np.abs(plain.image.astype(float) - bad.image).max() > 500


def test_noise_has_the_asked_strength() -> None:
    quiet, loud = (make_sample(replace(PLAIN, noise=noise)) for noise in (0.0, 0.2))
    difference = loud.image.astype(float) - quiet.image
    assert difference.std() == pytest.approx(0.2 * 0.8 * 6500, rel=0.1)


def test_touching_and_connected_on_labels_made_by_hand() -> None:
    labels = np.zeros((1, 4, 9), np.uint32)
    labels[0, :, 0:2], labels[0, :, 2:4], labels[0, :, 6:8] = 1, 2, 3
    assert touching_share(labels) == pytest.approx(2 / 3)
    labels[0, 0, 8], labels[0, 0, 5] = 1, 7
    kept = connected(labels, smallest_voxels=2)
    assert kept.max() == 3, "the piece of 1 far from the rest and the single voxel are gone"
    assert kept[0, 0, 8] == kept[0, 0, 5] == 0


@pytest.mark.parametrize(
    "wrong",
    [{"touching": 1.5}, {"fill": -0.1}, {"particle_size_voxels": 2}, {"shape": (4, 64, 64)}, {"phases": ()}],
)
def test_impossible_specs_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        replace(SMALL, **wrong)


def test_random_specs_vary_and_keep_what_is_fixed() -> None:
    specs = [random_spec(seed, touching=0.9) for seed in range(20)]
    assert {spec.touching for spec in specs} == {0.9}
    assert len({spec.phases for spec in specs}) == len({spec.noise for spec in specs}) == 20
    assert {spec.container for spec in specs} == {True, False}
    assert random_spec(5) == random_spec(5)


def test_a_folder_is_completed_not_made_again(tmp_path: Path) -> None:
    specs = [replace(SMALL, shape=(32, 32, 32), particle_size_voxels=10, seed=seed) for seed in (1, 2)]
    assert [name for name, _ in write_samples(tmp_path, specs[:1])] == ["synth_00001"]
    assert [name for name, _ in write_samples(tmp_path, specs)] == ["synth_00002"]
    entry = read_metadata(tmp_path)["synth_00001"]
    sample = make_sample(specs[0])
    assert entry["particle_size"] == pytest.approx(sample.particle_size_mm, abs=1e-6)
    assert entry["simulated"]["seed"] == 1
    assert entry["came_out"] == sample.facts
    with open_volume(tmp_path / "instance_seg" / "synth_00001.zarr") as labels:
        assert labels.spacing_mm == (0.01, 0.01, 0.01)
        assert np.array_equal(labels.read(Box.of_shape(labels.shape)), sample.labels)
    assert json.loads((tmp_path / "metadata.json").read_text()).keys() == {"synth_00001", "synth_00002"}
    with pytest.raises(InputError, match="fill"):
        list(write_samples(tmp_path, [replace(specs[0], fill=0.1)]))


def _neighbours(labels: np.ndarray[Any, Any]) -> list[tuple[Any, Any]]:
    return [(np.moveaxis(labels, a, 0)[:-1], np.moveaxis(labels, a, 0)[1:]) for a in range(3)]

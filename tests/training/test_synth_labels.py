"""Scans simulated over the labels of real grains: ``ps3d-rt synth OUT --labels LABELS`` and what is behind it."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from ps3d_rt.core.arrays import Array
from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.volume_writer import write_volume
from ps3d_training.synth import SampleSpec, image_of, make_sample
from ps3d_training.synth.from_labels import LEAST_VOXELS, LabelSource, open_labels
from ps3d_training.synth.surfaces import REACH, distance_to_other, surfaces_of
from ps3d_training.synth.truth import mean_diameter, touching_share

REAL_GRAINS = Path(__file__).parents[3] / "shared/data/grains/grains.npy.zip"


@pytest.fixture(scope="module")
def grains() -> Array:
    """Labels of a packing: what a segmentation would hold."""
    spec = SampleSpec(seed=8, shape=(48, 64, 80), particle_size_voxels=14, fill=0.35, touching=0.6)
    return make_sample(spec).labels


@pytest.fixture
def source(grains: Array) -> LabelSource:
    return LabelSource("ore", grains, 0.02, mean_diameter(grains))


def test_distances_to_other_labels_are_exact_up_to_their_reach() -> None:
    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 3, (5, 4, 6)), np.ones((4, 5, 3), int)).astype(np.uint32)
    found = distance_to_other(labels)
    for label in range(3):
        exact = ndimage.distance_transform_edt(labels == label)
        near = (labels == label) & (exact <= REACH)
        assert near.any()
        assert np.allclose(found[near], exact[near])
        assert (found[(labels == label) & (exact > REACH)] > REACH).all()


def test_surfaces_of_labels_agree_with_those_they_were_made_from(grains: Array) -> None:
    before = grains.copy()
    surfaces = surfaces_of(grains)
    assert np.array_equal(grains, before)
    assert ((surfaces.level < 0) == (grains > 0)).mean() > 0.97, "smoothing takes corners off, no more"
    assert np.array_equal(surfaces.owner[grains > 0], grains[grains > 0])
    assert surfaces.apart[surfaces.apart == 1].size > 100
    touching = np.unique(grains[(surfaces.apart == 1) & (grains > 0)])
    assert len(touching) / grains.max() == pytest.approx(touching_share(grains))


def test_a_rendered_packing_and_its_rendered_labels_look_alike() -> None:
    spec = SampleSpec(seed=2, shape=(56, 56, 56), particle_size_voxels=16, spacers=0)
    sample = make_sample(spec)
    again = image_of(sample.labels, spec)
    assert np.corrcoef(sample.image.ravel(), again.ravel())[0, 1] > 0.75
    inside, outside = sample.labels > 0, ~ndimage.binary_dilation(sample.labels > 0, iterations=2)
    assert again[outside].mean() == pytest.approx(sample.image[outside].mean(), rel=0.02)
    assert again[inside].mean() == pytest.approx(sample.image[inside].mean(), rel=0.1)


def test_image_of_leaves_labels_alone_and_equal_calls_give_equal_bytes(grains: Array) -> None:
    spec = SampleSpec(seed=1, shape=(48, 64, 80), particle_size_voxels=14, spacers=0.05, container=True, porous=0.5)
    before = grains.copy()
    grains.setflags(write=False)
    first, again = image_of(grains, spec), image_of(grains, replace(spec, fill=0.1, touching=1.0))
    assert np.array_equal(grains, before)
    assert np.array_equal(first, again), "what describes a packing does not matter"
    assert first.dtype == np.uint16
    assert not np.array_equal(first, image_of(grains, replace(spec, seed=2)))
    assert first[:, :3, :3].mean() > 7000, "no container"
    with pytest.raises(InputError, match="shape"):
        image_of(grains[:-1], spec)


def test_a_crop_is_a_piece_of_the_labels_turned_and_renumbered(source: LabelSource) -> None:
    spec = source.spec(5, shape=(32, 40, 44))
    sample = source.sample(spec)
    origin = sample.origin
    assert (origin["file"], origin["zoom"]) == ("ore", 1.0)
    start, order, flipped = origin["start"], origin["axes"], origin["flipped"]
    size = np.empty(3, int)
    size[order] = spec.shape
    piece = source.labels[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))]
    turned = np.flip(piece.transpose(order), [axis for axis in range(3) if flipped[axis]])
    kept = sample.labels > 0
    assert kept.sum() > 0.97 * (turned > 0).sum() > 0, "pieces that the crop's faces cut off may go"
    pairs = np.unique(np.stack([turned[kept], sample.labels[kept]]), axis=1)
    assert len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]
    assert sample.image.shape == sample.labels.shape == (32, 40, 44)
    assert np.array_equal(source.sample(spec).image, sample.image)
    assert source.sample(source.spec(6, shape=(32, 40, 44))).origin != origin


def test_every_orientation_is_drawn(source: LabelSource) -> None:
    crops = [source._crop(source.spec(seed, shape=(40, 40, 40)))[1] for seed in range(60)]
    assert len({(tuple(crop["axes"]), tuple(crop["flipped"])) for crop in crops}) > 30
    assert len({tuple(crop["start"]) for crop in crops}) > 50


def test_smaller_particles_come_from_resampled_labels(source: LabelSource) -> None:
    own = source.mean_diameter_voxels
    sample = source.sample(source.spec(0, particle_size_voxels=0.7 * own, shape=(32, 32, 32)))
    assert sample.spec.spacing_mm == pytest.approx(0.02 / 0.7, rel=1e-3)
    assert sample.origin["zoom"] == pytest.approx(0.7, abs=1e-4)
    assert sample.particle_size_mm == pytest.approx(own * 0.02), "the grains are as large as they were"
    nearest = source.labels[
        np.ix_(*(np.floor((np.arange(int(0.7 * n)) + 0.5) / 0.7).astype(int) for n in (48, 64, 80)))
    ]
    assert mean_diameter(nearest) == pytest.approx(0.7 * own, rel=0.05)
    share = [(labels > 0).mean() for labels in (nearest, sample.labels)]
    assert share[1] == pytest.approx(share[0], abs=0.2)


def test_varied_specs_fit_into_the_labels_and_invent_no_detail(source: LabelSource) -> None:
    for seed in range(12):
        spec = source.spec(seed, vary=True)
        zoom = spec.particle_size_voxels / source.mean_diameter_voxels
        assert zoom <= 1.0001
        assert max(spec.shape) <= 48 * zoom + 1
        assert not spec.container
    with pytest.raises(InputError, match="smaller shape"):
        source.spec(0, shape=(64, 64, 64))


def test_a_binary_volume_is_split_into_its_components(tmp_path: Path) -> None:
    mask = np.zeros((20, 20, 20), np.uint8)
    mask[2:8, 2:8, 2:8] = mask[2:8, 2:8, 10:16] = 255
    mask[8, 8, 8] = 255  # a corner away from the first: not connected over a face, and too small
    write_volume(tmp_path / "mask.tif", mask, 0.005)
    found = open_labels(tmp_path / "mask.tif")
    assert np.array_equal(np.unique(found.labels), [0, 1, 2])
    assert (found.name, found.spacing_mm) == ("mask", 0.005)
    assert found.labels[8, 8, 8] == 0
    assert open_labels(tmp_path / "mask.tif", least_voxels=1).labels.max() == 3
    assert open_labels(tmp_path / "mask.tif", spacing_mm=0.01).spacing_mm == 0.01


def test_labels_are_taken_as_they_are_and_large_ids_renumbered(tmp_path: Path) -> None:
    labels = np.zeros((20, 20, 20), np.float64)
    labels[2:8, 2:8, 2:8], labels[2:8, 2:8, 8:14] = 3, 7
    write_volume(tmp_path / "float.npy", labels)
    assert np.array_equal(np.unique(open_labels(tmp_path / "float.npy").labels), [0, 3, 7])
    write_volume(tmp_path / "large.npy", labels.astype(np.int64) * 10**12)
    assert np.array_equal(np.unique(open_labels(tmp_path / "large.npy").labels), [0, 1, 2])


@pytest.mark.parametrize("value", [0.5, -1.0, 0.0])
def test_volumes_that_are_no_labels_are_refused(tmp_path: Path, value: float) -> None:
    volume = np.full((9, 9, 9), 0.0)
    volume[2:6, 2:6, 2:6] = value
    write_volume(tmp_path / "gray.npy", volume)
    with pytest.raises(InputError, match=r"gray.npy"):
        open_labels(tmp_path / "gray.npy")


def test_the_command_writes_samples_of_the_labels(cli: Any, tmp_path: Path, grains: Array) -> None:
    write_volume(tmp_path / "ore.zarr", grains, 0.02)
    options = ("--labels", tmp_path / "ore.zarr", "--shape", 40, "--seed", 3, "--count", 2, "--noise", 0.05)
    code, out, err = cli("synth", tmp_path / "samples", *options)
    assert (code, out) == (0, f"{tmp_path / 'samples'}\n"), err
    metadata = json.loads((tmp_path / "samples" / "metadata.json").read_text())
    assert list(metadata) == ["ore_00003", "ore_00004"]
    entry = metadata["ore_00003"]
    assert entry["labels"]["file"] == "ore"
    assert entry["simulated"]["noise"] == 0.05
    assert not {"touching", "fill", "roundness", "container"} & entry["simulated"].keys(), "the grains are real"
    with open_volume(tmp_path / "samples" / "instance_seg" / "ore_00003.zarr") as volume:
        labels = volume.read(Box.of_shape(volume.shape))
        assert volume.spacing_mm == pytest.approx((0.02,) * 3)
    assert entry["particle_size"] == pytest.approx(mean_diameter(grains) * 0.02, abs=1e-6)
    assert int(labels.max()) == entry["came_out"]["particles"]
    again = cli("synth", tmp_path / "samples", *options)
    assert (again[0], "ore_00003" in again[2]) == (0, False), "not made again"
    assert cli("synth", tmp_path / "samples", *options[:-1], 0.2)[0] == 2
    code, _, err = cli("synth", tmp_path / "other", *options, "--fill", 0.3)
    assert (code, "--labels" in err) == (2, True)


def test_the_commands_default_is_the_librarys() -> None:
    from ps3d_training.cli.synth import synth  # noqa: PLC0415

    names = synth.__code__.co_varnames[: synth.__code__.co_argcount]
    defaults = dict(zip(names[::-1], synth.__defaults__[::-1], strict=False))
    assert defaults["least_voxels"] == LEAST_VOXELS


@pytest.mark.skipif(not REAL_GRAINS.exists(), reason=f"the real grains are not here: {REAL_GRAINS.name}")
def test_real_grains(tmp_path: Path) -> None:
    """About 1,630 grains of 200 voxels or more, 32 voxels across, by the note that came with the data."""
    with zipfile.ZipFile(REAL_GRAINS) as archive:
        archive.extractall(tmp_path)
    source = open_labels(tmp_path / "grains.npy", least_voxels=200)
    assert int(source.labels.max()) == pytest.approx(1630, rel=0.03)
    assert source.mean_diameter_voxels == pytest.approx(32, rel=0.1)
    sample = source.sample(source.spec(1, shape=(64, 96, 96)))
    assert sample.facts["particles"] > 5
    inside = ndimage.binary_erosion(sample.labels > 0, iterations=2)
    outside = ~ndimage.binary_dilation(sample.labels > 0, iterations=2)
    assert sample.image[inside].mean() > sample.image[outside].mean() + 2000

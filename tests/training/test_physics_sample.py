"""Samples of the source ``physics``: valid labels, the noise asked for, hardening, determinism, folders."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from ps3d_rt.errors import InputError
from ps3d_rt.io.samples import find_samples, read_whole
from ps3d_training.synth import SampleSpec
from ps3d_training.synth.folder import write_samples
from ps3d_training.synth.from_labels import LabelSource
from ps3d_training.synth.physics import KINDS, PhysicsSpec, ScanSettings, make_physics_sample, random_physics_spec
from ps3d_training.synth.physics import sample as making
from ps3d_training.synth.physics.attenuation import channels
from ps3d_training.synth.physics.compose import materials_in
from ps3d_training.synth.physics.from_labels import labelled_spec
from ps3d_training.synth.physics.materials import attenuation_of
from ps3d_training.synth.physics.sample import physics_image_of

GRAINS = SampleSpec(
    seed=3, shape=(32, 48, 48), spacing_mm=0.05, particle_size_voxels=12, fill=0.3, touching=0.1, spacers=0.0,
    bubbles=0.0, seam=0.0, cracks=0.0,
)  # fmt: skip
PLAIN = PhysicsSpec(grains=GRAINS, scan=ScanSettings(noise=0.02, views=80))


def with_scan(spec: PhysicsSpec = PLAIN, **changes: Any) -> PhysicsSpec:
    return replace(spec, scan=replace(spec.scan, **changes))


def attenuation(spec: PhysicsSpec, labels: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What is reconstructed, 1/cm, before the export."""
    found = []
    monkeypatch.setattr(making, "_export", lambda volume, *_: found.append(volume) or volume)
    physics_image_of(labels, spec)
    return found[0]


@pytest.mark.parametrize("kind", KINDS)
def test_labels_are_one_connected_piece_each_and_numbered_through(kind: str) -> None:
    shape = (64, 64, 64)
    made = make_physics_sample(random_physics_spec(5, kind=kind, particle_size_voxels=12.0, shape=shape))
    assert (made.image.dtype, made.labels.dtype, made.phases.dtype) == (np.uint16, np.uint32, np.uint8)
    assert made.image.shape == made.labels.shape == made.phases.shape == shape
    count = made.facts["particles"]
    assert np.array_equal(np.unique(made.labels), np.arange(count + 1))
    for index, where in enumerate(ndimage.find_objects(made.labels.astype(int)), start=1):
        assert ndimage.label(made.labels[where] == index)[1] == 1


def test_minerals_lie_in_labels_and_only_there() -> None:
    made = make_physics_sample(random_physics_spec(8, particle_size_voxels=14.0, shape=(48, 48, 48)))
    minerals = [made.materials.index(name) for name, _ in made.spec.minerals]
    is_mineral = np.isin(made.phases, minerals)
    assert not is_mineral[made.labels == 0].any()
    # Pores and cracks belong to the particle and are no mineral.
    assert is_mineral[made.labels > 0].mean() > 0.75


@pytest.mark.parametrize(("fill", "touching"), [(0.15, 0.1), (0.3, 0.5), (0.65, 0.9)])
def test_packings_come_out_as_asked(fill: float, touching: float) -> None:
    grains = replace(GRAINS, shape=(80, 80, 80), fill=fill, touching=touching)
    facts = make_physics_sample(replace(PLAIN, grains=grains, scan=ScanSettings(views=8))).facts
    assert facts["fill"] == pytest.approx(fill, rel=0.2)
    assert facts["touching"] == pytest.approx(touching, abs=0.2)
    assert facts["mean_diameter_voxels"] == pytest.approx(12, rel=0.25)


def test_a_coarse_fraction_is_many_times_the_mean() -> None:
    grains = replace(GRAINS, shape=(96, 96, 96), particle_size_voxels=10, coarse=0.4, coarse_size=6.0)
    made = make_physics_sample(replace(PLAIN, grains=grains, scan=ScanSettings(views=8)))
    largest = np.cbrt(6 / np.pi * np.bincount(made.labels.ravel())[1:].max())
    assert largest > 4 * made.facts["mean_diameter_voxels"]


def test_equal_specs_give_equal_bytes_and_other_seeds_others() -> None:
    spec = random_physics_spec(11, particle_size_voxels=10.0, shape=(40, 40, 40))
    one, two = make_physics_sample(spec), make_physics_sample(spec)
    for name in ("image", "labels", "phases"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
    other = make_physics_sample(replace(spec, grains=replace(spec.grains, seed=12)))
    assert not np.array_equal(one.labels, other.labels)


def ball(radius: float, shape: tuple[int, int, int] = (16, 64, 64)) -> Any:
    """A cylinder along z."""
    y, x = np.ogrid[: shape[1], : shape[2]]
    at = np.hypot(y - (shape[1] - 1) / 2, x - (shape[2] - 1) / 2)
    return np.broadcast_to(at < radius, shape).astype(np.uint32)


def test_quartz_in_pmma_has_the_attenuation_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = ball(20)
    spec = replace(PLAIN, grains=replace(GRAINS, shape=labels.shape, spacing_mm=0.01))
    found = attenuation(spec, labels, monkeypatch)
    weights = spec.scan.beam.weights()
    middle = found[4:-4, 26:38, 26:38].mean()
    # The sample is 0.6 mm thick: nothing hardens.
    assert middle == pytest.approx(weights @ attenuation_of("quartz"), rel=0.03)


@pytest.mark.parametrize("noise", [0.1, 0.4])
def test_the_noise_in_the_embedding_is_what_was_asked_for(noise: float, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = ball(6)
    scan = ScanSettings(noise=noise, views=100, source_blur=0.0, detector_blur=0.0)
    spec = PhysicsSpec(grains=replace(GRAINS, shape=labels.shape), scan=scan)
    found = attenuation(spec, labels, monkeypatch)
    weights = scan.beam.weights()
    contrast = weights @ (attenuation_of("quartz") - attenuation_of("PMMA"))
    y, x = np.ogrid[:64, :64]
    ring = np.hypot(y - 31.5, x - 31.5)
    assert found[:, (ring > 10) & (ring < 16)].std() == pytest.approx(noise * contrast, rel=0.08)


def cupping(volume: Any) -> float:
    """How much brighter the rim of the cylinder is than its middle."""
    y, x = np.ogrid[:64, :64]
    away = np.hypot(y - 31.5, x - 31.5)
    return float(volume[4:-4, (away > 14) & (away < 17)].mean() / volume[4:-4, away < 5].mean() - 1)


def test_a_beam_hardens_and_the_correction_takes_most_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = ball(20)
    minerals = (("magnetite", 1.0),)
    spec = PhysicsSpec(
        grains=replace(GRAINS, shape=labels.shape, spacing_mm=0.06), minerals=minerals, scan=ScanSettings(noise=0.003)
    )
    plain = cupping(attenuation(spec, labels, monkeypatch))
    thin = cupping(attenuation(replace(spec, grains=replace(spec.grains, spacing_mm=0.003)), labels, monkeypatch))
    corrected = cupping(attenuation(with_scan(spec, hardening_correction=1.0), labels, monkeypatch))
    assert plain > 0.1
    assert abs(thin) < 0.03
    assert abs(corrected) < 0.5 * plain


def test_gain_errors_are_rings(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = ball(6)
    spec = PhysicsSpec(grains=replace(GRAINS, shape=labels.shape), scan=ScanSettings(noise=0.002, views=100))
    clean, rings = (attenuation(with_scan(spec, gain_error=g), labels, monkeypatch) for g in (0.0, 0.01))
    error = (rings - clean)[8]
    y, x = np.ogrid[:64, :64]
    away = np.rint(np.hypot(y - 31.5, x - 31.5)).astype(int)
    inside = away < 28
    means = np.bincount(away[inside], error[inside]) / np.maximum(np.bincount(away[inside]), 1)
    # What is left when every circle's mean is taken off is little.
    assert (error - means[np.minimum(away, 27)])[inside].std() < 0.75 * error[inside].std()


def test_sugar_is_below_the_noise_and_galena_far_above() -> None:
    pmma = attenuation_of("PMMA")
    weights = ScanSettings().beam.weights()
    steps = {name: float(weights @ (attenuation_of(name) - pmma)) for name in ("sugar", "quartz", "galena")}
    assert steps["sugar"] < 0.2 * steps["quartz"]
    assert steps["galena"] > 50 * steps["quartz"]


def test_an_export_of_8_bits_shows_the_darkest_mineral_and_saturates_the_brightest() -> None:
    minerals = (("quartz", 0.7), ("cassiterite", 0.3))
    # Wide enough for streaks behind the ore that are much darker than the resin.
    spec = with_scan(replace(PLAIN, minerals=minerals, grains=replace(GRAINS, spacing_mm=0.2)), bits=8)
    made = make_physics_sample(spec)
    assert made.image.max() == 255
    quartz, resin, ore = (
        np.median(made.image[made.phases == made.materials.index(name)]) for name in ("quartz", "PMMA", "cassiterite")
    )
    assert quartz - resin >= 6
    assert 0 < resin < 128
    assert ore == 255


def test_dark_streaks_do_not_push_the_embedding_out_of_an_export_of_8_bits() -> None:
    spec = with_scan(bits=8)
    found = channels(spec.scan.beam, np.stack([attenuation_of(name) for name in materials_in(spec)]))
    resin = float(found.attenuation[materials_in(spec).index("PMMA")] @ found.weights)
    volume = np.full((8, 48, 48), resin, np.float32)
    volume[:, :4], volume[:, 4:8] = -60, 40
    gray = making._export(volume, spec, found)
    assert 30 < gray[0, 20, 20] < 128
    assert (gray[0, 0, 0], gray[0, 4, 0]) == (0, 255)


def test_labels_lie_where_the_image_shows_the_grains() -> None:
    made = make_physics_sample(with_scan(noise=0.01, source_blur=0.0, detector_blur=0.0))
    particle = made.labels > 0
    shown = made.image > (np.median(made.image[particle]) / 2 + np.median(made.image[~particle]) / 2)
    assert 2 * (shown & particle).sum() / (shown.sum() + particle.sum()) > 0.98
    for axis in range(3):
        moved = [np.mean(np.roll(shown, step, axis) == particle) for step in (-1, 1)]
        assert moved[0] == pytest.approx(moved[1], abs=0.005)


def test_a_folder_holds_the_phases_and_is_completed_not_made_again(tmp_path: Path) -> None:
    specs = [random_physics_spec(s, particle_size_voxels=10.0, shape=(32, 32, 32)) for s in (1, 2)]
    assert [name for name, _ in write_samples(tmp_path, specs[:1])] == ["physics_00001"]
    assert [name for name, _ in write_samples(tmp_path, specs)] == ["physics_00002"]
    entry = json.loads((tmp_path / "metadata.json").read_text())["physics_00001"]
    assert entry["simulated"]["source"] == "physics"
    assert entry["phases"][:2] == ["air", specs[0].embedding] or specs[0].embedding == "air"
    assert read_whole(tmp_path / "phases" / "physics_00001.zarr").max() < len(entry["phases"])
    assert [sample.name for sample in find_samples(tmp_path)] == ["physics_00001", "physics_00002"]
    with pytest.raises(InputError, match="exists with another scan"):
        list(write_samples(tmp_path, [with_scan(specs[0], noise=0.77)]))


def test_what_is_fixed_changes_nothing_else_that_is_drawn() -> None:
    one, two = random_physics_spec(7), random_physics_spec(7, material="glass", embedding="PMMA", scan={"noise": 0.2})
    assert one.grains.shape == two.grains.shape
    assert one.wall == two.wall
    assert replace(one.scan, noise=0.2) == two.scan
    assert (two.material, two.grains.roundness) == ("glass", 1.0)


def test_labels_of_real_grains_are_filled_with_minerals(tmp_path: Path) -> None:
    z, y, x = np.indices((60, 60, 60))
    grains = ((z % 20 - 10) ** 2 + (y % 20 - 10) ** 2 + (x % 20 - 10) ** 2) < 64
    labels = np.where(grains, 1 + z // 20 * 9 + y // 20 * 3 + x // 20, 0).astype(np.uint32)
    source = LabelSource("rocks", labels, 0.01, 16.0)
    spec = labelled_spec(source, 4, shape=(40, 40, 40), particle_size_voxels=16.0, material="quartz")
    assert [name for name, _ in write_samples(tmp_path, [spec], source)] == ["rocks_physics_00004"]
    entry = json.loads((tmp_path / "metadata.json").read_text())["rocks_physics_00004"]
    assert "touching" not in entry["simulated"]
    (found,) = find_samples(tmp_path)
    image, cut = found.read()
    phases = read_whole(tmp_path / "phases" / "rocks_physics_00004.zarr")
    assert cut.max() >= 8
    assert image[cut > 0].mean() > image[cut == 0].mean()
    assert (phases[cut > 0] == entry["phases"].index("quartz")).mean() > 0.7
    with pytest.raises(InputError, match="choose a smaller shape"):
        labelled_spec(source, 4, shape=(80, 80, 80))

from dataclasses import replace

import numpy as np
import pytest

from ps3d_bench import samples
from ps3d_training.synth import SampleSpec, make_sample

SMALL = SampleSpec(seed=5, shape=(40, 40, 40), particle_size_voxels=12, fill=0.2, touching=0.1)


def test_a_sample_is_read_as_it_was_made_and_made_once(tmp_path, monkeypatch):
    made = make_sample(SMALL)
    (case,) = samples.load_cases(tmp_path, [SMALL])
    assert np.array_equal(case.image, made.image)
    assert case.image.dtype == np.uint16
    assert np.array_equal(case.reference, made.labels)
    assert case.particle_size_mm == pytest.approx(made.facts["mean_diameter_voxels"] * 0.01, abs=1e-6)
    assert case.particle_size_voxels == pytest.approx(made.facts["mean_diameter_voxels"], abs=1e-4)
    assert case.simulated["noise"] == SMALL.noise
    assert case.came_out["touching"] == made.facts["touching"]
    listing = case.folder / "metadata.json"
    before = listing.stat().st_mtime_ns
    (again,) = samples.load_cases(tmp_path, [SMALL])
    assert np.array_equal(again.image, made.image)
    assert listing.stat().st_mtime_ns == before


def test_another_spec_or_generator_is_another_sample(tmp_path, monkeypatch):
    folders = [case.folder for case in samples.load_cases(tmp_path, [SMALL, replace(SMALL, noise=0.2)])]
    monkeypatch.setattr(samples, "generator_hash", lambda **_: "other")
    folders += [case.folder for case in samples.load_cases(tmp_path, [SMALL])]
    assert len(set(folders)) == 3


def test_a_seed_named_twice_counts_once():
    assert [spec.seed for spec in samples.choose([900002, 900001, 900002])] == [900002, 900001]

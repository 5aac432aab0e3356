import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

import real_grains
from ps3d_bench import methods
from ps3d_bench.accuracy_samples import SAMPLES
from ps3d_rt.errors import InputError
from ps3d_training.synth import SampleSpec
from ps3d_training.synth.from_labels import LabelSource, open_labels
from ps3d_training.synth.truth import mean_diameter

REAL_GRAINS = Path(__file__).resolve().parents[3] / "shared/data/grains/grains.npy.zip"


@pytest.fixture
def balls() -> np.ndarray:
    """Balls 10 voxels across on a lattice, every second one against its neighbour along x: 48 x 48 x 60 binary."""
    z, y, x = np.indices((48, 48, 60))
    binary = np.zeros(z.shape, np.uint8)
    for cz in range(8, 48, 16):
        for cy in range(8, 48, 16):
            for cx in (8, 24, 44):
                binary[(z - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 <= 30] = 1
    return binary


@pytest.fixture
def source(balls) -> LabelSource:
    labels, _ = ndimage.label(balls)
    return LabelSource("balls", labels.astype(np.uint32), 0.01, mean_diameter(labels))


def test_every_contrast_has_its_samples_of_seeds_that_nothing_else_uses(source):
    drawn = list(real_grains.specs_of(source))
    assert [contrast for contrast, _ in drawn] == [0.35, 0.35, 0.7, 0.7, 1.5, 1.5, 3.0, 3.0]
    assert [spec.seed for _, spec in drawn] == list(range(870_001, 870_009))
    assert max(spec.seed for _, spec in drawn) < min(sample.spec.seed for sample in SAMPLES)
    for contrast, spec in drawn:
        assert spec.contrast == pytest.approx(contrast, abs=1e-3)
        assert spec.matrix_gray == 1.0
    assert len({spec.noise for _, spec in drawn}) == len(drawn)


def test_other_minerals_and_spacers_keep_their_place_between_matrix_and_first_mineral():
    spec = SampleSpec(phases=(1.5, 2.0), matrix_gray=1.0, spacer_gray=0.9)
    found = real_grains.with_contrast(spec, 1.0)
    assert found.phases == (2.0, 3.0)
    assert found.spacer_gray == pytest.approx(0.8)
    assert (found.noise, found.seed) == (spec.noise, spec.seed)


def test_a_zip_of_one_file_is_unpacked_and_any_other_refused(tmp_path, balls):
    np.save(tmp_path / "balls.npy", balls)
    with real_grains.unpacked(tmp_path / "balls.npy") as path:
        assert path == tmp_path / "balls.npy"
    with zipfile.ZipFile(tmp_path / "balls.npy.zip", "w") as archive:
        archive.write(tmp_path / "balls.npy", "balls.npy")
    with real_grains.unpacked(tmp_path / "balls.npy.zip") as path:
        assert np.array_equal(np.load(path), balls)
    assert not path.exists()
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.npy", b"")
        archive.writestr("b.npy", b"")
    with pytest.raises(InputError, match="holds 2 files"), real_grains.unpacked(tmp_path / "two.zip"):
        pass
    with pytest.raises(InputError, match="is not there"), real_grains.unpacked(tmp_path / "none.npy"):
        pass


def test_the_script_judges_every_method_at_every_contrast(balls, bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(real_grains.ps3d_rt, "load_model", lambda name: bundle)
    monkeypatch.setattr(real_grains, "CONTRASTS", (0.7, 3.0))
    monkeypatch.setattr(real_grains, "SAMPLES_PER_CONTRAST", 1)
    small = SampleSpec(seed=6, shape=(40, 40, 40), particle_size_voxels=12, fill=0.2, touching=0.1)
    monkeypatch.setattr(methods, "TUNING", (small,))
    np.save(tmp_path / "balls.npy", balls)
    out = tmp_path / "real_grains.json"
    options = ["--engine", "fake", "--cache", str(tmp_path / "cache"), "--out", str(out)]
    real_grains.main([str(tmp_path / "balls.npy"), *options])
    content = json.loads(out.read_text(encoding="utf-8"))
    assert "simulated gray values" in content["data"]
    assert content["model"] == {"name": "fake", "sha256": bundle.hash}
    assert [row["contrast"] for row in content["samples"]] == [0.7, 3.0]
    for name in ("ps3d-rt", "threshwater", "snow", "snow-true"):
        scores = [row["methods"][name]["f1_instance"] for row in content["samples"]]
        assert content["means"][name]["f1_instance"] == pytest.approx(np.mean(scores), abs=1e-4)
        assert content["means"][name].keys() == {"f1", "f1_match", "f1_instance", "merger_ratio", "splitter_ratio"}
    # ThreshWater is told the best threshold.
    assert content["means"]["threshwater"]["f1"] > 0.8
    assert content["samples"][0]["methods"]["threshwater"]["tuned_on"]
    assert content["samples"][0]["simulated"]["phases"][0] == pytest.approx(1.7, abs=1e-3)
    # Balls against each other are one component, a clump.
    assert sum(group["grains"] for group in content["by_solidity"]) > 0
    printed, said = capsys.readouterr()
    assert printed.count("ThreshWater") == 2
    assert "contrast 3: F1_instance" in said


def test_a_clump_has_a_low_solidity_and_the_score_of_what_fits_best():
    reference = np.zeros((20, 20, 40), np.uint32)
    reference[5:15, 5:15, 5:15] = 1  # a cube that is found one voxel short
    reference[5:15, 5:10, 20:36] = reference[5:15, 10:15, 20:25] = 2  # an L, found as its two bars
    reference[:5, 0:5, 20:25] = 3  # cut by a face
    labels = np.where(reference == 1, 7, 0)
    labels[5, 5:15, 5:15] = 0
    labels[5:15, 5:10, 20:36] = 8
    labels[5:15, 10:15, 20:25] = 9
    (solid, of_cube), (bent, of_bars) = real_grains.grain_scores(labels, reference)
    assert solid == pytest.approx(1)
    assert bent < 0.85
    assert of_cube == pytest.approx(2 * 900 / 1900)
    assert of_bars == pytest.approx(2 * 800 / (800 + 1050))


def test_training_gets_one_half_and_the_other_is_judged(tmp_path, balls, capsys):
    training, judged = real_grains.halves(np.broadcast_to(np.arange(501)[:, None], (2, 501, 2)))
    assert (training.min(), training.max()) == (0, 239)
    assert (judged.min(), judged.max()) == (280, 500)

    np.save(tmp_path / "balls.npy", balls)
    real_grains.main([str(tmp_path / "balls.npy"), "--training-half", str(tmp_path / "half.npy")])
    half = np.load(tmp_path / "half.npy")
    assert half.shape == (48, 23, 60)
    np.testing.assert_array_equal(half > 0, balls[:, :23] > 0)
    assert capsys.readouterr().out == "", "nothing is judged"


def test_grains_of_the_real_packing_are_rendered_at_the_contrast(tmp_path):
    if not REAL_GRAINS.exists():
        pytest.skip(f"the real grains are not here: {REAL_GRAINS.name}")
    with real_grains.unpacked(REAL_GRAINS) as file:
        np.save(tmp_path / "part.npy", np.load(file)[150:350, 150:350])
    source = open_labels(tmp_path / "part.npy", least_voxels=real_grains.LEAST_VOXELS)
    assert source.mean_diameter_voxels == pytest.approx(32, rel=0.1)
    _, spec = next(real_grains.specs_of(source))
    case = real_grains.case_of(source, spec)
    assert case.image.shape == case.reference.shape == spec.shape
    assert case.particle_size_voxels == pytest.approx(spec.particle_size_voxels)
    assert case.reference.max() == case.came_out["particles"] > 20
    assert case.image[case.reference > 0].mean() > case.image[case.reference == 0].mean()

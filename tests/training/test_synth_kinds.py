"""``ps3d_training.synth.kinds``: what each kind fixes, and that nothing lies beyond what ``random_spec`` draws."""

import numpy as np
import pytest

from ps3d_rt.errors import InputError
from ps3d_training.synth import random_spec
from ps3d_training.synth.from_labels import LabelSource
from ps3d_training.synth.kinds import KINDS, of_kind

SEEDS = range(40)


def specs(kind: str) -> list:
    return [of_kind(kind, seed) for seed in SEEDS]


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_and_seed_are_always_the_same_sample(kind: str) -> None:
    drawn = specs(kind)
    assert drawn == specs(kind)
    assert [spec.seed for spec in drawn] == list(SEEDS)
    assert len({spec.noise for spec in drawn}) > 35, "what a kind does not fix varies"
    for spec in drawn:
        assert min(spec.shape) >= 4 * spec.particle_size_voxels
        assert max(spec.phases) - 1 <= 2.5 * (spec.phases[0] - 1) + 0.002, "they are rounded"
        assert 0.349 <= spec.phases[0] - 1 <= 3.001
        assert spec.noise <= 0.3


def test_small_ones_are_small_and_every_third_sample_is_dense() -> None:
    drawn = specs("small")
    sizes = [spec.particle_size_voxels for spec in drawn]
    assert 8 <= min(sizes) < 9
    assert 14 < max(sizes) <= 15
    assert [spec.seed for spec in drawn if spec.touching > 0.5] == list(range(0, 40, 3))


def test_touching_ones_touch() -> None:
    assert min(spec.touching for spec in specs("touching")) >= 0.8


def test_spacers_are_darker_than_every_mineral_and_half_of_them_lie_in_foam() -> None:
    for spec in specs("spacers"):
        contrast = spec.phases[0] - 1
        assert 0 <= spec.spacer_gray - 1 <= 0.4 * contrast
        assert spec.spacers >= 0.05
        assert (spec.matrix_gray < 1) == (spec.seed % 2 == 1)


def test_minerals_are_far_apart() -> None:
    for spec in specs("minerals"):
        first, second, third = (phase - 1 for phase in spec.phases)
        assert 1.5 * first <= second <= third == pytest.approx(2.5 * first)


def test_loose_ones_keep_the_size_that_random_spec_draws() -> None:
    assert [s.particle_size_voxels for s in specs("loose")] == [random_spec(s).particle_size_voxels for s in SEEDS]


def test_grains_are_cut_from_labels_at_14_to_32_voxels() -> None:
    source = LabelSource("packing", np.ones((200, 200, 200), np.uint32), 0.01, 32.0)
    drawn = [of_kind("grains", seed, source) for seed in SEEDS]
    sizes = [spec.particle_size_voxels for spec in drawn]
    assert 14 <= min(sizes) < 16
    assert 28 < max(sizes) <= 32
    assert all(min(spec.shape) >= 80 for spec in drawn)


@pytest.mark.parametrize(("kind", "source"), [("grains", False), ("sand", False), ("small", True)])
def test_a_kind_that_is_none_or_does_not_go_with_labels_is_refused(kind: str, source: bool) -> None:
    labels = LabelSource("packing", np.ones((200, 200, 200), np.uint32), 0.01, 32.0) if source else None
    with pytest.raises(InputError, match="one of loose, small, touching, spacers, minerals, or with --labels grains"):
        of_kind(kind, 0, labels)


def test_the_command_draws_a_kind(cli, tmp_path) -> None:
    code, printed, said = cli("synth", tmp_path / "samples", "--kind", "small", "--seed", "2", "--count", "1")
    assert (code, printed.strip()) == (0, str(tmp_path / "samples")), said
    assert (tmp_path / "samples" / "images" / "synth_00002.zarr").is_dir()
    code, _, said = cli("synth", tmp_path / "more", "--kind", "small", "--noise", "0.1")
    assert (code, "leave out the options that fix them" in said) == (2, True)

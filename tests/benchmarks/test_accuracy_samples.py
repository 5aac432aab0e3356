from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np

from ps3d_bench.accuracy_samples import DEVELOPMENT, SAMPLES, TABLE1, TUNING, choose
from ps3d_training.synth import SampleSpec, random_spec

FIXED = {"seed", "shape", "spacing_mm", "touching", "fill", "particle_size_voxels"}
DRAWN = [random_spec(seed) for seed in range(1000, 3000)]


def numbers(spec: SampleSpec) -> dict[str, Any]:
    """The fields that decide how a sample looks; gray values relative to the contrast of the first mineral."""
    fields = {name: value for name, value in vars(spec).items() if name not in FIXED | {"phases", "spacer_gray"}}
    steps = (np.array(spec.phases) - spec.matrix_gray) / spec.contrast
    return fields | {"brightest": float(steps.max()), "contrast": spec.contrast}


LIMITS = {
    name: (min(values), max(values)) for name in numbers(DRAWN[0]) if (values := [numbers(s)[name] for s in DRAWN])
}


def outside(spec: SampleSpec) -> set[str]:
    """Fields well outside of what 2,000 seeds of training draw; what they just miss does not count."""
    found = set()
    for name, value in numbers(spec).items():
        low, high = LIMITS[name]
        near = 0.01 * (high - low)
        if not low - near <= value <= high + near:
            found.add(name)
    return found


def test_as_many_samples_as_the_paper_has_and_three_that_touch():
    assert Counter(sample.group for sample in SAMPLES) == {"in": 8, "out": 5, "artifact": 1, "touching": 3}


def test_seeds_in_a_row_that_nothing_else_uses():
    assert [sample.spec.seed for sample in SAMPLES] == list(range(950001, 950018))
    assert max(spec.seed for spec in TUNING) < 900000


def test_development_is_drawn_as_the_benchmark_is_and_by_physics_and_shares_no_seed() -> None:
    drawn = Counter(sample.group for sample in DEVELOPMENT)
    assert drawn == {"dev-in": 8, "dev-out": 5, "dev-artifact": 1, "dev-touching": 3, "dev-physics": 16}
    seeds = [sample.spec.seed for sample in (*SAMPLES, *TABLE1, *DEVELOPMENT)]
    assert len(set(seeds)) == len(seeds)
    for blind, sample in zip(SAMPLES, DEVELOPMENT, strict=False):
        fixed = [{name: vars(one.spec)[name] for name in ("shape", "fill", "touching")} for one in (blind, sample)]
        assert fixed[0] == fixed[1]
        assert sample.spec != replace(blind.spec, seed=sample.spec.seed), "its minerals, its scanner are others"
    assert choose("dev") == DEVELOPMENT
    assert choose("dev-physics,970001") == (DEVELOPMENT[0], *DEVELOPMENT[17:])


def test_in_distribution_is_what_training_draws():
    for sample in SAMPLES:
        if sample.group in ("in", "touching"):
            assert outside(sample.spec) == set(), sample.spec.seed
            assert sample.outside == ""


def test_out_of_distribution_is_in_one_property_what_training_never_draws():
    wanted = {
        "minerals": {"brightest"},
        "blur": {"blur_voxels"},
        "noise": {"noise", "noise_correlation_voxels"},
        "sizes": {"size_spread"},
        "shapes": {"elongation", "needles"},
        "artifacts": {"rings", "streaks", "cupping"},
    }
    assert {sample.outside: outside(sample.spec) for sample in SAMPLES if sample.outside} == wanted


def test_sizes_and_shapes_are_those_promised():
    sizes = [sample.spec.particle_size_voxels for sample in SAMPLES if sample.group == "in"]
    assert (min(sizes), max(sizes)) == (12, 40)
    for sample in SAMPLES:
        assert 128 <= min(sample.spec.shape) <= max(sample.spec.shape) <= 192
        assert sample.spec.touching == (0.9 if sample.group == "touching" else 0.08)


def test_groups_and_seeds_are_taken_once_in_order():
    assert [sample.spec.seed for sample in choose("950017,artifact,950014")] == [950014, 950017]
    assert choose("all") == SAMPLES

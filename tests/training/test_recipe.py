from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ps3d_training.dataset import names_in
from ps3d_training.plan import DATASET_NAME
from ps3d_training.recipe import TrainingRecipe, follow
from ps3d_training.recipe_sources import SOURCES, Source
from ps3d_training.synth.physics import PhysicsSpec, random_physics_spec
from ps3d_training.synth.spec import SampleSpec
from ps3d_training.synth.truth import contrast_to_noise
from toy_training import PLAN, SCHEDULE


def tiny(seed: int) -> SampleSpec:
    return SampleSpec(seed=seed, shape=(32, 32, 32), particle_size_voxels=10, fill=0.3)


def invisible(seed: int) -> PhysicsSpec:
    return random_physics_spec(
        seed, material="quartz", scan={"noise": 30.0}, shape=(32, 32, 32), particle_size_voxels=10, container=False
    )


def small_recipe(**changes: object) -> TrainingRecipe:
    sources = (Source(tiny, 0.75, 10), Source(invisible, 0.25, 50))
    plan = replace(PLAN, gray_scheme="embedding", gray_ceiling=None)
    given = {
        "samples": 4,
        "sources": sources,
        "plan": plan,
        "patches": (16, 32),
        "epochs": (1, 1),
        "schedule": SCHEDULE,
    }
    return TrainingRecipe(**(given | changes))  # type: ignore[arg-type]


def prepared_names(work: Path) -> list[str]:
    return names_in(json.loads((work / "prepared" / DATASET_NAME / "splits_final.json").read_text(encoding="utf-8")))


def test_the_recipe_makes_a_bundle_and_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    said: list[str] = []
    work, out = tmp_path / "work", tmp_path / "mine.ps3d"

    def stop(done: int, of: int) -> None:
        said.append(f"group {done} of {of}")
        if len(said) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        follow(small_recipe(), work, out, on_group=stop)
    made = sorted(work.rglob("*.b2nd"))
    bundle = follow(small_recipe(), work, out, on_group=stop, on_epoch=lambda epoch: said.append("epoch"))
    assert said == ["group 1 of 2", "group 1 of 2", "group 2 of 2", "epoch", "epoch"]
    assert prepared_names(work) == ["synth_00010", "synth_00011", "synth_00012"], "in the fourth nothing is to be seen"
    assert [path.stat().st_mtime_ns for path in made] == [
        path.stat().st_mtime_ns for path in sorted(work.rglob("*.b2nd"))
    ]
    assert not (work / "samples").exists()
    assert (bundle.gray_scheme, bundle.core_bias, bundle.min_confidence) == ("embedding", -0.2, 0.8)
    plan = bundle.provenance["training_plan"]
    assert plan["patch"] == [32, 32, 32], "of the second training"
    assert bundle.provenance["folds"]["fold_0"]["started_from"]


def test_the_shares_of_the_sources_are_a_whole_and_no_seed_is_used_twice() -> None:
    assert sum(source.share for source in SOURCES) == pytest.approx(1)
    seeds = [seed for source in SOURCES for seed in range(source.first_seed, source.first_seed + 100_000)]
    assert len(seeds) == len(set(seeds))


def test_contrast_to_noise_of_a_known_image() -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[10:20] = 1
    image = 100 + 8 * rng.standard_normal(labels.shape) + 30 * (labels > 0)
    # Means of eight voxels vary by a factor of the root of eight less.
    assert contrast_to_noise(image, labels, labels == 0) == pytest.approx(30 / (8 / np.sqrt(8)), rel=0.05)
    assert contrast_to_noise(image, np.zeros_like(labels), labels == 0) == 0
    assert contrast_to_noise(-image, labels, labels == 0) == 0, "darker particles are not seen"
    assert contrast_to_noise(image, labels, labels > 5) == 0


def test_all_sources_draw_specs() -> None:
    kinds = {type(source.spec(source.first_seed)).__name__ for source in SOURCES}
    assert kinds == {"SampleSpec", "PhysicsSpec"}
    assert partial(random_physics_spec, kind="dense")(1) == random_physics_spec(1, kind="dense")

"""The recipe of the bundled model: simulated samples → prepared → two trainings → bundle. Started again, it goes on.

Samples are made, prepared and deleted in groups, so that thousands need no room. Small patches teach most, fast; larger
ones then teach the insides of grains larger than a small patch.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ps3d_rt.model import ModelBundle
from ps3d_training import dataset, likeness, to_bundle, training
from ps3d_training.plan import TrainingPlan
from ps3d_training.recipe_sources import LEAST_CONTRAST, SOURCES, Source
from ps3d_training.schedule import Epoch, Schedule
from ps3d_training.synth.folder import LISTING, read_metadata, sample_name, write_samples
from ps3d_training.synth.physics import PhysicsSpec
from ps3d_training.synth.spec import SampleSpec
from ps3d_training.training import TrainingRun

GROUP = 20
"""Samples that are made and prepared at once."""

_PLAN = TrainingPlan(gray_scheme="embedding", gray_ceiling=None, norm="batch")
_SCHEDULE = Schedule(steps_per_epoch=100, validate_every=0, freeze_norm=10, weighted=True, augmentation="gentle")


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe:
    """What the bundled model is made of."""

    samples: int = 3000
    sources: Sequence[Source] = SOURCES
    plan: TrainingPlan = _PLAN
    patches: tuple[int, ...] = (48, 64)
    """Side of the patches in each training, voxels; each begins with the weights of the one before."""
    epochs: tuple[int, ...] = (240, 120)
    schedule: Schedule = _SCHEDULE
    settings: Mapping[str, float] = field(
        default_factory=lambda: {
            "overlap": 0.25,
            "min_relative_volume": 0.005,
            "min_confidence": 0.8,
            "min_diameter_voxels": 3.0,
            "core_bias": -0.2,
        }
    )
    """Of :func:`to_bundle.export`; chosen on development samples (decisions 0014, 0015, 0017)."""


def follow(
    recipe: TrainingRecipe,
    work: Path,
    bundle: Path,
    *,
    threads: int | None = None,
    on_group: Callable[[int, int], None] = lambda done, of: None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> ModelBundle:
    """Make a model; what an earlier call left in ``work`` is not made again.

    Args:
        recipe: what to make it of.
        work: receives the prepared samples and the trainings.
        bundle: to write, ``NAME.ps3d``; replaced if it is there.
        threads: of the training, one a core if not given.
        on_group: called with how many groups of samples are prepared, of how many.
        on_epoch: called after every epoch.

    Raises:
        InterruptedRun: when stopped by the keyboard.
    """
    prepared = work / "prepared"
    groups = list(_groups(recipe))
    for done, specs in enumerate(groups):
        prepare_group(specs, work / "samples", prepared, recipe.plan)
        on_group(done + 1, len(groups))
    trained: Path | None = None
    for patch, epochs in zip(recipe.patches, recipe.epochs, strict=True):
        before, trained = trained, work / f"trained_{patch}"
        training.train(
            TrainingRun(
                prepared=prepared,
                out=trained,
                plan=replace(recipe.plan, patch=(patch,) * 3),
                schedule=replace(recipe.schedule, epochs=epochs),
                init=before,
                threads=threads,
            ),
            on_epoch,
        )
    assert trained is not None, "a recipe has a training"
    written = to_bundle.export(trained, bundle, settings=recipe.settings, overwrite=True)
    if not likeness.are_enough(prepared):
        return written
    return likeness.write_statistics(written.path, list(likeness.prepared_statistics(prepared)))


def _groups(recipe: TrainingRecipe) -> Iterator[list[SampleSpec | PhysicsSpec]]:
    for source in recipe.sources:
        seeds = range(source.first_seed, source.first_seed + round(source.share * recipe.samples))
        for start in range(0, len(seeds), GROUP):
            yield [source.spec(seed) for seed in seeds[start : start + GROUP]]


def prepare_group(specs: Sequence[SampleSpec | PhysicsSpec], folder: Path, prepared: Path, plan: TrainingPlan) -> None:
    """Make, prepare and delete a group, unless that was done; leave out samples in which nothing is to be seen."""
    done = prepared / "groups.txt"
    names = ",".join(sample_name(spec) for spec in specs)
    if done.exists() and names in done.read_text(encoding="utf-8").splitlines():
        return
    for _ in write_samples(folder, specs):
        pass
    seen = {
        name: entry
        for name, entry in read_metadata(folder).items()
        if entry["came_out"].get("contrast_to_noise", LEAST_CONTRAST) >= LEAST_CONTRAST
    }
    if seen:
        (folder / LISTING).write_text(json.dumps(seen, indent=2) + "\n", encoding="utf-8")
        dataset.prepare(folder, prepared, plan, add=True)
    shutil.rmtree(folder)
    prepared.mkdir(parents=True, exist_ok=True)
    with done.open("a", encoding="utf-8") as lines:
        lines.write(names + "\n")

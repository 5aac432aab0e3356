"""Go on from a bundle: old samples beside new ones, a training of some minutes, and a bundle, measured and judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from pathlib import Path
from sys import stderr

from ps3d_rt.errors import CapabilityError
from ps3d_rt.model import ModelBundle
from ps3d_training import likeness, to_bundle
from ps3d_training.adapt.balance import balance
from ps3d_training.adapt.paced import train_for
from ps3d_training.bundle_plan import plan_of
from ps3d_training.plan import TrainingPlan
from ps3d_training.recipe import GROUP, prepare_group
from ps3d_training.recipe_sources import SOURCES, Source, draw_specs
from ps3d_training.schedule import Epoch, Schedule
from ps3d_training.training import TrainingRun

SCHEDULE = Schedule(
    steps_per_epoch=50,
    validation_steps=2,
    validate_every=0,
    learning_rate=4e-4,
    freeze_norm=0,
    augmentation="gentle",
    weighted=True,
)
"""Of a short training from weights that are good already; the norms of a bundle cannot be trained."""
OLD_SEEDS = 70_000
"""From the first seed of a source to those that are replayed."""


@dataclass(frozen=True, kw_only=True)
class Continuation:
    """How a model is trained on."""

    minutes: float
    """Of training."""
    old_samples: int = 40
    """Simulated anew from the recipe's sources, so that nothing is forgotten."""
    sources: Sequence[Source] = SOURCES
    patch: int | None = None
    """Side of a training patch, voxels; None: as the model was trained with."""
    schedule: Schedule = field(default_factory=lambda: SCHEDULE)
    threads: int | None = None
    on_epoch: Callable[[Epoch], None] = lambda epoch: None
    say: Callable[[str], object] = lambda text: None
    """Told what is begun."""

    def plan(self, bundle: ModelBundle) -> TrainingPlan:
        """Give the plan that goes on from a bundle."""
        plan = plan_of(bundle)
        return plan if self.patch is None else replace(plan, patch=(self.patch,) * 3)


def prepare_old(how: Continuation, plan: TrainingPlan, work: Path) -> None:
    """Simulate and prepare old samples, in groups; those of an earlier call are kept."""
    specs = list(draw_specs(how.sources, how.old_samples, OLD_SEEDS))
    for start in range(0, len(specs), GROUP):
        group = specs[start : start + GROUP]
        prepare_group(group, work / "old", work / "prepared", plan)
        how.say(f"{len(group)} old samples are prepared")


def train_on(how: Continuation, bundle: ModelBundle, new: set[str], work: Path, out: Path) -> ModelBundle:
    """Train on from a bundle and export what was learned; an earlier call's training goes on.

    Args:
        how: how long, and beside what.
        bundle: to begin with; its settings are taken over.
        new: names of the new samples among those in ``work / "prepared"``.
        work: holds the prepared samples and gets the checkpoints.
        out: bundle to write; replaced if it is one.

    Raises:
        InterruptedRun: when stopped by the keyboard.
    """
    prepared, trained = work / "prepared", work / "trained"
    balance(prepared, new)
    run = TrainingRun(
        prepared=prepared,
        out=trained,
        plan=how.plan(bundle),
        schedule=how.schedule,
        init=bundle.path,
        threads=how.threads,
    )
    how.say(f"training for {how.minutes:g} minutes, {len(new)} new samples beside old ones")
    train_for(run, how.minutes, how.on_epoch)
    written = to_bundle.export(trained, out, patch=bundle.patch, overwrite=True)
    if likeness.are_enough(prepared):
        written = likeness.write_statistics(out, list(likeness.prepared_statistics(prepared)))
    return written


def add_precisions(bundle: ModelBundle) -> None:
    """Add 8-bit networks and the accuracy gate's verdicts, by the command that another package registers.

    Raises:
        CapabilityError: if it is not installed.
    """
    found = entry_points(group="ps3d_rt.commands", name="export")
    if not found:
        raise CapabilityError("the command export is not installed; the model runs in fp32 and bf16 only.")
    (entry,) = found
    with redirect_stdout(stderr):  # its verdicts are for people here
        entry.load()(["precisions", str(bundle.path)], standalone_mode=False)

"""What the samples look like that a model is trained on, written into its bundle: predict compares scans with them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ps3d_rt.core.likeness import LEAST_SAMPLES, Statistics, learn_cloud
from ps3d_rt.core.normalize import size_zoom
from ps3d_rt.core.scan_statistics import measure_volume
from ps3d_rt.errors import InputError
from ps3d_rt.model import ModelBundle, load_model, write_bundle
from ps3d_training.augment.bank import INSTANCES
from ps3d_training.dataset import names_in, normalize
from ps3d_training.plan import CONFIGURATION, DATASET_NAME, IGNORE, PLANS_NAME, TrainingPlan
from ps3d_training.recipe_sources import LEAST_CONTRAST, SOURCES, Source, draw_specs
from ps3d_training.synth.folder import make

MOST_SAMPLES = 300
"""Of the prepared ones that are measured, spread over all: more change a mean and a covariance little."""


def prepared_statistics(prepared: Path) -> Iterator[Statistics]:
    """Measure prepared samples that are labelled as a whole; each is read once.

    Raises:
        InputError: if there are none.
    """
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2  # noqa: PLC0415 - loads torch

    dataset = prepared / DATASET_NAME
    listing = dataset / "splits_final.json"
    if not listing.is_file():
        raise InputError(f"{prepared} holds no prepared samples; make some with: ps3d-rt train prepare.")
    names = names_in(json.loads(listing.read_text(encoding="utf-8")))
    step = -(-len(names) // MOST_SAMPLES)
    cases = dataset / f"{PLANS_NAME}_{CONFIGURATION}"
    instances = str(cases.with_name(cases.name + INSTANCES))
    stored = nnUNetDatasetBlosc2(str(cases), names[::step], folder_with_segs_from_previous_stage=instances)
    for name in names[::step]:
        data, classes, labels, _ = stored.load_case(name)
        if not (np.asarray(classes[:]) == IGNORE).any():  # what is labelled in part does not tell how full it is
            yield measure_volume(np.asarray(data[0]), np.asarray(labels[:]))


def simulated_statistics(count: int, plan: TrainingPlan, sources: Sequence[Source] = SOURCES) -> Iterator[Statistics]:
    """Simulate samples of a recipe's sources, other ones than it trains on, and measure those that show anything."""
    for spec in draw_specs(sources, count):
        sample = make(spec)
        if sample.facts.get("contrast_to_noise", LEAST_CONTRAST) >= LEAST_CONTRAST:
            zoom = size_zoom((spec.spacing_mm,) * 3, sample.particle_size_mm, plan.target_size_voxels)
            yield measure_volume(*normalize(sample.image, sample.labels, zoom, plan))


def write_statistics(model: Path, rows: Sequence[Statistics]) -> ModelBundle:
    """Write into a bundle, in its own folder, what its training samples look like.

    Raises:
        InputError: if there are fewer than eight, or the bundle is a zip, which cannot be written to.
    """
    if model.is_file():
        raise InputError(f"{model} is a zip, and its model.json is changed; unpack it first.")
    bundle = load_model(model)
    files = {name: bundle.path / name for name in bundle.sha256}
    changed = replace(bundle, training_statistics=learn_cloud(rows).to_json())
    return write_bundle(bundle.path, changed, files, overwrite=True)


def are_enough(prepared: Path) -> bool:
    """Whether so many samples are prepared that one can tell what is like them."""
    listing = prepared / DATASET_NAME / "splits_final.json"
    return len(names_in(json.loads(listing.read_text(encoding="utf-8")))) >= LEAST_SAMPLES

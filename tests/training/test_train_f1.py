"""F1_instance while training, and trainings that need the instances."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from ps3d_training import to_bundle, training
from ps3d_training.checkpoint import read_checkpoint
from ps3d_training.schedule import Epoch
from ps3d_training.training import train
from ps3d_training.validate import score_sample
from toy_training import PLAN, run_of


def test_a_trained_network_finds_the_particles_and_the_log_says_so(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores: list[np.ndarray[Any, Any]] = []
    voxels = np.random.default_rng(0).normal(size=PLAN.patch).astype(np.float32)

    def listen(score: Any, *rest: Any) -> Any:
        scores.append(score(voxels))
        return score_sample(score, *rest)

    monkeypatch.setattr("ps3d_training.trainer.score_sample", listen)
    said: list[Epoch] = []
    schedule = {"epochs": 4, "steps_per_epoch": 40, "validate_every": 2, "learning_rate": 1e-2}
    checkpoint = train(run_of(prepared, tmp_path, **schedule), said.append)
    assert [epoch.f1_instance is not None for epoch in said] == [False, True, False, True]
    assert said[-1].f1_instance > 0.7
    assert read_checkpoint(checkpoint)["f1_instance"] == {2: said[1].f1_instance, 4: said[3].f1_instance}
    network, facts = to_bundle.load_network(checkpoint, PLAN)
    assert facts["f1_instance"] == said[-1].f1_instance
    with torch.inference_mode():
        exported = network(torch.from_numpy(voxels)[None, None])[0].numpy()
    assert np.abs(exported - scores[-1]).max() < 0.08, "the averaged network is scored; bfloat16 costs some digits"
    picture = ElementTree.parse(checkpoint.with_name("training.svg"))
    assert len(picture.findall("{*}circle")) == 2, "the two F1_instance"


@pytest.mark.parametrize("schedule", [{"augmentation": "published"}, {"weighted": True}])
def test_what_needs_the_instances_trains(larger: Path, tmp_path: Path, schedule: dict[str, Any]) -> None:
    said: list[Epoch] = []
    plan = replace(PLAN, target_size_voxels=12)
    train(replace(run_of(larger, tmp_path, epochs=1, **schedule), plan=plan), said.append)
    assert np.isfinite(said[0].train_loss)


def test_weights_change_what_is_learned_and_not_what_is_validated(larger: Path, tmp_path: Path) -> None:
    run = replace(run_of(larger, tmp_path, epochs=1), plan=replace(PLAN, target_size_voxels=12))
    weighted = replace(run, schedule=replace(run.schedule, weighted=True))
    channels = []
    for asked in (weighted, run):
        trainer = training.open_trainer(asked)
        trainer.initialize()
        channels.append([next(iter(loader))["target"].shape[1] for loader in trainer.get_dataloaders()])
    assert channels == [[2, 1], [1, 1]]

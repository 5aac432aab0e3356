from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from ps3d_rt.errors import InputError
from ps3d_training import to_bundle
from ps3d_training.checkpoint import read_checkpoint
from ps3d_training.plan import TrainingPlan
from ps3d_training.schedule import Schedule
from ps3d_training.training import TrainingRun, train

PLAN = TrainingPlan(
    target_size_voxels=8, border_thickness_voxels=1.0, patch=(16, 16, 16), stages=2, width=4, norm="batch"
)
STEPS = 3


def run_of(prepared: Path, out: Path, **schedule: object) -> TrainingRun:
    fields = {"epochs": 2, "steps_per_epoch": STEPS, "validation_steps": 2, "workers": 0} | schedule
    return TrainingRun(prepared=prepared, out=out, plan=PLAN, schedule=Schedule(**fields), device="cpu", threads=1)


def test_batch_norm_is_exported_as_the_constant_it_has_become(prepared: Path, tmp_path: Path) -> None:
    checkpoint = train(run_of(prepared, tmp_path / "run"))
    content = read_checkpoint(checkpoint)
    current, average = content["network_weights"], content["average_weights"]
    variances = [name for name in current if name.endswith("running_var")]
    assert variances
    for name in variances:
        assert not torch.equal(current[name], torch.ones_like(current[name]))
        assert not torch.equal(current[name], average[name]), "the average has its own, not that of the last step"
    network, _ = to_bundle.load_network(checkpoint, PLAN)
    patches = torch.from_numpy(np.random.default_rng(1).normal(0, 2, (3, 1, 16, 16, 16)).astype(np.float32))
    with torch.inference_mode():
        alone, together = network(patches[:1]), network(patches)[:1]
    assert torch.allclose(alone, together, atol=1e-6), "the other patches of the batch do not matter"
    bundle = to_bundle.export(tmp_path / "run", tmp_path / "batch.ps3d", patch=(16, 16, 16))
    assert bundle.provenance["training_plan"]["norm"] == "batch"
    graph = onnx.load(bundle.onnx_paths[0]).graph
    assert {"InstanceNormalization", "BatchNormalization"}.isdisjoint(node.op_type for node in graph.node)


def test_a_frozen_batch_norm_keeps_the_averaged_statistics(prepared: Path, tmp_path: Path) -> None:
    contents = []
    for epochs in (1, 2):
        run = run_of(prepared, tmp_path / "run", epochs=epochs, freeze_norm=1)
        contents.append(read_checkpoint(train(run)))
    before, after = (content["average_weights"] for content in contents)
    trained = contents[1]["network_weights"]
    statistics = [name for name in trained if name.endswith(("running_mean", "running_var"))]
    assert statistics
    for name in statistics:
        assert torch.equal(trained[name], before[name])
        assert torch.allclose(after[name], before[name])
    counted = {int(value) for name, value in trained.items() if name.endswith("num_batches_tracked")}
    assert counted == {STEPS}, "the second epoch's batches are not looked at"
    assert any(not torch.equal(trained[name], before[name]) for name in trained if name.endswith("norm.weight"))


def test_a_bundle_whose_norms_were_folded_can_be_started_from(prepared: Path, tmp_path: Path) -> None:
    checkpoint = train(run_of(prepared, tmp_path / "first"))
    settings = {"min_confidence": 0.7, "min_diameter_voxels": 3.0}
    bundle = to_bundle.export(tmp_path / "first", tmp_path / "first.ps3d", patch=(16, 16, 16), settings=settings)
    still = {"epochs": 1, "learning_rate": 1e-12, "validate_every": 0}
    run = replace(run_of(prepared, tmp_path / "second", **still), init=bundle.path)
    with pytest.raises(InputError, match="--freeze-norm 0"):
        train(run)
    again = train(replace(run, schedule=replace(run.schedule, freeze_norm=0)))
    patch = torch.from_numpy(np.random.default_rng(2).normal(0, 1, (1, 1, 16, 16, 16)).astype(np.float32))
    with torch.inference_mode():
        want, found = (to_bundle.load_network(path, PLAN)[0](patch) for path in (checkpoint, again))
    assert torch.allclose(found, want, atol=1e-5)
    assert read_checkpoint(again)["started_from"]["bundle"] == "first"
    # What the bundle was used with is handed on, from there to the next training too.
    third = replace(
        run, out=tmp_path / "third", init=tmp_path / "second", schedule=replace(run.schedule, freeze_norm=0)
    )
    train(third)
    given = {"min_diameter_voxels": 2.0}
    last = to_bundle.export(third.out, tmp_path / "third.ps3d", patch=(16, 16, 16), settings=given)
    assert (last.overlap, last.min_confidence, last.min_diameter_voxels) == (0.25, 0.7, 2.0)

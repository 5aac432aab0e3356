from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from typer.testing import CliRunner

from ps3d_rt.errors import CapabilityError, InputError, InterruptedRun, Ps3dError
from ps3d_rt.model import ModelBundle, load_model
from ps3d_training import to_bundle, training
from ps3d_training.checkpoint import read_checkpoint, write_checkpoint
from ps3d_training.cli.train import app
from ps3d_training.plan import TrainingPlan, nnunet_plans
from ps3d_training.schedule import Epoch, Schedule
from ps3d_training.start import find_checkpoint, read_start
from ps3d_training.training import TrainingRun, train
from toy_training import PLAN, SCHEDULE, run_of


@pytest.fixture(scope="module")
def trained(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Epoch]]:
    out, said = tmp_path_factory.mktemp("trained"), []
    train(run_of(prepared, out), said.append)
    return out, said


@pytest.fixture(scope="module")
def bundle(trained: tuple[Path, list[Epoch]], tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    return to_bundle.export(
        trained[0],
        tmp_path_factory.mktemp("bundle") / "toy.ps3d",
        patch=(24, 16, 32),
        settings={"min_relative_volume": 0.02, "min_confidence": 0.7},
        provenance={"made_of": "balls"},
    )


def weights(out: Path) -> dict[str, torch.Tensor]:
    content = read_checkpoint(next(out.glob("*/*/fold_0/checkpoint_latest.pth")))
    return content["network_weights"] | {f"average {k}": v for k, v in content["average_weights"].items()}


def test_every_epoch_is_reported_and_learns_something(trained: tuple[Path, list[Epoch]]) -> None:
    _, said = trained
    assert [(epoch.number, epoch.of) for epoch in said] == [(1, 2), (2, 2)]
    assert said[1].train_loss < said[0].train_loss
    assert [epoch.learning_rate for epoch in said] == pytest.approx([1e-3, 5e-4])
    assert said[0].f1_instance is None
    assert 0 <= said[1].f1_instance <= 1, "after the last epoch, however short the run"
    for epoch in said:
        assert len(epoch.dice) == 2
        assert 0 < epoch.data_wait_seconds < epoch.seconds


def test_a_killed_run_goes_on_and_ends_with_the_same_weights(
    prepared: Path, trained: tuple[Path, list[Epoch]], tmp_path: Path
) -> None:
    said: list[Epoch] = []

    def stop(epoch: Epoch) -> None:
        said.append(epoch)
        raise KeyboardInterrupt

    with pytest.raises(InterruptedRun, match="after epoch 1"):
        train(run_of(prepared, tmp_path), stop)
    train(run_of(prepared, tmp_path), said.append)
    assert [epoch.number for epoch in said] == [1, 2]
    straight = weights(trained[0])
    resumed = weights(tmp_path)
    assert straight.keys() == resumed.keys()
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_a_finished_run_can_be_made_longer(
    prepared: Path, trained: tuple[Path, list[Epoch]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(trained[0], tmp_path / "run")
    said: list[Epoch] = []
    train(run_of(prepared, tmp_path / "run"), said.append)
    assert said == []
    assert "2 epochs already" in caplog.text
    checkpoint = train(run_of(prepared, tmp_path / "run", epochs=3), said.append)
    assert [(epoch.number, epoch.of) for epoch in said] == [(3, 3)]
    assert said[0].learning_rate == pytest.approx(1e-3 * 0.25), "the third of three steps down a half cosine"
    content = read_checkpoint(checkpoint)
    assert content["current_epoch"] == 3
    assert content["averaged_steps"] == 9
    assert {float(state["step"]) for state in content["optimizer_state"]["state"].values()} == {9}


def test_patches_from_a_worker_are_those_made_in_place(prepared: Path, tmp_path: Path) -> None:
    def first_epochs(workers: int) -> list[np.ndarray[Any, Any]]:
        trainer = training.open_trainer(run_of(prepared, tmp_path, workers=workers))
        trainer.initialize()
        loader, _ = trainer.get_dataloaders()
        return [next(iter(loader))["data"].numpy().copy() for _ in range(2)]

    in_place = first_epochs(0)
    assert np.array_equal(in_place, first_epochs(1))
    assert not np.array_equal(*in_place), "another epoch has other patches"


def test_patches_stay_inside_the_volume_and_validation_repeats(prepared: Path, tmp_path: Path) -> None:
    trainer = training.open_trainer(run_of(prepared, tmp_path))
    trainer.initialize()
    train_loader, validation = trainer.get_dataloaders()
    stream = train_loader.dataset.loader
    assert stream.patch_size[0] > stream.final_patch_size[0] == 16
    margin = (stream.patch_size[0] - 16) // 2
    corner = {1: np.array([[0, 23, 23, 0]])}
    starts, stops = stream.get_bbox((24, 24, 24), True, corner)
    assert [start + margin for start in starts] == [8, 8, 0]
    assert [stop - start for start, stop in zip(starts, stops, strict=True)] == list(stream.patch_size)
    first, again = (next(iter(validation)) for _ in range(2))
    assert torch.equal(first["data"], again["data"])
    assert set(np.unique(first["target"])) <= {0, 1, 2}


def test_deep_supervision_trains_every_resolution(prepared: Path, tmp_path: Path) -> None:
    run = replace(run_of(prepared, tmp_path, epochs=1), plan=replace(PLAN, deep_supervision=True, stages=4))
    train(run)
    before = {name: value.clone() for name, value in weights(tmp_path).items()}
    train(replace(run, schedule=replace(SCHEDULE, epochs=2)))
    moved = [name for name, value in weights(tmp_path).items() if not torch.equal(value, before[name])]
    assert "decoder.seg_layers.1.weight" in moved, "the half-size output; nnU-Net gives the coarsest no weight"
    to_bundle.export(tmp_path, tmp_path / "deep.ps3d", patch=(16, 16, 16))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fold": "2"}, "folds 0 to 1, and all"),
        ({"fold": "zero"}, "folds 0 to 1, and all"),
        ({"plan": replace(PLAN, target_size_voxels=9)}, "prepared with 8"),
        ({"plan": replace(PLAN, width=8)}, "trained with width 4"),
        ({"plan": replace(PLAN, norm="batch")}, "trained with norm instance"),
        ({"schedule": replace(SCHEDULE, optimizer="sgd")}, "trained with optimizer adamw"),
        ({"init": Path("default")}, "trained with random weights to start from"),
        ({"device": "tpu"}, "auto, cpu or cuda"),
    ],
)
def test_a_run_that_cannot_be_is_refused(
    prepared: Path, trained: tuple[Path, list[Epoch]], change: dict[str, Any], message: str
) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained[0].rglob("*.json")}
    with pytest.raises(InputError, match=message):
        train(replace(run_of(prepared, trained[0]), **change))
    assert {path: path.stat().st_mtime_ns for path in trained[0].rglob("*.json")} == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_gpu_that_is_not_there_is_refused(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(CapabilityError, match="--device cpu"):
        train(replace(run_of(prepared, tmp_path), device="cuda"))


class Mischief:
    """Unpickled, it writes a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("mischief").touch, ())


def test_a_checkpoint_runs_no_code_when_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"plan": Mischief()}, tmp_path / "evil.pth")
    (tmp_path / "half.pth").write_bytes((tmp_path / "evil.pth").read_bytes()[:100])
    for name in ("evil.pth", "half.pth", "none.pth"):
        with pytest.raises(InputError, match=name):
            read_checkpoint(tmp_path / name)
    assert not Path("mischief").exists()


def test_nnunets_own_tools_find_the_run(trained: tuple[Path, list[Epoch]]) -> None:
    folder = next(trained[0].glob("Dataset001_particles/Ps3dTrainer__ps3dPlans__3d_fullres"))
    plans = json.loads((folder / "plans.json").read_text())
    assert plans == json.loads(json.dumps(nnunet_plans(PLAN)))
    labels = PlansManager(plans).get_label_manager(json.loads((folder / "dataset.json").read_text()))
    assert labels.num_segmentation_heads == 3


def test_the_bundle_gives_the_scores_of_the_averaged_network(
    trained: tuple[Path, list[Epoch]], bundle: ModelBundle
) -> None:
    import onnxruntime  # noqa: PLC0415

    assert load_model(bundle.path) == bundle
    assert (bundle.name, bundle.patch, bundle.members) == ("toy", (24, 16, 32), ("fold_0.onnx",))
    assert (bundle.target_size_voxels, bundle.border_thickness_voxels) == (8, 1)
    assert bundle.provenance["made_of"] == "balls"
    assert (bundle.min_relative_volume, bundle.min_confidence, bundle.core_bias) == (0.02, 0.7, 0.0)
    assert bundle.provenance["folds"]["fold_0"]["epochs"] == 2
    network, _ = to_bundle.load_network(next(trained[0].glob("*/*/fold_0/*.pth")), PLAN)
    average = {name.removeprefix("average "): value for name, value in weights(trained[0]).items() if "average" in name}
    assert all(torch.equal(value, average[name]) for name, value in network[0].state_dict().items())
    patches = np.random.default_rng(5).normal(0, 2, (5, 1, 24, 16, 32)).astype(np.float32)
    session = onnxruntime.InferenceSession(bundle.onnx_paths[0], providers=["CPUExecutionProvider"])
    (scores,) = session.run(["scores"], {"patches": patches})
    with torch.inference_mode():
        assert np.abs(scores - network(torch.from_numpy(patches)).numpy()).max() < 1e-4
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert str(Path(torch.__file__).parent).encode() not in bundle.onnx_paths[0].read_bytes(), (
        "no paths of this machine"
    )


def test_a_bundle_that_differs_from_torch_is_not_written(
    trained: tuple[Path, list[Epoch]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = to_bundle.write_onnx

    def sharpen(network: torch.nn.Module, *rest: Any) -> None:
        write(torch.nn.Sequential(network, torch.nn.Hardtanh(0, 0.5)).eval(), *rest)

    monkeypatch.setattr(to_bundle, "write_onnx", sharpen)
    with pytest.raises(Ps3dError, match="differs from torch"):
        to_bundle.export(trained[0], tmp_path / "bad.ps3d", patch=(16, 16, 16))
    assert not (tmp_path / "bad.ps3d").exists()


def test_export_says_what_is_wrong(trained: tuple[Path, list[Epoch]], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no checkpoint"):
        to_bundle.export(tmp_path, tmp_path / "m.ps3d")
    with pytest.raises(InputError, match=r"Use \(18, 16, 16\)"):
        to_bundle.export(trained[0], tmp_path / "m.ps3d", patch=(17, 16, 16))


def test_the_commands_keep_stdout_for_data(samples: Path, tmp_path: Path) -> None:
    short = ["--epochs", "1", "--steps-per-epoch", "1", "--workers", "0", "--threads", "1", "--device", "cpu"]
    small = ["--patch", "16", "--width", "4", "--stages", "2"]
    commands = CliRunner()
    out = tmp_path / "out"
    made = commands.invoke(app, ["prepare", str(samples), str(tmp_path / "p"), "--target-size", "8", "--border", "1"])
    assert made.stdout.strip() == str(tmp_path / "p"), made.output
    assert "8 particles" in made.stderr
    ran = commands.invoke(app, ["run", str(tmp_path / "p"), str(out), *small, *short])
    assert ran.stdout.strip().endswith("checkpoint_latest.pth"), ran.output
    assert [line[:9] for line in ran.stderr.splitlines()] == ["epoch 1/1"], "and nnU-Net says nothing"
    assert "F1_instance 0." in ran.stderr
    settings = [
        "--patch",
        "16",
        "--overlap",
        "0.3",
        "--min-confidence",
        "0.7",
        "--core-bias",
        "-0.2",
    ]
    exported = commands.invoke(app, ["export", str(out), str(tmp_path / "m.ps3d"), *settings])
    assert exported.stdout.strip() == str(tmp_path / "m.ps3d"), exported.output
    bundle = load_model(tmp_path / "m.ps3d")
    assert (bundle.patch, bundle.overlap) == ((16, 16, 16), 0.3)
    assert (bundle.min_confidence, bundle.core_bias) == (0.7, -0.2)


def test_what_nnunet_prints_does_not_reach_stdout(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer  # noqa: PLC0415

    start = nnUNetTrainer.on_epoch_start
    monkeypatch.setattr(nnUNetTrainer, "on_epoch_start", lambda self: (print("maybe some logging issue"), start(self)))  # noqa: T201
    train(run_of(prepared, tmp_path, epochs=1, steps_per_epoch=1))
    out, err = capsys.readouterr()
    assert (out, err) == ("", "maybe some logging issue\n")


def test_the_options_reach_the_run_and_the_length_can_be_given_in_steps(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[TrainingRun] = []
    monkeypatch.setattr(training, "train", lambda run, on_epoch: asked.append(run) or tmp_path)
    done = CliRunner().invoke(
        app,
        f"run {prepared} {tmp_path} --steps 501 --steps-per-epoch 250 --patch 32 --optimizer sgd --norm batch "
        "--augmentation published --init default --validate-every 0 --freeze-norm 1 --weighted",
    )
    assert done.exit_code == 0, done.output
    assert asked[0].schedule.epochs == 3
    assert asked[0].plan.patch == (32, 32, 32)
    assert asked[0].plan.target_size_voxels == 8, "what the data was prepared with stays"
    assert (asked[0].plan.norm, asked[0].init) == ("batch", Path("default"))
    schedule = asked[0].schedule
    assert (schedule.optimizer, schedule.learning_rate_at(0)) == ("sgd", 1e-2)
    assert (schedule.augmentation, schedule.validate_every) == ("published", 0)
    assert (schedule.freeze_norm, schedule.weighted) == (1, True)


def test_nnunets_schedule_can_be_asked_for(prepared: Path, tmp_path: Path) -> None:
    said: list[Epoch] = []
    checkpoint = train(run_of(prepared, tmp_path, optimizer="sgd", validate_every=0), said.append)
    assert [epoch.learning_rate for epoch in said] == pytest.approx([1e-2, 1e-2 * 0.5**0.9])
    content = read_checkpoint(checkpoint)
    (group,) = content["optimizer_state"]["param_groups"]
    assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.99, True, 3e-5)
    assert content["f1_instance"] == {}
    with pytest.raises(InputError, match="trained with optimizer sgd"):
        train(run_of(prepared, tmp_path, epochs=3))
    train(run_of(prepared, tmp_path, epochs=3, optimizer="sgd"), said.append)
    assert [epoch.number for epoch in said] == [1, 2, 3]


@pytest.mark.parametrize(
    ("option", "allowed"),
    [
        ({"optimizer": "adam"}, "adamw or sgd"),
        ({"augmentation": "slow"}, "fast, gentle, published"),
        ({"learning_rate": 0.0}, "above 0"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(option: dict[str, Any], allowed: str) -> None:
    with pytest.raises(InputError, match=allowed):
        Schedule(**option)
    with pytest.raises(InputError, match="instance or batch"):
        TrainingPlan(norm="group")


def test_what_an_early_version_wrote_is_read(
    prepared: Path, trained: tuple[Path, list[Epoch]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = shutil.copytree(prepared, tmp_path / "prepared")
    (plans,) = old.rglob("ps3dPlans.json")
    content = json.loads(plans.read_text())
    del content["ps3d"]["norm"]
    plans.write_text(json.dumps(content))
    shutil.rmtree(next(old.glob("*/*_instances")))
    run = shutil.copytree(trained[0], tmp_path / "run")
    (checkpoint,) = run.rglob("*.pth")
    content = read_checkpoint(checkpoint)
    del content["plan"]["norm"], content["schedule"], content["f1_instance"], content["started_from"]
    write_checkpoint(checkpoint, content)
    assert training.prepared_plan(old).norm == "instance"
    said: list[Epoch] = []
    train(run_of(old, run, epochs=3), said.append)
    assert [(epoch.number, epoch.f1_instance) for epoch in said] == [(3, None)]
    assert "without instances" in caplog.text


def test_a_run_starts_from_the_weights_of_another(
    larger: Path, trained: tuple[Path, list[Epoch]], bundle: ModelBundle, tmp_path: Path
) -> None:
    plan = replace(PLAN, target_size_voxels=12, patch=(24, 24, 24))
    # So slow that the weights stay where they begin.
    still = {"epochs": 1, "learning_rate": 1e-12, "validate_every": 0}
    (file,) = trained[0].rglob("checkpoint_latest.pth")
    average = read_checkpoint(file)["average_weights"]
    for name, init in (("folder", trained[0]), ("file", file), ("bundle", bundle.path)):
        run = replace(run_of(larger, tmp_path / name, **still), plan=plan, init=init)
        content = read_checkpoint(train(run))
        for kind in ("network_weights", "average_weights"):
            assert all(torch.allclose(content[kind][k], average[k], atol=1e-6) for k in average), (name, kind)
        assert content["averaged_steps"] == 3
        source = content["started_from"]
        assert (source["bundle"] if name == "bundle" else source["epochs"]) == ("toy" if name == "bundle" else 2)
    # It goes on without what it started from.
    shutil.rmtree(tmp_path / "folder", ignore_errors=True)
    gone = shutil.copytree(tmp_path / "file", tmp_path / "again")
    train(replace(run_of(larger, gone, **still | {"epochs": 2}), plan=plan, init=tmp_path / "folder"))
    exported = to_bundle.export(gone, tmp_path / "m.ps3d", patch=(16, 16, 16))
    assert exported.provenance["folds"]["fold_0"]["started_from"]["epochs"] == 2


@pytest.mark.parametrize(
    ("init", "plan", "message"),
    [
        ("trained", replace(PLAN, width=8), "network of width 4;"),
        ("trained", replace(PLAN, norm="batch"), "network of norm instance;"),
        ("bundle", replace(PLAN, width=8), "another network"),
        ("bundle", replace(PLAN, norm="batch"), "another network"),
        ("default", PLAN, "another network"),
        ("default", replace(PLAN, norm="batch"), "another network"),
        ("nothing", PLAN, "0 checkpoints"),
    ],
)
def test_only_the_same_network_can_be_started_from(
    prepared: Path,
    trained: tuple[Path, list[Epoch]],
    bundle: ModelBundle,
    tmp_path: Path,
    init: str,
    plan: TrainingPlan,
    message: str,
) -> None:
    path = {"trained": trained[0], "bundle": bundle.path}.get(init, Path(init))
    with pytest.raises(InputError, match=message):
        train(replace(run_of(prepared, tmp_path), plan=plan, init=path))


def test_another_gray_scheme_has_to_be_learned_anew(
    trained: tuple[Path, list[Epoch]], caplog: pytest.LogCaptureFixture
) -> None:
    read_start(trained[0], "fold_0", PLAN, torch.nn.Identity())
    assert not caplog.text
    read_start(trained[0], "fold_0", replace(PLAN, gray_scheme="embedding", gray_ceiling=None), torch.nn.Identity())
    assert "train prepare --gray-scheme volume" in caplog.text


def test_of_several_folds_the_same_one_is_started_from(tmp_path: Path) -> None:
    for fold in ("fold_0", "fold_1"):
        (tmp_path / fold).mkdir()
        (tmp_path / fold / "checkpoint_latest.pth").touch()
    assert find_checkpoint(tmp_path, "fold_1") == tmp_path / "fold_1" / "checkpoint_latest.pth"
    with pytest.raises(InputError, match="2 checkpoints are there, 0 of them of fold_all"):
        find_checkpoint(tmp_path, "fold_all")

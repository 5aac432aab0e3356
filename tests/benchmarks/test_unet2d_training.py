import json
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

import train_unet2d
from ps3d_bench.baselines import unet2d_training
from ps3d_bench.baselines.unet2d import SliceNetwork
from ps3d_bench.baselines.unet2d_training import (
    Budget,
    Training,
    TrainingScan,
    UNetRecipe,
    build_network,
    draw_batch,
    hold_out,
    load_scans,
    loss_of,
    train,
    vary_gray,
    write_onnx,
)
from ps3d_rt.core.normalize import GrayScale
from ps3d_rt.errors import InputError, Ps3dError
from ps3d_training.synth import SampleSpec
from ps3d_training.synth.folder import write_samples

RECIPE = UNetRecipe(width=4, stages=3, side=32, batch=2, learning_rate=0.01)


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> Path:
    """Three samples of 40 x 36 x 28 voxels: sides that the network must be padded for."""
    folder = tmp_path_factory.mktemp("samples")
    spec = SampleSpec(seed=1, shape=(40, 36, 28), particle_size_voxels=12, fill=0.3, touching=0.1, noise=0.05)
    list(write_samples(folder, [replace(spec, seed=seed) for seed in (1, 2, 3)]))
    return folder


@pytest.fixture(autouse=True)
def small_steps(monkeypatch):
    """A checkpoint after every fourth step; one thread is faster with crops as small as these."""
    monkeypatch.setattr(unet2d_training, "PAUSE_STEPS", 4)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def begin(samples, tmp_path):
    """Start a training, or go on with it."""
    scans, held_out = hold_out(load_scans(samples), 1)
    return lambda name, recipe=RECIPE: Training(recipe, scans, held_out, tmp_path / f"{name}.pth")


def scan(shape: tuple[int, int, int]) -> TrainingScan:
    """Gray value of a voxel: its raster index plus 1; a particle where it is odd."""
    image = np.arange(1, 1 + np.prod(shape), dtype=np.uint16).reshape(shape)
    return TrainingScan("counted", image, image % 2 == 1, GrayScale(mean=0.0, std=1.0))


def test_the_script_trains_and_the_benchmark_takes_the_network(samples, tmp_path, capsys):
    out = tmp_path / "new" / "net.onnx"
    small = "--steps 40 --width 4 --stages 3 --side 32 --batch 2 --learning-rate 0.01 --threads 1"
    train_unet2d.main([str(samples), str(out), *small.split()])
    facts = json.loads(out.with_suffix(".json").read_text())
    assert facts["recipe"] == asdict(RECIPE)
    assert facts["steps"] == 40
    assert facts["trained_on"] == ["synth_00001", "synth_00003"]
    assert facts["dice_held_out"].keys() == {"synth_00002"}
    assert facts["seconds"] > 0
    assert facts["versions"]["torch"] == version("torch")
    assert facts["onnx_to_torch_difference"] <= 1e-4
    first, last = facts["pauses"][0], facts["pauses"][-1]
    assert last["loss"] < 0.7 * first["loss"]
    # All voxels called particle would have 0.5.
    assert last["dice"] > 0.75
    assert facts["dice_held_out_mean"] == pytest.approx(last["dice"], abs=0.05)
    printed = capsys.readouterr()
    assert json.loads(printed.out)["dice_held_out_mean"] == facts["dice_held_out_mean"]
    assert printed.err.count("Dice of held-out scans") == 10
    assert str(tmp_path).encode() not in out.read_bytes()
    assert str(Path.cwd()).encode() not in out.read_bytes()
    image = np.random.default_rng(0).integers(0, 999, (2, 70, 33)).astype(np.uint16)
    assert SliceNetwork(out).foreground(image).shape == image.shape


def test_a_stopped_training_ends_as_one_that_was_not(begin):
    def stop(pause):
        raise KeyboardInterrupt

    whole = begin("whole")
    whole.run(Budget(steps=8), lambda pause: None)
    with pytest.raises(KeyboardInterrupt):
        begin("stopped").run(Budget(steps=8), stop)
    stopped = begin("stopped")
    assert stopped.steps == 4
    stopped.run(Budget(steps=8), lambda pause: None)
    assert [pause.steps for pause in stopped.pauses] == [4, 8]
    assert stopped.seconds > stopped.pauses[0].seconds
    for name, weights in whole.network.state_dict().items():
        assert torch.equal(weights, stopped.network.state_dict()[name]), name


def test_a_finished_training_goes_no_further_and_another_is_refused(begin):
    begin("net").run(Budget(steps=2), lambda pause: None)
    again = begin("net")
    again.run(Budget(steps=2), pytest.fail)
    assert again.steps == 2
    with pytest.raises(InputError, match="another seed"):
        begin("net", replace(RECIPE, seed=1))


def test_a_network_without_its_checkpoint_is_not_overwritten(samples, tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"mine")
    with pytest.raises(InputError, match="Choose another file"):
        train(samples, tmp_path / "net.onnx", RECIPE, Budget(steps=1), held_out=1, on_pause=pytest.fail)
    assert (tmp_path / "net.onnx").read_bytes() == b"mine"


def test_time_ends_a_training_too(begin):
    training = begin("net")
    training.run(Budget(seconds=0.5), lambda pause: None)
    assert training.pauses[-1].spent >= 1
    assert training.pauses[-1].steps == training.steps
    assert torch.load(training.checkpoint, weights_only=True)["seconds"] == training.seconds >= 0.5


def test_a_network_that_onnx_does_not_repeat_is_not_written(tmp_path, monkeypatch):
    run = onnxruntime.InferenceSession.run
    monkeypatch.setattr(onnxruntime.InferenceSession, "run", lambda *args: [run(*args)[0] + 2e-4])
    with pytest.raises(Ps3dError, match="differs from torch"):
        write_onnx(build_network(RECIPE), tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


# Upside down, 20 rows mirrored to 32 begin with rows 8, 9, …: downwards again.
@pytest.mark.parametrize(("shape", "possible"), [((3, 64, 96), 8), ((5, 20, 50), 4), ((2, 7, 7), 8)])
def test_image_and_target_of_a_crop_move_together(shape, possible, monkeypatch):
    monkeypatch.setattr(unet2d_training, "VARIED_SHARE", 0.0)
    counted = scan(shape)
    images, targets = draw_batch([counted], replace(RECIPE, batch=64), 0)
    assert images.shape == (64, 1, 32, 32)
    assert images.dtype == np.float32
    assert targets.dtype == np.int64
    assert np.array_equal(images[:, 0] % 2, targets)
    z, y, x = np.unravel_index(images[:, 0].astype(int) - 1, shape)
    assert (z == z[:, :1, :1]).all()
    assert set(z.flat) == set(range(shape[0]))
    # Which way the crop lies: rows go along y or x, up or down; columns along the other, up or down.
    ways = {(*np.sign(p[1, 0] - p[0, 0]), *np.sign(p[0, 1] - p[0, 0])) for p in np.stack([y, x], axis=-1)}
    assert len(ways) == possible


def test_crops_follow_from_seed_and_step():
    scans = [scan((4, 64, 64))]
    first, _ = draw_batch(scans, RECIPE, 7)
    again, _ = draw_batch(scans, RECIPE, 7)
    assert np.array_equal(first, again)
    for recipe, step in ((RECIPE, 8), (replace(RECIPE, seed=1), 7)):
        assert not np.array_equal(first, draw_batch(scans, recipe, step)[0])


def test_gray_values_are_varied_a_little_and_seldom():
    plane = np.random.default_rng(1).standard_normal((32, 32), dtype=np.float32)
    varied = [vary_gray(plane, np.random.default_rng(seed)) for seed in range(200)]
    changed = [plane_.tobytes() != plane.tobytes() for plane_ in varied]
    assert 0.5 < np.mean(changed) < 0.68  # 1 − 0.8⁴ = 0.59
    assert {found.dtype for found in varied} == {np.dtype(np.float32)}
    assert min(np.corrcoef(plane.flat, found.flat)[0, 1] for found in varied) > 0.9
    assert np.isfinite(vary_gray(np.zeros((4, 4), np.float32), np.random.default_rng(0))).all()


def test_the_loss_is_nothing_for_the_truth_and_weighs_the_finest_most():
    target = torch.zeros((1, 8, 8), dtype=torch.int64)
    target[0, :4] = 1

    def scores(side: int, right: bool) -> torch.Tensor:
        truth = torch.zeros((1, side, side), dtype=torch.int64)
        truth[0, : side // 2] = 1
        return 20.0 * torch.nn.functional.one_hot(truth if right else 1 - truth, 2).movedim(-1, 1)

    def loss(*right: bool) -> float:
        return float(loss_of([scores(8 // 2**level, is_right) for level, is_right in enumerate(right)], target))

    assert loss(True) == pytest.approx(0, abs=1e-4)
    assert loss(False) == pytest.approx(21, abs=1e-3)
    assert loss(True, True, False) == pytest.approx(0, abs=1e-4)
    assert loss(False, True, True) == pytest.approx(2 * loss(True, False, True), rel=1e-3)


def test_held_out_are_a_fifth_at_most_and_one_at_least():
    scans = [replace(scan((1, 1, 1)), name=str(i)) for i in range(240)]
    for count, most, expected in ((240, 8, 8), (20, 8, 4), (2, 8, 1)):
        trained_on, held_out = hold_out(scans[:count], most)
        assert len(held_out) == expected
        assert sorted(trained_on + held_out, key=lambda s: int(s.name)) == scans[:count]
    with pytest.raises(InputError, match="two or more"):
        hold_out(scans[:1], 8)


@pytest.mark.parametrize(
    "wrong", [{"stages": 7}, {"stages": 1}, {"side": 48, "stages": 6}, {"side": 32, "stages": 6}, {"width": 0}]
)
def test_a_recipe_that_cannot_be_is_refused(wrong):
    with pytest.raises(InputError, match=f"{next(iter(wrong))}"):
        UNetRecipe(**wrong)
    assert UNetRecipe(side=64, stages=6).features == [24, 48, 96, 192, 320, 320]


def test_a_budget_is_steps_or_seconds():
    assert Budget(seconds=60.0).spent(1000, 15.0) == 0.25
    for wrong in ({}, {"steps": 1, "seconds": 1.0}, {"steps": 0}, {"seconds": -1.0}):
        with pytest.raises(InputError, match="one of them"):
            Budget(**wrong)

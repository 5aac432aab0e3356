"""A model goes on from a folder of corrected patches: held-back parts, the balance of old and new, the whole way."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from ps3d_rt.core.arrays import Array
from ps3d_rt.errors import InputError
from ps3d_rt.model import ModelBundle, load_model
from ps3d_training import to_bundle
from ps3d_training.adapt import go_on, paced
from ps3d_training.adapt.balance import balance
from ps3d_training.adapt.go_on import Continuation
from ps3d_training.adapt.hold_back import cut, read_parts, write_parts
from ps3d_training.adapt.paced import train_for
from ps3d_training.adapt.score import LabelledPart, mean_of, score
from ps3d_training.adapt.update import update, work_folder
from ps3d_training.dataset import names_in
from ps3d_training.plan import DATASET_NAME
from ps3d_training.recipe_sources import Source
from ps3d_training.schedule import Epoch
from ps3d_training.synth.spec import SampleSpec
from ps3d_training.training import train
from toy_training import SCHEDULE, run_of


def balls(length: int) -> tuple[Array, Array]:
    """Balls 8 voxels across on a lattice of 12, and their ids."""
    z, y, x = np.indices((length, 24, 24))
    ball = ((z % 12 - 6) ** 2 + (y % 12 - 6) ** 2 + (x % 12 - 6) ** 2) < 16
    labels = np.where(ball, 1 + z // 12 * 4 + y // 12 * 2 + x // 12, 0).astype(np.uint16)
    gray = np.random.default_rng(0).normal(np.where(ball, 20_000, 8_000), 1000).astype(np.uint16)
    return gray, labels


def part(length: int, known: Array | None = None) -> LabelledPart:
    gray, labels = balls(length)
    return LabelledPart(f"ore_{length}", gray, labels, known, (0.01,) * 3, 0.08)


def test_the_end_of_a_long_scan_is_held_back_and_a_particle_lies_between() -> None:
    first, last = cut(part(96))
    assert last is not None
    assert (first.image.shape, last.image.shape) == ((64, 24, 24), (24, 24, 24))
    gray, labels = balls(96)
    assert np.array_equal(last.image, gray[72:])
    assert np.array_equal(first.labels, labels[:64])
    # Along another axis it is the same.
    turned = replace(part(96), image=gray.transpose(2, 1, 0), labels=labels.transpose(2, 1, 0))
    assert cut(turned)[0].image.shape == (24, 24, 64)


def test_a_short_scan_or_one_whose_end_is_not_labelled_is_trained_on_as_a_whole() -> None:
    short = part(48)
    assert cut(short) == (short, None)
    nothing = part(96)
    nothing.labels[70:] = 0
    assert cut(nothing)[1] is None


def test_parts_go_through_the_layout_of_samples(tmp_path: Path) -> None:
    known = np.ones((96, 24, 24), bool)
    known[:10] = False
    write_parts(tmp_path / "new", [part(96, known), part(48)])
    taught, held = read_parts(tmp_path / "new")
    found = {p.name: (p.image.shape[0], 1.0 if p.known is None else p.known.mean()) for p in taught}
    assert found == {"ore_96": (64, 54 / 64), "ore_48": (48, 1)}
    assert [p.name for p in held] == ["ore_96"]


class Perfect:
    """Stands in for a segmentation: gives labels, and false particles in the first planes."""

    def __init__(self, labels: Array) -> None:
        self.labels = labels.copy()
        self.labels[:4] = 999


def test_what_is_not_labelled_counts_neither_for_nor_against(monkeypatch: pytest.MonkeyPatch) -> None:
    known = np.ones((48, 24, 24), bool)
    known[:4] = False
    whole, partly = part(48), part(48, known)
    monkeypatch.setattr("ps3d_training.adapt.score.segment_part", lambda *args: Perfect(whole.labels))
    rows = score(load_model("default"), None, [whole, partly])  # type: ignore[arg-type]
    assert rows[0]["f1_instance"] < 0.95
    assert rows[1]["f1_instance"] == 1
    assert mean_of(rows) == pytest.approx((rows[0]["f1_instance"] + 1) / 2)


def folds(prepared: Path) -> list[dict[str, list[str]]]:
    found: list[dict[str, list[str]]] = json.loads(
        (prepared / DATASET_NAME / "splits_final.json").read_text(encoding="utf-8")
    )
    return found


def test_few_new_samples_are_drawn_as_often_as_many_old_ones(tmp_path: Path) -> None:
    (tmp_path / DATASET_NAME).mkdir()
    names = [f"old_{k:02d}" for k in range(18)] + ["new_a", "new_b"]
    plain = [{"train": names[1:], "val": names[:1]}, {"train": names[:1], "val": names[1:]}]
    (tmp_path / DATASET_NAME / "splits_final.json").write_text(json.dumps(plain), encoding="utf-8")
    balance(tmp_path, {"new_a", "new_b"})
    first = folds(tmp_path)[0]
    drawn = Counter(first["train"])
    assert drawn["new_a"] == drawn["new_b"] == 8
    assert sum(drawn.values()) == 32
    assert not set(first["train"]) & set(first["val"])
    assert sorted(names_in(folds(tmp_path))) == sorted(names), "a sample that is added later is told from these"
    balance(tmp_path, {"new_a", "new_b"})
    assert Counter(folds(tmp_path)[0]["train"]) == drawn
    with pytest.raises(InputError, match="none of the samples"):
        balance(tmp_path, {"other"})


@pytest.fixture(scope="module")
def start(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    """A tiny trained bundle."""
    folder = tmp_path_factory.mktemp("start")
    train(run_of(prepared, folder / "trained"))
    return to_bundle.export(folder / "trained", folder / "start.ps3d", patch=(16, 16, 16), settings={"core_bias": -0.1})


def tiny(seed: int) -> SampleSpec:
    return SampleSpec(seed=seed, shape=(32, 32, 32), particle_size_voxels=10, fill=0.3)


def how(**changes: Any) -> Continuation:
    quick = replace(SCHEDULE, epochs=2, validate_every=0, freeze_norm=0)
    given = {"minutes": 0.0, "old_samples": 8, "sources": (Source(tiny, 1.0, 0),), "schedule": quick, "threads": 1}
    return Continuation(**(given | changes))


def test_from_labels_to_a_judged_bundle_in_one_call_that_goes_on(
    start: ModelBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_parts(tmp_path / "labels", [part(96)])
    judged: list[str] = []
    monkeypatch.setattr("ps3d_training.adapt.update.add_precisions", lambda bundle: judged.append(bundle.name))
    out, epochs = tmp_path / "plant.ps3d", list[Epoch]()

    def stop(epoch: Epoch) -> None:
        epochs.append(epoch)
        if len(epochs) == 2:
            raise KeyboardInterrupt

    with pytest.raises(Exception, match="stopped"):
        update(tmp_path / "labels", out, how(on_epoch=stop), init=str(start.path))
    result = update(tmp_path / "labels", out, how(on_epoch=epochs.append), init=str(start.path))
    assert [epoch.number for epoch in epochs] == [1, 2], "two epochs are the fewest, and none is trained twice"
    bundle = load_model(out)
    assert judged == ["plant"]
    assert (bundle.core_bias, bundle.gray_scheme) == (-0.1, "volume")
    assert bundle.provenance["folds"]["fold_0"]["started_from"]["sha256"] == start.hash
    assert bundle.training_statistics["samples"] == 9, "eight old ones, and the new one"
    assert [row["name"] for row in result["held_back"]["after"]] == ["ore_96"]
    assert result["gain_f1_instance"] is not None
    assert json.loads((work_folder(out) / "update.json").read_text(encoding="utf-8")) == result
    with pytest.raises(InputError, match="exists"):
        update(tmp_path / "labels", out, how(), init=str(start.path))
    corrected = part(96)
    corrected.labels[corrected.labels == 3] = 0
    write_parts(tmp_path / "labels", [corrected])
    with pytest.raises(InputError, match="other labels"):
        update(tmp_path / "labels", out, how(), init=str(start.path), overwrite=True)


def test_a_training_is_as_long_as_its_first_epoch_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lengths: list[int] = []

    def timed(run: Any, on_epoch: Any) -> Path:
        lengths.append(run.schedule.epochs)
        run.out.mkdir(exist_ok=True)
        if run.schedule.epochs == 1 and len(lengths) == 1:
            on_epoch(_epoch(6.0))
        return Path("checkpoint")

    monkeypatch.setattr(paced, "train", timed)
    run = run_of(tmp_path, tmp_path / "out")
    train_for(run, 2.0)
    assert lengths == [1, 20]
    train_for(run, 2.0)
    assert lengths == [1, 20, 20], "a run that goes on keeps its length"


def _epoch(seconds: float) -> Epoch:
    return Epoch(
        number=1,
        of=1,
        train_loss=0.0,
        validation_loss=0.0,
        dice=(0.0, 0.0),
        f1_instance=None,
        seconds=seconds,
        data_wait_seconds=0.0,
        step_seconds=0.1,
        learning_rate=1e-3,
    )


def test_precisions_are_added_by_the_command_of_the_other_package(
    start: ModelBundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    class Entry:
        def load(self) -> Any:
            def run(words: list[str], standalone_mode: bool) -> None:
                asked.append((words, standalone_mode))
                typer.echo("verdict")

            return run

    monkeypatch.setattr(go_on, "entry_points", lambda **which: [Entry()])
    go_on.add_precisions(start)
    assert asked == [(["precisions", str(start.path)], False)]
    assert "verdict" not in capsys.readouterr().out, "stdout is for the result"

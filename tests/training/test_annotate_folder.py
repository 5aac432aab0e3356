"""Patches of a scan become an annotation folder; a session in it is kept, goes on, and feeds the training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ps3d_rt
from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import ArrayVolume
from ps3d_rt.io.samples import find_samples
from ps3d_rt.io.volume_writer import write_volume
from ps3d_rt.result import Result
from ps3d_training.annotate.candidates import choose, described, lattice
from ps3d_training.annotate.pick import PickOptions, pick
from ps3d_training.annotate.review import dropped_items, items_of
from ps3d_training.annotate.session import Session, annotated_voxels

SHAPE = (16, 32, 64)
OPTIONS = PickOptions(count=2, patch=(16, 32, 16), particle_size_mm=0.08, model="none")


def scan() -> tuple[Any, Any]:
    """Balls in a row, darker along x; image and labels."""
    z, y, x = np.indices(SHAPE)
    ball = ((z - 8) ** 2 + (y % 16 - 8) ** 2 + (x % 16 - 8) ** 2) < 30
    labels = np.where(ball, 1 + y // 16 * 4 + x // 16, 0).astype(np.uint32)
    noise = np.random.default_rng(0).normal(0, 100, SHAPE)
    return (np.where(ball, 20_000 - 150 * x, 4_000) + noise).astype(np.uint16), labels


def volume() -> ArrayVolume:
    return ArrayVolume(scan()[0], 0.01, name="ore", source="ore.tif")


def result() -> Result:
    """All labelled; of particle 7 the network is not sure, and one was dropped at (8, 8, 40)."""
    image, labels = scan()
    table = ps3d_rt.measure(labels, spacing=0.01, image=image)
    dropped = {"z_voxels": np.array([8]), "y_voxels": np.array([8]), "x_voxels": np.array([40])}

    class Dropped:
        def columns(self) -> Any:
            return dropped | {"confidence": np.array([0.7])}

    class Table:
        label = table.label

        def columns(self) -> Any:
            sure = np.where(table.label == 7, 0.2, 0.95)
            return {**table.columns(), "label": table.label, "confidence": sure}

    run = {"scan": {"spacing_mm": [0.01] * 3, "name": "ore"}, "parameters": {"particle_size_mm": 0.11}}
    return Result(labels=labels, particles=Table(), dropped=Dropped(), run=run)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The whole scan as one patch, labels as found."""
    one = PickOptions(count=1, patch=SHAPE)
    assert [name for name, _ in pick(volume(), tmp_path / "annotation", one, result())] == ["ore_z0_y0_x0"]
    return tmp_path / "annotation"


def test_picked_patches_are_cut_out_with_their_place_and_without_labels_that_hold(tmp_path: Path) -> None:
    picked = dict(pick(volume(), tmp_path / "out", OPTIONS))
    assert len(picked) == 2
    for sample in find_samples(tmp_path / "out"):
        image, labels, known = sample.read_partly()
        start = picked[sample.name].start
        assert np.array_equal(image, scan()[0][:, :, start[2] : start[2] + 16])
        assert not labels.any()
        assert known is not None
        assert not known.any()
        assert (sample.spacing_mm, sample.particle_size_mm) == ((0.01, 0.01, 0.01), 0.08)
    entry = json.loads((tmp_path / "out" / "metadata.json").read_text())[sample.name]["patch"]
    assert entry["scan"] == "ore.tif"


def test_picking_again_adds_other_patches_until_none_is_left(tmp_path: Path) -> None:
    names = {name for _ in range(2) for name, _ in pick(volume(), tmp_path / "out", OPTIONS)}
    assert names == {f"ore_z0_y0_x{x}" for x in (0, 16, 32, 48)}
    with pytest.raises(InputError, match="holds all patches"):
        list(pick(volume(), tmp_path / "out", OPTIONS))


def test_patches_are_unlike_each_other_and_doubtful_ones_come_first() -> None:
    draw = np.random.default_rng(1)
    dark = [draw.normal(1000, 50, (4, 16, 16)) for _ in range(5)]
    bright = draw.normal(9000, 50, (4, 16, 16))
    rows = np.stack([described(image) for image in (*dark, bright)])
    assert 5 in choose(rows, np.zeros(6), 2)
    same = np.repeat(rows[:1], 4, axis=0)
    assert choose(same, np.array([0.1, 0.2, 0.9, 0.3]), 1) == [2]
    blank = np.stack([*rows[:2], described(np.zeros((4, 8, 8)))])
    assert choose(blank, np.array([0, 0, 1.0]), 3) in ([0, 1], [1, 0])


def test_candidates_cover_the_scan() -> None:
    seen = np.zeros((20, 33, 40), bool)
    for box in lattice((20, 33, 40), (128, 16, 20)):
        assert box.shape == (20, 16, 20)
        seen[box.slices] = True
    assert seen.all()


def test_the_queue_begins_with_what_is_least_sure(folder: Path) -> None:
    session = Session(folder)
    assert [(item.kind, item.label) for item in session.items[:2]] == [("uncertain", 7), ("dropped", 0)]
    assert session.editor.labels[session.items[0].place] == 7
    assert session.items[1].place == (8, 8, 40)
    assert session.left == 9
    assert session.step(1) == session.items[0]
    session.accept()
    assert (session.left, session.state.accepted) == (8, [7])
    assert session.step(1) == session.items[1]
    assert session.step(-1) is None, "what was accepted is passed over"


def test_places_of_items_lie_in_their_particles() -> None:
    ring = np.zeros((1, 9, 9), np.uint32)
    ring[0, 1:8, 1:8] = 5
    ring[0, 2:7, 2:7] = 0
    (item,) = items_of(ring, {"label": np.array([5]), "confidence": np.array([0.4])})
    assert ring[item.place] == 5
    assert item.doubt == pytest.approx(0.6)
    assert not items_of(ring, {"label": np.array([5])})


def test_what_was_dropped_elsewhere_is_not_in_the_queue() -> None:
    dropped = {f"{axis}_voxels": np.array([3, 30]) for axis in "zyx"} | {"confidence": np.array([np.nan, 0.2])}
    items = dropped_items(dropped, Box((2, 2, 2), (9, 9, 9)))
    assert [(item.place, item.doubt) for item in items] == [((1, 1, 1), 0.5)]


def test_a_session_that_was_cut_off_is_there_again_undo_and_all(folder: Path) -> None:
    first = Session(folder)
    first.editor.merge([1, 2])
    first.editor.delete(3)
    first.editor.undo()
    again = Session(folder)
    assert np.array_equal(again.editor.labels, first.editor.labels)
    assert again.counts() == first.counts() == {"particles": 7, "accepted": 1, "left": 9, "edits": 1, "complete": False}
    again.editor.redo()
    assert 3 not in again.editor.numbers
    again.editor.undo()
    again.editor.undo()
    assert np.array_equal(again.editor.labels, scan()[1])
    assert Session(folder).counts()["accepted"] == 0
    again.editor.delete(5)
    assert Session(folder).editor.redo() is None, "what was undone before a new edit is gone on disk too"


def test_what_a_person_decided_about_is_what_training_reads(folder: Path) -> None:
    session = Session(folder)
    session.step(1)
    session.accept()
    session.save()
    (sample,) = find_samples(folder)
    _, labels, known = sample.read_partly()
    assert known is not None
    assert known[labels == 7].all()
    assert not known[(labels > 0) & (labels != 7)].any()
    around = session.items[0].place[0] + 6, session.items[0].place[1], session.items[0].place[2]
    assert labels[around] == 0
    assert known[around]
    session.complete()
    session.save()
    assert find_samples(folder).__next__().read()[1].max() == 8


def test_background_next_to_a_particle_that_nobody_accepted_does_not_hold() -> None:
    labels = np.zeros((1, 1, 9), np.uint32)
    labels[0, 0, 1:3], labels[0, 0, 5:7] = 1, 2
    assert annotated_voxels(labels, [1])[0, 0].tolist() == [True, True, True, True, False, False, False, False, False]


def test_without_a_model_the_size_must_be_given(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--particle-size"):
        list(pick(volume(), tmp_path / "out", PickOptions(count=1, patch=(16, 32, 16), model="none")))


def test_a_patch_that_is_not_there_is_named_with_those_that_are(folder: Path) -> None:
    with pytest.raises(InputError, match=r"no patch other; it has ore_z0_y0_x0\."):
        Session(folder, "other")
    (folder / "edits" / "ore_z0_y0_x0" / "state.json").unlink()
    with pytest.raises(InputError, match="annotate pick"):
        Session(folder)


def test_without_a_result_the_patches_are_segmented_and_mirrors_rank_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def predict(volume: ArrayVolume, **options: Any) -> Result:
        """Right, but in the half of dark particles only one of the two ways."""
        start = int(
            np.argmin(np.abs(scan()[0][:1, :1].astype(int) - int(volume.read(Box((0, 0, 0), (1, 1, 1)))[0, 0, 0])))
        )
        asked.append(options.get("mirror"))
        found = result()
        labels = found.labels[:, :, start : start + 16].copy()
        if options.get("mirror") and start >= 32:
            labels[:] = 0
        rows = ps3d_rt.measure(labels, spacing=0.01) if labels.any() else found.particles
        return Result(labels=labels, particles=rows, dropped=found.dropped, run=found.run)

    monkeypatch.setattr(ps3d_rt, "predict", predict)
    options = PickOptions(count=2, patch=(16, 32, 16), mirrors=True)
    picked = dict(pick(volume(), tmp_path / "out", options))
    assert (asked.count(True), asked.count(False), asked.count(None)) == (4, 4, 2)
    assert max(facts.start[2] for facts in picked.values()) >= 32
    assert all(facts.particle_size_mm == 0.11 for facts in picked.values())
    assert Session(tmp_path / "out").editor.labels.any()


def test_pick_on_the_command_line(cli: Any, tmp_path: Path) -> None:
    write_volume(tmp_path / "ore.tif", scan()[0])
    common = ("annotate", "pick", tmp_path / "ore.tif", tmp_path / "out", "--model", "none", "--particle-size", "0.08")
    code, _, err = cli(*common, "--patch", "16,32,16")
    assert (code, "--spacing" in err) == (2, True)
    code, out, err = cli(*common, "--patch", "16,32,16", "--spacing", "0.01", "--count", "3")
    assert (code, out.strip()) == (0, str(tmp_path / "out"))
    assert err.count('"start"') == 3
    assert len(list(find_samples(tmp_path / "out"))) == 3

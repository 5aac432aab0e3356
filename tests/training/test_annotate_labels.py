"""Corrections of labels: each does what it says, leaves a small edit, and is undone to the last voxel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_training.annotate.edits import Edit
from ps3d_training.annotate.labels import LabelEditor


def ball(shape: Any, centre: Any, radius: float) -> Any:
    return sum((axis - c) ** 2 for axis, c in zip(np.indices(shape), centre, strict=True)) < radius**2


@pytest.fixture
def editor() -> LabelEditor:
    """Two touching balls as particle 1, one as 2 apart from them, and one without a label."""
    shape = (24, 32, 64)
    labels = np.zeros(shape, np.uint32)
    labels[ball(shape, (12, 10, 10), 7) | ball(shape, (12, 10, 22), 7)] = 1
    labels[ball(shape, (12, 10, 42), 6)] = 2
    bright = (labels > 0) | ball(shape, (12, 24, 50), 5)
    noise = np.random.default_rng(0).normal(0, 300, shape)
    return LabelEditor(labels, np.where(bright, 20_000, 8_000) + noise)


def test_a_stroke_makes_two_and_touches_nothing_else(editor: LabelEditor) -> None:
    before = editor.labels.copy()
    edit = editor.split(1, np.array([[12.0, 5, 16], [12, 15, 16]]))
    assert editor.numbers == [1, 2, 3]
    assert editor.labels[12, 10, 10] != editor.labels[12, 10, 22]
    assert {editor.labels[12, 10, 10], editor.labels[12, 10, 22]} == {1, 3}
    assert np.array_equal(editor.labels > 0, before > 0)
    assert edit.box.size < 14 * 14 * 16
    assert editor.labels[12, 10, 42] == 2


def test_undo_and_redo_go_all_the_way_back_and_forth(editor: LabelEditor) -> None:
    states = [editor.labels.copy()]
    steps = [
        lambda: editor.split_at(1, np.array([[12.0, 10, 10], [12, 10, 22]])),
        lambda: editor.merge([3, 2]),
        lambda: editor.relabel(2, 77),
        lambda: editor.add((12, 24, 50), 12),
        lambda: editor.delete(1),
        lambda: editor.cut(77, np.array([[0.0, 0, 40], [20, 0, 40], [0, 20, 40]])),
    ]
    for step in steps:
        step()
        states.append(editor.labels.copy())
    for state in states[-2::-1]:
        assert editor.undo() is not None
        assert np.array_equal(editor.labels, state)
    assert editor.undo() is None
    for state in states[1:]:
        assert editor.redo() is not None
        assert np.array_equal(editor.labels, state)
    assert editor.redo() is None


def test_a_new_edit_after_undo_drops_what_was_undone(editor: LabelEditor) -> None:
    editor.delete(2)
    editor.undo()
    editor.relabel(2, 9)
    assert editor.redo() is None
    assert [edit.what for edit in editor.log.edits] == ["relabel"]


def test_a_click_grows_the_particle_that_has_no_label(editor: LabelEditor) -> None:
    editor.add((12, 24, 50), 12)
    truth = ball(editor.labels.shape, (12, 24, 50), 5)
    found = editor.labels == 3
    assert 2 * np.count_nonzero(found & truth) / (np.count_nonzero(found) + np.count_nonzero(truth)) > 0.95
    box = editor.box(3)
    assert box is not None
    assert box.stop[0] - box.start[0] in (9, 10, 11)


def test_merged_particles_are_one_box(editor: LabelEditor) -> None:
    editor.merge([2, 1])
    assert editor.numbers == [1]
    box = editor.box(1)
    assert box is not None
    assert (box.start[2], box.stop[2]) == (4, 48)


def test_a_session_goes_on_with_the_edits_of_the_last(editor: LabelEditor) -> None:
    editor.split_at(1, np.array([[12.0, 10, 10], [12, 10, 22]]))
    split = editor.labels.copy()
    again = LabelEditor(editor.labels.copy(), editor.image, editor.log.edits, editor.log.position)
    assert again.new_label() == 4
    again.undo()
    assert np.array_equal(again.labels > 0, split > 0)
    assert again.numbers == [1, 2]


def test_an_edit_keeps_only_what_changed() -> None:
    before = np.zeros((5, 5, 5), np.uint32)
    after = before.copy()
    after[2, 1:3, 4] = 7
    edit = Edit.of("paint", Box((10, 10, 10), (15, 15, 15)), before, after)
    assert edit is not None
    assert edit.box == Box((12, 11, 14), (13, 13, 15))
    assert edit.states[1].tolist() == [[[7], [7]]]
    assert Edit.of("paint", Box((0, 0, 0), (5, 5, 5)), before, before) is None


def test_what_was_painted_counts_as_an_edit(editor: LabelEditor) -> None:
    heard = []
    editor.listeners.append(heard.append)
    editor.write("paint", Box((0, 0, 0), (2, 2, 2)), np.full((2, 2, 2), 50, np.uint32))
    assert editor.box(50) == Box((0, 0, 0), (2, 2, 2))
    assert editor.new_label() == 51
    assert [edit.what for edit in heard] == ["paint"]


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (lambda e: e.merge([1, 1]), "two particles or more"),
        (lambda e: e.delete(8), "no particle 8"),
        (lambda e: e.relabel(1, 2), "label 2 is in use"),
        (lambda e: e.add((12, 10, 10), 9), "has a label already"),
        (lambda e: e.add((2, 2, 60), 9), "as dark as"),
        (lambda e: e.add((12, 24, 50), 3), "more than 3 voxels"),
        (lambda e: e.add((12, 24, 90), 3), "outside of the patch"),
        (lambda e: e.at(np.array([[0.0, 0, 0]])), "no particle here"),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(editor: LabelEditor, step: Any, said: str) -> None:
    before = editor.labels.copy()
    with pytest.raises(InputError, match=said):
        step(editor)
    assert np.array_equal(editor.labels, before)
    assert not editor.log.edits


def test_the_particle_under_most_of_a_stroke(editor: LabelEditor) -> None:
    assert editor.at(np.array([[12.0, 10, 10], [12, 10, 22], [12, 10, 42], [12, 30, 5], [-3, 0, 0]])) == 1
    assert editor.under(np.array([[12.0, 2, 16], [12, 18, 16]])) == 1, "both ends lie outside"

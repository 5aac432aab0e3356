"""Annotation on napari's layers: strokes, marks, keys and the brush become steps, with and without Qt."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ps3d_rt.io.samples import find_samples
from ps3d_training.annotate.folder import PatchFacts, write_patch
from ps3d_training.annotate.review import Item
from ps3d_training.annotate.session import Session

pytest.importorskip("napari", reason="napari is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")  # those of napari's own packages
SHAPE = (24, 32, 64)


def ball(centre: Any, radius: float) -> Any:
    return sum((axis - c) ** 2 for axis, c in zip(np.indices(SHAPE), centre, strict=True)) < radius**2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two touching balls as one particle, one apart in two halves, one without a label, and a false one."""
    one, two, three, four = ball((12, 10, 10), 7), ball((12, 10, 22), 7), ball((12, 10, 42), 6), ball((12, 24, 50), 5)
    labels = np.zeros(SHAPE, np.uint32)
    labels[one | two] = 1
    labels[three] = np.where(np.indices(SHAPE)[2] < 42, 2, 3)[three]
    labels[ball((12, 25, 12), 3)] = 4
    noise = np.random.default_rng(0).normal(0, 300, SHAPE)
    image = (np.where(one | two | three | four, 20_000, 8_000) + noise).astype(np.uint16)
    facts = PatchFacts(spacing_mm=(0.02, 0.01, 0.01), particle_size_mm=0.14, scan="ore.tif", start=(0, 0, 0), why="")
    items = [
        Item("merged", 1, (12, 10, 16), 0.9),
        Item("split", 2, (12, 10, 40), 0.8),
        Item("dropped", 0, (12, 24, 50), 0.7),
        Item("uncertain", 4, (12, 25, 12), 0.6),
    ]
    write_patch(tmp_path / "annotation", "ore", image, labels, facts, items)
    return tmp_path / "annotation"


def truth() -> Any:
    return [ball(centre, radius) for centre, radius in (((12, 10, 10), 7), ((12, 10, 22), 7), ((12, 10, 42), 6))]


def correct(desk: Any, press: Any) -> None:
    """Everything that a person does to this patch, in the order of the queue."""
    press("J")
    assert tuple(round(k / s) for k, s in zip(desk.viewer.dims.point, desk.particles.scale, strict=True)) == (
        12,
        10,
        16,
    )
    assert desk.particles.selected_label == 1
    desk.strokes.add_paths(np.array([[12.0, 5, 16], [12, 15, 16]]))
    press("S")
    press("A")
    desk.marks.add(np.array([[12.0, 10, 40], [12, 10, 44]]))
    press("M")
    press("A")
    desk.marks.add(np.array([[12.0, 24, 50]]))
    press("G")
    press("A")
    press("D")
    press("A")
    press("U")
    press("R")
    desk.session.complete()
    press("W")


def is_right(folder: Path) -> None:
    (sample,) = find_samples(folder)
    labels = sample.read()[1]
    assert len(np.unique(labels)) == 5
    for mask in (*truth(), ball((12, 24, 50), 5)):
        found = labels == np.bincount(labels[mask]).argmax()
        assert 2 * np.count_nonzero(found & mask) / (found.sum() + mask.sum()) > 0.94
    assert Session(folder).counts() == {"particles": 4, "accepted": 4, "left": 0, "edits": 4, "complete": True}


def test_a_patch_is_corrected_by_keys_strokes_and_marks(folder: Path) -> None:
    from napari.components import ViewerModel  # noqa: PLC0415

    from ps3d_training.annotate.plugin.desk import Desk  # noqa: PLC0415

    viewer, said = ViewerModel(), []
    desk = Desk(viewer, Session(folder), said.append)
    keys = {str(key): step for key, step in viewer.keymap.items()}
    correct(desk, lambda key: keys[key](viewer))
    is_right(folder)
    assert said[0] == "particle 1 may be two in one (doubt 0.90)"
    assert said[-1].startswith("written to")
    assert not len(desk.marks.data)
    assert not len(desk.strokes.data)


def test_what_cannot_be_done_is_said(folder: Path) -> None:
    from napari.components import ViewerModel  # noqa: PLC0415

    from ps3d_training.annotate.plugin.desk import Desk  # noqa: PLC0415

    said: list[str] = []
    desk = Desk(ViewerModel(), Session(folder), said.append)
    for step in (desk.split, desk.merge, desk.undo, desk.redo, desk.classify):
        desk.do(step)
    words = ("no particle here", "two particles or more", "nothing to undo", "nothing to do again", "no scribble on")
    assert all(word in text for word, text in zip(words, said, strict=True))


def test_the_brush_of_napari_is_a_step_too(folder: Path) -> None:
    from napari.components import ViewerModel  # noqa: PLC0415

    from ps3d_training.annotate.plugin.desk import Desk  # noqa: PLC0415

    viewer = ViewerModel()
    desk = Desk(viewer, Session(folder))
    before = desk.session.editor.labels.copy()
    viewer.dims.set_point(0, 12 * 0.02)
    desk.particles.brush_size = 5
    with desk.particles.block_history():  # as a drag of the mouse does
        desk.particles.paint((12, 24, 50), 9)
    assert desk.session.editor.labels[12, 24, 50] == 9
    assert [edit.what for edit in desk.session.editor.log.edits] == ["paint"]
    desk.undo()
    assert np.array_equal(desk.session.editor.labels, before)


def test_scribbles_make_the_labels_that_are_missing(folder: Path) -> None:
    from napari.components import ViewerModel  # noqa: PLC0415

    from ps3d_training.annotate.plugin.desk import Desk  # noqa: PLC0415

    desk = Desk(ViewerModel(), Session(folder))
    desk.scribbles.data[12, 10, 5:28], desk.scribbles.data[12, 10, 37:47] = 2, 2
    desk.scribbles.data[12, 18:20, :], desk.scribbles.data[4:6, :, 60] = 1, 1
    desk.fill()
    labels, mask = desk.session.editor.labels, ball((12, 24, 50), 5)
    found = labels == np.bincount(labels[mask]).argmax()
    assert 2 * np.count_nonzero(found & mask) / (found.sum() + mask.sum()) > 0.85
    assert labels[12, 10, 10] == labels[12, 10, 22] == 1


def test_the_manifest_names_panels_that_are_there() -> None:
    from npe2 import PluginManifest  # noqa: PLC0415

    import ps3d_training.annotate.plugin  # noqa: PLC0415

    path = Path(ps3d_training.annotate.plugin.__path__[0]) / "napari.yaml"
    manifest = PluginManifest.from_file(path)
    commands = {command.id: command.python_name for command in manifest.contributions.commands}
    assert {widget.command for widget in manifest.contributions.widgets} == commands.keys()
    source = path.with_name("panels.py").read_text(encoding="utf-8")
    for name in commands.values():
        module, _, panel = name.partition(":")
        assert module == "ps3d_training.annotate.plugin.panels"
        assert f"class {panel}(" in source


def test_a_patch_is_corrected_through_the_window(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "QT_QPA_PLATFORM" not in os.environ:
        monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    try:
        from qtpy.QtWidgets import QApplication  # noqa: PLC0415
    except Exception as error:  # noqa: BLE001 - qtpy has an error of its own for no Qt at all
        pytest.skip(f"no Qt that loads: {error}")
    application = QApplication.instance() or QApplication([])
    from napari.components import ViewerModel  # noqa: PLC0415

    from ps3d_training.annotate.plugin.panels import ReviewPanel, ScribblePanel  # noqa: PLC0415

    viewer = ViewerModel()
    scribbles = ScribblePanel(viewer)
    scribbles.draw(1)
    assert "open an annotation folder first" in scribbles.message.text()
    panel = ReviewPanel(viewer, folder)
    desk = scribbles.desk()
    assert desk is not None
    assert "4 left to look at" in panel.counts.text()
    scribbles.draw(2)
    assert (desk.scribbles.mode, desk.scribbles.selected_label) == ("paint", 2)
    desk.scribbles.mode = "pan_zoom"
    correct(desk, lambda key: panel.steps[key].click())
    application.processEvents()
    assert "0 left to look at<br>4 of 4 particles accepted<br>4 corrections" in panel.counts.text()
    is_right(folder)
    panel.complete.setChecked(True)
    panel.complete.setChecked(False)
    assert not Session(folder).state.complete

"""A session on the layers of a napari viewer: what a person draws and clicks there becomes a step of the session.

Works on ``napari.Viewer`` and, without Qt, on ``napari.components.ViewerModel``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_training.annotate.edits import Edit, bounding_box
from ps3d_training.annotate.review import Item
from ps3d_training.annotate.scribbles import ScribbleClassifier, particles_from
from ps3d_training.annotate.session import Session

IMAGE, PARTICLES, STROKES, MARKS, SCRIBBLES = "scan", "particles", "border strokes", "marks", "scribbles"
"""Names of the layers."""
GROW_SIZES = 1.5
"""How far a particle that is added may extend to each side, in mean diameters."""


class Desk:
    """The layers of a session, and its steps.

    Args:
        viewer: receives the layers.
        session: what is worked on.
        say: told every message for the person.
    """

    def __init__(self, viewer: Any, session: Session, say: Callable[[str], None] = lambda text: None) -> None:
        self.viewer, self.session, self.say = viewer, session, say
        place = {"scale": session.patch.spacing_mm, "units": ["mm"] * 3, "axis_labels": ("z", "y", "x")}
        low, high = np.percentile(session.image[::2, ::2, ::2], [0.5, 99.5])
        limits = (float(low), max(float(high), float(low) + 1))
        self.image = viewer.add_image(session.image, name=IMAGE, contrast_limits=limits, **place)
        self.particles = viewer.add_labels(session.editor.labels, name=PARTICLES, opacity=0.5, **place)
        self.scribbles = viewer.add_labels(
            np.zeros(session.image.shape, np.uint8), name=SCRIBBLES, visible=False, **place
        )
        self.strokes = viewer.add_shapes(ndim=3, name=STROKES, edge_color="red", face_color="transparent", **place)
        self.marks = viewer.add_points(
            ndim=3, name=MARKS, face_color="yellow", size=4, out_of_slice_display=True, **place
        )
        viewer.layers.selection.active = self.particles
        self.classifier = ScribbleClassifier(session.image)
        self._painted_from = session.editor.labels.copy()
        session.editor.listeners.append(self._show)
        self.particles.events.paint.connect(self._keep_paint)
        self._bind_keys()

    @property
    def steps(self) -> dict[str, tuple[str, Callable[[], object]]]:
        """Key → what it does, and how."""
        return {
            "J": ("next to look at", lambda: self.go(1)),
            "K": ("previous", lambda: self.go(-1)),
            "A": ("accept, and next", self.accept),
            "S": ("split: a stroke, or a mark on every part", self.split),
            "C": ("cut by the plane through three marks", self.cut),
            "M": ("merge the particles with marks", self.merge),
            "D": ("delete the particles with marks, or the selected one", self.delete),
            "G": ("grow a particle from every mark", self.grow),
            "U": ("undo", self.undo),
            "R": ("redo", self.redo),
            "W": ("write for training", self.save),
        }

    def go(self, way: int) -> Item | None:
        """Look at the next or the previous item: its slice, and its particle selected."""
        item = self.session.step(way)
        if item is None:
            self.say("nothing is left to look at in this direction.")
            return None
        self.look_at(item)
        return item

    def look_at(self, item: Item) -> None:
        """Bring an item into view."""
        world = np.asarray(item.place) * self.particles.scale
        for axis, value in enumerate(world):
            self.viewer.dims.set_point(axis, value)
        self.viewer.camera.center = tuple(world)
        if item.label:
            self.particles.selected_label = item.label
        self.say(f"{item.text} (doubt {item.doubt:.2f})")

    def accept(self) -> None:
        """Accept what is looked at, and go on."""
        self.session.accept()
        self.go(1)

    def split(self) -> None:
        """Split along the last stroke; without one, at the necks between marks."""
        editor, marks = self.session.editor, self._marks()
        if len(self.strokes.data):
            stroke = np.asarray(self.strokes.data[-1], np.float64)
            label = editor.under(stroke)
            own = [mark for mark in marks if self._label_at(mark) == label]
            editor.split(label, stroke, np.array(own) if len(own) > 1 else None)
        else:
            editor.split_at(editor.at(marks), marks)

    def cut(self) -> None:
        """Cut the selected particle by the plane through three marks."""
        marks = self._marks()
        try:
            label = self.session.editor.at(marks)
        except InputError:  # the plane may be marked outside of the particle
            label = int(self.particles.selected_label)
        self.session.editor.cut(label, marks)

    def merge(self) -> None:
        """Merge the particles that have a mark."""
        self.session.editor.merge([label for label in map(self._label_at, self._marks()) if label])

    def delete(self) -> None:
        """Delete the particles that have a mark; without marks, the selected one."""
        labels = {self._label_at(mark) for mark in self._marks()} - {0} or {int(self.particles.selected_label)}
        for label in sorted(labels):
            self.session.editor.delete(label)

    def grow(self) -> None:
        """Grow a new particle from every mark."""
        patch = self.session.patch
        reach = int(np.ceil(GROW_SIZES * patch.particle_size_mm / min(patch.spacing_mm)))
        for mark in self._marks():
            z, y, x = np.rint(mark).astype(int).tolist()
            self.session.editor.add((z, y, x), reach)

    def undo(self) -> None:
        """Take the last edit back."""
        if self.session.editor.undo() is None:
            self.say("there is nothing to undo.")

    def redo(self) -> None:
        """Do the next edit again."""
        if self.session.editor.redo() is None:
            self.say("there is nothing to do again.")

    def save(self) -> None:
        """Write what training reads."""
        self.session.save()
        self.say(f"written to {self.session.folder}.")

    def classify(self) -> NDArray[np.uint8]:
        """Find out from the scribbles what is particle, and show it.

        Returns:
            (z, y, x) percent.
        """
        likely = self.classifier.classify(self.scribbles.data)
        if "particle, percent" in self.viewer.layers:
            self.viewer.layers["particle, percent"].data = likely
        else:
            self.viewer.add_image(
                likely, name="particle, percent", colormap="magenta", opacity=0.4, scale=self.particles.scale
            )
        return likely

    def fill(self) -> None:
        """Make particles of what the scribbles tell, where there is no label yet."""
        size = self.session.patch.particle_size_mm / float(np.cbrt(np.prod(self.session.patch.spacing_mm)))
        editor = self.session.editor
        found = particles_from(np.where(editor.labels > 0, 0, self.classify()).astype(np.uint8), size)
        offset = editor.new_label() - 1
        after = np.where(found > 0, found + offset, editor.labels).astype(np.uint32)
        editor.write("scribbles", Box.of_shape(self.session.patch_shape), after)

    def do(self, step: Callable[[], Any]) -> None:
        """Take a step; what cannot be done is said. Strokes and marks have served then."""
        try:
            step()
        except InputError as error:
            self.say(str(error))

    def _bind_keys(self) -> None:
        for key, (_, step) in self.steps.items():
            for target in (self.viewer, *(self.particles, self.strokes, self.marks, self.image, self.scribbles)):
                target.bind_key(key, lambda _, step=step: self.do(step), overwrite=True)
        self.particles.bind_key("Control-Z", lambda _: self.do(self.undo), overwrite=True)
        self.particles.bind_key("Control-Shift-Z", lambda _: self.do(self.redo), overwrite=True)

    def _marks(self) -> NDArray[np.float64]:
        return np.asarray(self.marks.data, np.float64).reshape(-1, 3)

    def _label_at(self, place: NDArray[np.float64]) -> int:
        voxel = tuple(np.rint(place).astype(int))
        inside = all(0 <= k < side for k, side in zip(voxel, self.session.patch_shape, strict=True))
        return int(self.session.editor.labels[voxel]) if inside else 0

    def _show(self, edit: Edit) -> None:
        """Redraw after an edit; what was drawn for it is cleared."""
        self._painted_from[edit.box.slices] = self.session.editor.labels[edit.box.slices]
        self.particles.refresh()
        self.strokes.data, self.marks.data = [], np.empty((0, 3))
        self.viewer.layers.selection.active = self.particles

    def _keep_paint(self, _: Any) -> None:
        """Make an edit of what was painted with napari's own brush, fill or eraser."""
        labels = self.session.editor.labels
        box = bounding_box(labels != self._painted_from)
        if box is not None:
            after = labels[box.slices].copy()
            labels[box.slices] = self._painted_from[box.slices]
            self.session.editor.write("paint", box, after)

"""The labels of a patch under correction. Every step looks at the particle's own box and leaves one undoable edit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.errors import InputError
from ps3d_training.annotate.edits import Edit, EditLog, Labels, bounding_box
from ps3d_training.annotate.grow import grown_from
from ps3d_training.annotate.split import Parts, Points, cut_by_plane, split_by_marks, split_by_stroke


class LabelEditor:
    """Labels, and the steps of a person who corrects them.

    Args:
        labels: (z, y, x) uint32, changed in place; 0 is background.
        image: (z, y, x) gray values.
        edits: of an earlier session, whose first ``position`` are in ``labels``.
        position: see above.
    """

    def __init__(
        self, labels: Labels, image: NDArray[Any], edits: Sequence[Edit] = (), position: int | None = None
    ) -> None:
        if labels.shape != image.shape:
            raise InputError(f"the labels have {labels.shape} voxels and the image {image.shape}; both must agree.")
        self.labels, self.image = labels, image
        self.log = EditLog(labels, edits, len(edits) if position is None else position, self._note)
        self.listeners: list[Callable[[Edit], None]] = []
        """Called with every edit that was done, undone or done again."""
        found = ndimage.find_objects(labels.astype(np.int32))
        self._boxes = {number: _box_of(sides) for number, sides in enumerate(found, 1) if sides is not None}
        """Label → a box that holds it, and may be too large."""
        self._next = max((len(found), *(int(edit.states[1].max()) for edit in edits))) + 1

    @property
    def numbers(self) -> list[int]:
        """Labels that occur."""
        return sorted(number for number in list(self._boxes) if self.box(number) is not None)

    def box(self, label: int) -> Box | None:
        """Find the smallest box of a label; None if it does not occur."""
        loose = self._boxes.get(label)
        tight = None if loose is None else bounding_box(self.labels[loose.slices] == label)
        if loose is None or tight is None:
            self._boxes.pop(label, None)
            return None
        self._boxes[label] = _moved(tight, loose.start)
        return self._boxes[label]

    def new_label(self) -> int:
        """Give a label that never was in use."""
        self._next += 1
        return self._next - 1

    def at(self, places: Points) -> int:
        """Tell the particle that most of these places lie in, (n, 3) voxels.

        Raises:
            InputError: if none lies in a particle.
        """
        voxels = np.rint(np.atleast_2d(places)).astype(np.int64)
        inside = voxels[np.all((voxels >= 0) & (voxels < self.labels.shape), axis=1)]
        found = self.labels[tuple(inside.T)]
        if not found.any():
            raise InputError("there is no particle here; choose a place inside one.")
        return int(np.bincount(found[found > 0]).argmax())

    def under(self, stroke: Points) -> int:
        """Tell the particle that most of a stroke crosses; its ends may lie outside.

        Raises:
            InputError: if it crosses none.
        """
        between = [np.linspace(a, b, int(2 * np.abs(b - a).max()) + 2) for a, b in pairwise(stroke)]
        return self.at(np.concatenate([stroke[:1], *between]))

    def split(self, label: int, stroke: Points, marks: Points | None = None) -> Edit:
        """Part a particle along a border drawn in one slice: :func:`split_by_stroke`."""

        def parts(mask: NDArray[np.bool_], box: Box) -> Parts:
            own = None if marks is None else marks - box.start
            return split_by_stroke(mask, stroke - np.asarray(box.start, float), own, self.image[box.slices])

        return self._part("split", label, parts)

    def split_at(self, label: int, marks: Points) -> Edit:
        """Part a particle at its necks: :func:`split_by_marks`."""
        return self._part("split", label, lambda mask, box: split_by_marks(mask, marks - box.start))

    def cut(self, label: int, corners: Points) -> Edit:
        """Part a particle by the plane through three places: :func:`cut_by_plane`."""
        return self._part("cut", label, lambda mask, box: cut_by_plane(mask, corners - box.start))

    def merge(self, labels: Sequence[int]) -> Edit:
        """Make one particle of several; it keeps the smallest label."""
        chosen = sorted(set(labels))
        if len(chosen) < 2:
            raise InputError(f"merging needs two particles or more, and was given {chosen}; choose another one.")
        return self._replace("merge", chosen[1:], chosen[0])

    def delete(self, label: int) -> Edit:
        """Make a particle background."""
        return self._replace("delete", [label], 0)

    def relabel(self, label: int, new: int) -> Edit:
        """Give a particle another label, which must be free."""
        if not 0 < new < 2**31 or self.box(new) is not None:
            raise InputError(f"label {new} is in use, or no label; choose a free whole number from 1 to 2147483647.")
        self._next = max(self._next, new + 1)
        return self._replace("relabel", [label], new)

    def add(self, place: Zyx, reach_voxels: int) -> Edit:
        """Grow a new particle from a voxel inside it: :func:`grown_from`.

        Args:
            place: the voxel.
            reach_voxels: how far it may extend to each side.

        Raises:
            InputError: as :func:`grown_from`, or if what grows is larger.
        """
        whole = Box.of_shape(_zyx(self.labels.shape))
        stop = _zyx([k + 1 for k in place])
        box = Box(place, stop).grow(reach_voxels, whole)
        if not box.size or any(not 0 <= k < side for k, side in zip(place, whole.stop, strict=True)):
            raise InputError(f"voxel {place} lies outside of the patch of {whole.stop}; click inside.")
        before = self.labels[box.slices].copy()
        grown = grown_from(self.image[box.slices], before == 0, Box(place, stop).relative_to(box).start)
        found = bounding_box(grown)
        if found is None or _reaches_face(_moved(found, box.start), box, whole):
            raise InputError(
                f"what grows from here reaches more than {reach_voxels} voxels; raise the reach, or mend the particles "
                "around it first."
            )
        return self._do("add", box, np.where(grown, self.new_label(), before).astype(np.uint32))

    def write(self, what: str, box: Box, after: Labels) -> Edit:
        """Replace a box of labels by what was painted elsewhere."""
        self._next = max(self._next, int(after.max()) + 1)
        return self._do(what, box, after)

    def undo(self) -> Edit | None:
        """Take the last edit back; None if there is none."""
        return self.log.undo()

    def redo(self) -> Edit | None:
        """Do the next edit again; None if there is none."""
        return self.log.redo()

    def _part(self, what: str, label: int, parts_of: Callable[[NDArray[np.bool_], Box], Parts]) -> Edit:
        box = self._box_or_refuse(label)
        after = self.labels[box.slices].copy()
        parts = parts_of(after == label, box)
        sizes = np.bincount(parts.ravel())
        largest = int(np.argmax(sizes[1:])) + 1
        for part in np.flatnonzero(sizes[1:]) + 1:
            if part != largest:
                after[parts == part] = self.new_label()
        return self._do(what, box, after)

    def _replace(self, what: str, labels: Sequence[int], new: int) -> Edit:
        boxes = [self._box_or_refuse(label) for label in labels]
        box = _union(boxes)
        after = self.labels[box.slices].copy()
        after[np.isin(after, labels)] = new
        return self._do(what, box, after)

    def _do(self, what: str, box: Box, after: Labels) -> Edit:
        edit = Edit.of(what, box, self.labels[box.slices], after)
        if edit is None:
            raise InputError(f"nothing changes by this {what}.")
        self.log.do(edit)
        return edit

    def _box_or_refuse(self, label: int) -> Box:
        box = self.box(label)
        if box is None:
            raise InputError(f"there is no particle {label}; choose one that is there.")
        return box

    def _note(self, edit: Edit) -> None:
        """Widen the boxes of what is in an edit, then tell the listeners."""
        for number in edit.touched:
            known = self._boxes.get(number)
            self._boxes[number] = edit.box if known is None else _union([known, edit.box])
        for listener in self.listeners:
            listener(edit)


def _union(boxes: Sequence[Box]) -> Box:
    return Box(
        _zyx([min(starts) for starts in zip(*(box.start for box in boxes), strict=True)]),
        _zyx([max(stops) for stops in zip(*(box.stop for box in boxes), strict=True)]),
    )


def _moved(box: Box, by: Zyx) -> Box:
    return box.relative_to(Box(_zyx([-k for k in by]), (0, 0, 0)))


def _reaches_face(box: Box, within: Box, whole: Box) -> bool:
    """Whether ``box`` ends at a face of ``within`` that is none of ``whole``."""
    return any(
        (b == w != v)
        for b, w, v in zip(box.start + box.stop, within.start + within.stop, whole.start + whole.stop, strict=True)
    )


def _box_of(sides: tuple[slice, ...]) -> Box:
    return Box(_zyx([side.start for side in sides]), _zyx([side.stop for side in sides]))


def _zyx(values: Sequence[int]) -> Zyx:
    z, y, x = (int(value) for value in values)
    return z, y, x

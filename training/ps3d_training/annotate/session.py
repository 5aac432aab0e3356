"""A patch under a person's hands: labels, what was accepted, what is left. Every step is saved as it is made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ps3d_rt.core.grid import Zyx
from ps3d_rt.io.samples import read_whole
from ps3d_training.annotate.edits import Edit, Labels
from ps3d_training.annotate.folder import (
    find_patch,
    read_edits,
    read_proposal,
    read_state,
    write_edit,
    write_labels,
    write_state,
)
from ps3d_training.annotate.labels import LabelEditor
from ps3d_training.annotate.review import Item

NEAR_VOXELS = 3
"""Background this close to an accepted particle counts as looked at: its outline says that nothing is there."""


class Session:
    """One patch of an annotation folder, open.

    Args:
        folder: made by ``ps3d-rt annotate pick``.
        name: of the patch; None takes the first that is not complete.

    Raises:
        InputError: if there is no such patch, or a file of it is damaged.
    """

    def __init__(self, folder: Path, name: str | None = None) -> None:
        self.folder, self.patch = folder, find_patch(folder, name)
        self.name, self.image = self.patch.name, read_whole(self.patch.image)
        self.state = read_state(folder, self.name)
        edits = list(read_edits(folder, self.name))
        labels = read_proposal(folder, self.name)
        self.state.position = min(self.state.position, len(edits))
        for edit in edits[: self.state.position]:
            labels[edit.box.slices] = edit.states[1]
        self.editor = LabelEditor(labels, self.image, edits, self.state.position)
        self.editor.listeners.append(self._keep)
        self.at = -1
        """Number of the item that is looked at; −1: none yet."""
        self.listeners: list[Callable[[], None]] = []
        """Called after every change of labels or of what is left."""

    @property
    def patch_shape(self) -> Zyx:
        """Voxels of the patch."""
        z, y, x = self.image.shape
        return z, y, x

    @property
    def items(self) -> list[Item]:
        """What is to be looked at, the most doubtful first."""
        return self.state.items

    @property
    def left(self) -> int:
        """How many items nobody has looked at."""
        return len(self.items) - len(self.state.done)

    def step(self, way: int) -> Item | None:
        """Go to the next item that nobody has looked at (1), or the one before (−1); None if there is none."""
        number = self.at + way
        while 0 <= number < len(self.items):
            if number not in self.state.done:
                self.at = number
                return self.items[number]
            number += way
        return None

    def accept(self) -> None:
        """Find the item in view right: its particle as it is, or that what was dropped is none."""
        if not 0 <= self.at < len(self.items):
            return
        label = self.items[self.at].label
        if label:
            self.state.accepted = sorted({*self.state.accepted, label})
        self.state.done = sorted({*self.state.done, self.at})
        self._changed()

    def complete(self, value: bool = True) -> None:
        """Say that every particle of the patch is labelled, and right; or that it is not."""
        self.state.complete = value
        self._changed()

    def save(self) -> None:
        """Write labels and mask for ``ps3d-rt train prepare``."""
        labels = self.editor.labels
        known = np.ones(labels.shape, np.bool_)
        if not self.state.complete:
            known = annotated_voxels(labels, self.state.accepted)
        write_labels(self.folder, self.name, labels, known, self.patch.spacing_mm)

    def counts(self) -> dict[str, Any]:
        """Count particles, accepted ones, items left, and edits."""
        numbers = self.editor.numbers
        return {
            "particles": len(numbers),
            "accepted": len(set(numbers) & set(self.state.accepted)),
            "left": self.left,
            "edits": self.editor.log.position,
            "complete": self.state.complete,
        }

    def _keep(self, edit: Edit) -> None:
        """Save an edit that was done; what a person made is accepted, what was taken back is not."""
        before, self.state.position = self.state.position, self.editor.log.position
        touched = edit.touched
        accepted = set(self.state.accepted)
        if self.state.position > before:
            if self.state.position == len(self.editor.log.edits):  # else it is there since before the undo
                write_edit(self.folder, self.name, self.state.position, edit)
            accepted |= touched
        else:
            accepted -= touched
        self.state.accepted = sorted(accepted)
        self._changed()

    def _changed(self) -> None:
        write_state(self.folder, self.name, self.state)
        for listener in self.listeners:
            listener()


def annotated_voxels(labels: Labels, accepted: list[int]) -> NDArray[np.bool_]:
    """Tell which voxels a person has decided about, (z, y, x).

    These are accepted particles and the background around them, but not next to another particle, whose outline nobody
    has looked at.
    """
    own = np.isin(labels, accepted)
    cube = np.ones((3, 3, 3), np.bool_)
    near = ndimage.binary_dilation(own, cube, iterations=NEAR_VOXELS) & (labels == 0)
    near &= ~ndimage.binary_dilation((labels > 0) & ~own, cube)
    return np.asarray(own | near, np.bool_)

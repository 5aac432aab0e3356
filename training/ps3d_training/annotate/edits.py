"""Changes of labels: small patches of before and after, so that undo and redo are one list without an end."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.grid import Box, Zyx

Labels = NDArray[np.uint32]


@dataclass(frozen=True)
class Edit:
    """One change: what a box of the labels held before, and what it holds after."""

    what: str
    """In a word or two, for people: ``split``."""
    box: Box
    """The voxels that changed, and no plane without one."""
    packed: bytes = field(repr=False)
    """Before, then after, uint32 in C order, compressed: mostly a few values in long runs."""

    @classmethod
    def of(cls, what: str, box: Box, before: Labels, after: Labels) -> Edit | None:
        """Keep what differs between two states of ``box``; None if nothing does.

        Args:
            what: see above.
            box: where both lie in the labels.
            before: (*box.shape,) ids.
            after: the same voxels.
        """
        tight = bounding_box(before != after)
        if tight is None:
            return None
        both = np.stack([before[tight.slices], after[tight.slices]]).astype("<u4")
        start = tuple(a + b for a, b in zip(box.start, tight.start, strict=True))
        stop = tuple(a + b for a, b in zip(box.start, tight.stop, strict=True))
        return cls(what, Box(_zyx(start), _zyx(stop)), zlib.compress(both.tobytes(), 1))

    @property
    def states(self) -> tuple[Labels, Labels]:
        """Before and after, (*box.shape,) uint32 each; read only."""
        both = np.frombuffer(zlib.decompress(self.packed), "<u4").reshape(2, *self.box.shape)
        return both[0], both[1]

    @property
    def touched(self) -> set[int]:
        """Labels that gained or lost voxels, background left out."""
        before, after = self.states
        moved = before != after
        return {number for state in (before[moved], after[moved]) for number in _in_runs(state)} - {0}


class EditLog:
    """The edits of one label volume, in their order; those behind :attr:`position` are undone.

    Args:
        labels: (z, y, x) uint32, changed in place.
        edits: of an earlier session.
        position: how many of them hold.
        on_change: called with every box that has changed.
    """

    def __init__(
        self,
        labels: Labels,
        edits: Sequence[Edit] = (),
        position: int = 0,
        on_change: Callable[[Edit], None] = lambda edit: None,
    ) -> None:
        self.labels, self.edits, self.position, self.on_change = labels, list(edits), position, on_change

    def do(self, edit: Edit) -> None:
        """Apply a new edit; what was undone before is gone."""
        del self.edits[self.position :]
        self.edits.append(edit)
        self.redo()

    def undo(self) -> Edit | None:
        """Take the last edit back; None if there is none."""
        if self.position == 0:
            return None
        self.position -= 1
        return self._write(self.edits[self.position], 0)

    def redo(self) -> Edit | None:
        """Apply the next edit again; None if there is none."""
        if self.position == len(self.edits):
            return None
        self.position += 1
        return self._write(self.edits[self.position - 1], 1)

    def _write(self, edit: Edit, state: int) -> Edit:
        self.labels[edit.box.slices] = edit.states[state]
        self.on_change(edit)
        return edit


def bounding_box(mask: NDArray[Any]) -> Box | None:
    """Find the smallest box that holds all that is set in (z, y, x); None if nothing is.

    >>> bounding_box(np.eye(3, dtype=bool)[None]).shape
    (1, 3, 3)
    """
    sides = []
    for axes in ((1, 2), (0, 2), (0, 1)):
        found = np.flatnonzero(mask.any(axis=axes))
        if not len(found):
            return None
        sides.append((int(found[0]), int(found[-1]) + 1))
    return Box(_zyx([a for a, _ in sides]), _zyx([b for _, b in sides]))


def _in_runs(ids: Labels) -> list[int]:
    """List the values of (n,) ids; they come in long runs, so sorting all of them would be waste."""
    starts = np.flatnonzero(np.diff(ids, prepend=ids[:1] + 1))
    return [int(number) for number in np.unique(ids[starts])]


def _zyx(values: Sequence[int]) -> Zyx:
    z, y, x = (int(value) for value in values)
    return z, y, x

"""What a person looks at next: the particles that the network is least sure of, and what was dropped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.grid import Box, Zyx
from ps3d_training.annotate.edits import Labels

DROPPED = "dropped"
REASONS = {
    "merged": "may be two in one",
    "split": "may be a part of its neighbour",
    "contact": "touches another one, and the border is not clear",
    "uncertain": "may be no particle",
    "odd": "has an unusual shape",
    DROPPED: "was found and dropped",
}
"""Kind of an item → what to look for."""


@dataclass(frozen=True)
class Item:
    """One thing to look at."""

    kind: str
    """A key of :data:`REASONS`."""
    label: int
    """The particle; 0 for what was dropped."""
    place: Zyx
    """Where, voxels of the patch."""
    doubt: float
    """0 to 1."""

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Item:
        """Make it of what JSON holds."""
        z, y, x = (int(k) for k in content["place"])
        return cls(str(content["kind"]), int(content["label"]), (z, y, x), float(content["doubt"]))

    @property
    def text(self) -> str:
        """Say what it is, for people."""
        who = f"particle {self.label}" if self.label else "a particle"
        return f"{who} {REASONS[self.kind]}"


def doubts_of(columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float64]]:
    """Turn columns of the particle table into doubts by kind, (n,) each, 0 to 1; kinds that it cannot tell are absent.

    >>> doubts_of({"label": np.array([1, 2]), "confidence": np.array([0.9, np.nan])})
    {'uncertain': array([0.1, 0. ])}
    """
    known: dict[str, Callable[[Mapping[str, NDArray[Any]]], Any]] = {
        "merged": lambda c: c["merged_score"],
        "split": lambda c: c["split_score"],
        "contact": lambda c: (1 - c["contact_margin"]) / 2,
        "uncertain": lambda c: 1 - c["confidence"],
    }
    found: dict[str, NDArray[np.float64]] = {}
    for kind, doubt in known.items():
        try:
            values = np.asarray(doubt(columns), np.float64)
        except KeyError:
            continue
        found[kind] = np.nan_to_num(np.round(np.clip(values, 0, 1), 6))
    if not found and "solidity" in columns:
        found["odd"] = np.nan_to_num(np.clip(1 - np.asarray(columns["solidity"], np.float64), 0, 1))
    return found


def items_of(labels: Labels, columns: Mapping[str, NDArray[Any]]) -> list[Item]:
    """List every particle once, by what is most doubtful of it, the most doubtful first.

    Args:
        labels: (z, y, x) ids of the patch.
        columns: of the particle table, one row a particle of the patch or more; ``label`` names them.
    """
    doubts = doubts_of(columns)
    if not doubts:
        return []
    kinds, table = list(doubts), np.stack(list(doubts.values()))
    worst = table.argmax(axis=0)
    places = _places(labels)
    rows = zip(columns["label"].tolist(), worst.tolist(), table.max(axis=0).tolist(), strict=True)
    items = [
        Item(kinds[kind], int(label), places[int(label)], doubt) for label, kind, doubt in rows if int(label) in places
    ]
    return sorted(items, key=lambda item: -item.doubt)


def dropped_items(dropped: Mapping[str, NDArray[Any]], box: Box) -> list[Item]:
    """List what was dropped in a box of the scan; doubtful is what looked most like a particle.

    Args:
        dropped: ``z_voxels``, ``y_voxels``, ``x_voxels`` in the scan, and ``confidence``, NaN where it is not known.
        box: the patch.
    """
    places = np.stack([dropped[f"{axis}_voxels"] for axis in "zyx"], axis=1) - np.array(box.start)
    inside = np.all((places >= 0) & (places < box.shape), axis=1)
    doubts = np.nan_to_num(dropped["confidence"], nan=0.5)
    return [
        Item(DROPPED, 0, _zyx(place), round(float(doubt), 6))
        for place, doubt in zip(places[inside], doubts[inside], strict=True)
    ]


def in_order(items: list[Item]) -> list[Item]:
    """Sort items of all kinds, the most doubtful first."""
    return sorted(items, key=lambda item: -item.doubt)


def _places(labels: Labels) -> dict[int, Zyx]:
    """Find for every label its voxel nearest to its centre: the centre itself may lie outside."""
    where = np.nonzero(labels)
    ids = labels[where]
    numbers, rows = np.unique(ids, return_inverse=True)
    count = np.bincount(rows)
    away = np.zeros(len(ids))
    for axis in where:
        centre = np.bincount(rows, axis) / count
        away += (axis - centre[rows]) ** 2
    order = np.lexsort((away, rows))
    first = order[np.searchsorted(rows[order], np.arange(len(numbers)))]
    z, y, x = (axis[first].tolist() for axis in where)
    return {int(number): place for number, place in zip(numbers, zip(z, y, x, strict=True), strict=True)}


def _zyx(values: Any) -> Zyx:
    z, y, x = (int(value) for value in values)
    return z, y, x

"""Which particles touch, and over how many voxel faces."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Contacts:
    """Pairs of labels that share voxel faces, each pair once, in ascending order."""

    labels: NDArray[np.uint64]
    """(m, 2) the smaller label first."""
    faces: NDArray[np.int64]
    """(m,) voxel faces between the two, at least 1."""

    def sides(self, label: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64]]:
        """List the pairs from the side of each of some particles.

        Args:
            label: (n,) whose sides; ascending.

        Returns:
            The label, what it touches, and the faces, by the first and then by the second; a pair of two of them stands
            there twice.
        """
        labels = np.concatenate([self.labels, self.labels[:, ::-1]])
        faces = np.concatenate([self.faces, self.faces])
        own = is_among(labels[:, 0], label)
        labels, faces = labels[own], faces[own]
        order = np.lexsort((labels[:, 1], labels[:, 0]))
        return labels[order, 0], labels[order, 1], faces[order]

    @classmethod
    def from_sides(
        cls, label: NDArray[np.uint64], touched: NDArray[np.uint64], faces: NDArray[np.int64], own: NDArray[np.uint64]
    ) -> Contacts:
        """Make each pair once from the sides of the particles ``own``, (n,) ascending; others have no side there."""
        once = (label < touched) | ~is_among(touched, own)
        return _summed(np.stack([label, touched], axis=1)[once], faces[once])


def is_among(labels: NDArray[np.uint64], some: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Say which labels are among ``some``, which ascend.

    >>> is_among(np.array([[3, 4], [9, 2]], np.uint64), np.array([2, 4], np.uint64)).tolist()
    [[False, True], [False, True]]
    """
    if not some.size:
        return np.zeros(labels.shape, np.bool_)
    found: NDArray[np.bool_] = some[np.minimum(np.searchsorted(some, labels), some.size - 1)] == labels
    return found


def no_contacts() -> Contacts:
    """Make the contacts of particles that stand alone."""
    return Contacts(np.empty((0, 2), np.uint64), np.empty(0, np.int64))


def find_contacts(ids: NDArray[Any]) -> Contacts:
    """Find the contacts of a part of a volume.

    A face belongs to the part that owns the voxel with the smaller index, so parts that tile a volume count it once.

    Args:
        ids: (z + 2, y + 2, x + 2) the part and the voxels around it; 0 outside the volume.

    >>> find_contacts(np.pad(np.array([[[1, 2, 2], [1, 1, 0]]], np.uint32), 1)).faces
    array([2])
    """
    own = ids[1:-1, 1:-1, 1:-1]
    found = []
    for following in (ids[2:, 1:-1, 1:-1], ids[1:-1, 2:, 1:-1], ids[1:-1, 1:-1, 2:]):
        where = np.nonzero((own != following) & (own != 0) & (following != 0))
        found.append(np.stack([own[where], following[where]], axis=1))
    labels = np.concatenate(found).astype(np.uint64)
    return _summed(labels, np.ones(len(labels), np.int64))


def merge_contacts(parts: Iterable[Contacts]) -> Contacts:
    """Add up the contacts of parts that share no voxel."""
    parts = [no_contacts(), *parts]
    return _summed(np.concatenate([part.labels for part in parts]), np.concatenate([part.faces for part in parts]))


def _summed(labels: NDArray[np.uint64], faces: NDArray[np.int64]) -> Contacts:
    if not len(labels):
        return no_contacts()
    labels = np.sort(labels, axis=1)
    order = np.lexsort((labels[:, 1], labels[:, 0]))
    labels = labels[order]
    begins = np.flatnonzero(np.concatenate([[True], (labels[1:] != labels[:-1]).any(axis=1)]))
    return Contacts(labels[begins], np.add.reduceat(faces[order], begins))

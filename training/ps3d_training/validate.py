"""How well a network finds whole particles: a validation sample segmented as ``predict`` would, against its labels.

Dice over patches says how well classes are told apart; two particles that merge cost it almost nothing. F1_instance
counts them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ps3d_rt.core.arrays import Array
from ps3d_rt.core.blend import BlendRing
from ps3d_rt.core.contrast import is_empty
from ps3d_rt.core.grid import Box, PatchLattice, Zyx
from ps3d_rt.core.metrics import Metrics, evaluate
from ps3d_rt.stages.particles import to_instances
from ps3d_training.augment.bank import INSTANCES
from ps3d_training.plan import IGNORE

if TYPE_CHECKING:
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

Scorer = Callable[[Array], Array]
"""(*patch,) float32, normalized gray values → (3, *patch) float32, softmax over background, core, border."""

OVERLAP = 0.25
"""Share of a patch that the next one covers again; a bundle's default."""
MOST_SIDE_VOXELS = 256
"""Of a larger sample the middle will do: a sign of progress must not cost more than the training."""


def has_instances(cases: Path) -> bool:
    """Whether ``prepare`` left the instances beside the cases in ``cases``; an early version did not."""
    return cases.with_name(cases.name + INSTANCES).is_dir()


def smallest_sample(dataset: nnUNetDatasetBlosc2) -> tuple[Array, Array]:
    """Read the smallest of the samples, at most 256 voxels along each side.

    Args:
        dataset: prepared with instances; it hands them out from now on.

    Returns:
        gray values, (z, y, x) float32, and instances, (z, y, x), −1 where nobody has labelled; both on the normalized
        grid.
    """
    dataset.folder_with_segs_from_previous_stage = dataset.source_folder + INSTANCES
    # A case is opened here; its voxels are read when it is sliced.
    data, classes, instances, _ = min(
        (dataset.load_case(name) for name in dataset.identifiers), key=lambda case: case[0].size
    )
    middle = tuple(
        slice(max(0, side - MOST_SIDE_VOXELS) // 2, (side + min(side, MOST_SIDE_VOXELS)) // 2)
        for side in instances.shape
    )
    return data[(0, *middle)], np.where(classes[(0, *middle)] == IGNORE, -1, instances[middle])


def score_sample(score: Scorer, image: Array, instances: Array, patch: Zyx) -> Metrics:
    """Segment ``image`` and compare it with its labels, both on the normalized grid.

    Args:
        score: the network.
        image: (z, y, x) float32, normalized.
        instances: (z, y, x) ids, 0 is background; −1 is not labelled, and what lies there for the most part is not
            counted.
        patch: what the network gets at a time, voxels.
    """
    found = to_instances(segment(score, image, patch))
    unknown = instances < 0
    if unknown.any():
        sizes = np.bincount(found.ravel())
        outside = 2 * np.bincount(found[unknown], minlength=len(sizes)) > sizes
        found = np.where(outside[found], 0, found)
    return evaluate(found, np.maximum(instances, 0))


def segment(score: Scorer, image: Array, patch: Zyx) -> Array:
    """Slide the network over a normalized volume.

    Returns:
        (z, y, x) uint8: 0 background, 1 core, 2 border.
    """
    lattice = PatchLattice.plan(image.shape, patch, OVERLAP)
    missing = [(0, padded - side) for padded, side in zip(lattice.padded, image.shape, strict=True)]
    padded = np.pad(image, missing, mode="edge")
    ring = BlendRing(lattice)
    planes = []
    for _, boxes in ring.layers():
        for at in boxes:
            voxels = padded[at.slices]
            if is_empty(voxels):
                ring.skip(at)
            else:
                ring.add(score(voxels), at)
        planes.append(ring.take()[1][0])
    return np.concatenate(planes)[Box.of_shape(image.shape).slices]

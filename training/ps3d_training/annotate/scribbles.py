"""Gray values and scribbles → what is particle: a random forest over the features of voxels.

The features are computed once and kept, so a new scribble costs a small forest and one pass over them.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from ps3d_rt.core.arrays import compiled
from ps3d_rt.errors import InputError, not_installed
from ps3d_training.annotate.edits import Labels
from ps3d_training.annotate.features import Features, features_of

BACKGROUND, PARTICLE = 1, 2
"""Values of scribbles; 0 is no scribble."""
TREES, MOST_DEPTH, MOST_VOXELS = 50, 12, 20_000
"""Of the forest; scribbled voxels of each kind that it learns from at most."""
_ROWS = 2**18


class ScribbleClassifier:
    """Learns from scribbles in one volume what is particle there.

    Args:
        image: (z, y, x) gray values.
        threads: of features and of classification.
    """

    def __init__(self, image: NDArray[Any], *, threads: int = 2) -> None:
        self.image, self.threads = image, threads
        self._features: Features | None = None

    @property
    def features(self) -> Features:
        """Computed when they are asked for first."""
        if self._features is None:
            self._features = features_of(self.image, threads=self.threads)
        return self._features

    def classify(self, scribbles: NDArray[Any]) -> NDArray[np.uint8]:
        """Learn from all scribbles, and tell how likely each voxel is particle.

        Args:
            scribbles: (z, y, x) :data:`BACKGROUND`, :data:`PARTICLE`, or 0.

        Returns:
            (z, y, x) percent.

        Raises:
            InputError: if there are not scribbles of both kinds.
            CapabilityError: if scikit-learn is not installed.
        """
        flat = np.ascontiguousarray(scribbles).ravel()
        chosen = []
        for kind, name in ((BACKGROUND, "background"), (PARTICLE, "particle")):
            found = np.flatnonzero(flat == kind)
            if not len(found):
                raise InputError(f"there is no scribble on {name} (value {kind}); draw at least one of each kind.")
            draw = np.random.default_rng(0)
            chosen.append(found if len(found) <= MOST_VOXELS else draw.choice(found, MOST_VOXELS, replace=False))
        rows = np.concatenate(chosen)
        forest = _trained(self.features[rows], flat[rows] == PARTICLE)
        out = np.empty(len(flat), np.uint8)

        def work(start: int) -> None:
            rows = self.features[start : start + _ROWS]
            _vote(
                rows,
                forest.feature,
                forest.threshold,
                forest.left,
                forest.right,
                forest.share,
                forest.roots,
                out[start : start + _ROWS],
            )

        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(work, range(0, len(flat), _ROWS)))
        return out.reshape(scribbles.shape)


def particles_from(likely: NDArray[np.uint8], particle_size_voxels: float) -> Labels:
    """Make labels of what is particle: parted at their necks, for a person to mend.

    Args:
        likely: (z, y, x) percent.
        particle_size_voxels: rough mean diameter; specks under a tenth of it across are left out.

    Returns:
        (z, y, x) ids 1..n.
    """
    foreground = likely >= 50
    depth = ndimage.gaussian_filter(ndimage.distance_transform_edt(foreground), 1.0)
    reach = max(3, int(particle_size_voxels / 4) | 1)
    tops = (ndimage.maximum_filter(depth, reach) == depth) & (depth > 1)
    seeds, _ = ndimage.label(tops, np.ones((3, 3, 3)))
    parts = watershed(-depth, seeds, mask=foreground)
    sizes = np.bincount(parts.ravel())
    kept = sizes >= np.pi / 6 * (particle_size_voxels / 10) ** 3
    kept[0] = False
    return np.asarray(np.where(kept, np.cumsum(kept), 0)[parts], np.uint32)


class Forest(NamedTuple):
    """All trees in one table of nodes."""

    feature: NDArray[np.int16]
    """(n,) that a node asks about; −1: a leaf."""
    threshold: NDArray[np.int32]
    """Up to it, the left branch."""
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    share: NDArray[np.float32]
    """Of particle among the voxels it learned from."""
    roots: NDArray[np.int32]
    """(trees,) first nodes."""


def _trained(features: Features, is_particle: NDArray[np.bool_]) -> Forest:
    try:
        ensemble = import_module("sklearn.ensemble")
    except ImportError as error:
        raise not_installed(f"scribbles need scikit-learn ({error})", "ps3d-rt[annotate]") from error
    forest = ensemble.RandomForestClassifier(
        TREES, max_depth=MOST_DEPTH, class_weight="balanced", min_samples_leaf=2, random_state=0, n_jobs=1
    )
    forest.fit(features.astype(np.float32), is_particle)
    trees = [tree.tree_ for tree in forest.estimators_]
    roots = np.cumsum([0, *(tree.node_count for tree in trees)])[:-1].astype(np.int32)
    moved = [
        np.where(side >= 0, side + root, -1)
        for tree, root in zip(trees, roots, strict=True)
        for side in (tree.children_left, tree.children_right)
    ]
    shares = [tree.value[:, 0, 1] / tree.value[:, 0].sum(axis=1) for tree in trees]
    feature = np.concatenate([np.where(tree.children_left < 0, -1, tree.feature) for tree in trees])
    threshold = np.floor(np.concatenate([tree.threshold for tree in trees]))
    return Forest(
        feature.astype(np.int16),
        threshold.astype(np.int32),
        np.concatenate(moved[::2]).astype(np.int32),
        np.concatenate(moved[1::2]).astype(np.int32),
        np.concatenate(shares).astype(np.float32),
        roots,
    )


@compiled
def _vote(
    features: NDArray[Any],
    feature: NDArray[Any],
    threshold: NDArray[Any],
    left: NDArray[Any],
    right: NDArray[Any],
    share: NDArray[Any],
    roots: NDArray[Any],
    out: NDArray[np.uint8],
) -> None:
    """Mean share of all trees, percent."""
    for i in range(features.shape[0]):
        total = 0.0
        for root in roots:
            node = root
            while feature[node] >= 0:
                node = left[node] if np.int32(features[i, feature[node]]) <= threshold[node] else right[node]
            total += share[node]
        out[i] = np.uint8(100 * total / len(roots) + 0.5)

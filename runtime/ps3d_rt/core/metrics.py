"""How well a label volume agrees with a reference: the five measures of the published method, defined to the voxel.

P are the particles of the reference, Q those of the prediction, |x| a number of voxels, and for one pair
``F1(q, p) = 2 |q ∩ p| / (|q| + |p|)``. Background is 0 and never a particle.

``f1``              2 |fg(Q) ∩ fg(P)| / (|fg(Q)| + |fg(P)|), fg = all voxels of any particle.
*matching*          one-to-one, only pairs with F1(q, p) ≥ 0.1; of all such matchings the one with the largest Σ F1.
``f1_match``        2 matched / (#Q + #P).
``f1_instance``     Σ F1(q, p) over the matched pairs / (matched + missed + false); a missed reference particle and a
                    false prediction count as instances with F1 = 0. Missed = #P − matched, false = #Q − matched.
``merger_ratio``    mergers / #P. A reference particle belongs to the prediction that holds more than half of its
                    voxels. A prediction that two or more belong to is a merge set M; mergers = Σ (|M| − 1), that is
                    Σ |M| − number of sets.
``splitter_ratio``  splitters / #P, the same with the roles exchanged: a predicted piece belongs to the reference
                    particle that holds more than half of the piece's voxels; splitters = Σ (|S| − 1).

Why these choices, where the paper leaves them open:

- *Matching by best assignment*, not greedily. Below F1 = 2/3 a particle can have several candidates. The best sum does
  not depend on the order in which pairs are visited, is symmetric in prediction and reference, and cannot give up two
  fair pairs for one slightly better one. Candidates are few (F1 ≥ 0.1 allows fewer than 20 a particle), so the sparse
  solver costs little. If two matchings have the same sum, the one with more pairs counts.
- *More than half*, not "at least half": then a particle belongs to at most one other, and no set is counted twice.
- *Nothing to find*: with no particle on either side the three F1 are 1; with particles on one side only they are 0.
  Without reference particles both ratios are 0.

Source: Gotkowski et al., Powder Technology 434 (2024) 119286, section on evaluation metrics.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, min_weight_full_bipartite_matching

from ps3d_rt.core.runs import as_ids, check_volume, run_starts, z_slabs

MATCH_F1 = 0.1
"""Least F1 of a pair that can be a match (the paper's value)."""

BATCH_PAIRS = 1024
"""Candidate pairs given to the assignment solver at a time; it changes the time, never the result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Agreement of a prediction with a reference; the definitions are in the module's docstring."""

    f1: float
    """Over voxels, foreground against background; 0..1."""
    f1_match: float
    """Over particles; 0..1."""
    f1_instance: float
    """Mean voxel F1 over matched, missed and false particles; 0..1."""
    merger_ratio: float
    """Merged reference particles beyond the first of each set, per reference particle."""
    splitter_ratio: float
    """Predicted pieces beyond the first of each reference particle, per reference particle."""
    mergers: int
    splitters: int
    matched: int
    predicted: int
    """Number of particles in the prediction."""
    reference: int
    """Number of particles in the reference."""


@dataclass(frozen=True, slots=True)
class Overlaps:
    """The sparse contingency table: one row for each pair of ids that shares voxels, (0, 0) left out."""

    prediction: NDArray[np.uint64]
    """(n,) ids; 0 where the voxels are background in the prediction."""
    reference: NDArray[np.uint64]
    """(n,) ids; 0 where the voxels are background in the reference."""
    voxels: NDArray[np.int64]
    """(n,) shared voxels, at least 1."""


def evaluate(prediction: NDArray[Any], reference: NDArray[Any]) -> Metrics:
    """Compare two label volumes.

    Args:
        prediction: (z, y, x) ids, 0 is background; gaps are allowed. Whole numbers of any dtype.
        reference: the same voxels, labelled by a person or a simulation.

    Raises:
        InputError: if the shapes differ or the arrays do not hold ids.

    >>> reference = np.array([[[1, 1, 0, 2, 2]]])
    >>> merged = np.array([[[7, 7, 7, 7, 7]]])
    >>> evaluate(merged, reference).merger_ratio
    0.5
    """
    return score(count_overlaps(prediction, reference))


def evaluate_slabs(slabs: Iterable[tuple[NDArray[Any], NDArray[Any]]]) -> Metrics:
    """Compare two label volumes that arrive in parts, such as slabs read from disk.

    Args:
        slabs: (prediction, reference) of the same voxels; together all voxels once, in any order.

    Raises:
        InputError: as :func:`evaluate`.
    """
    return score(merge_overlaps(count_overlaps(prediction, reference) for prediction, reference in slabs))


def count_overlaps(prediction: NDArray[Any], reference: NDArray[Any]) -> Overlaps:
    """Count the voxels that each pair of ids shares in one part of the volume.

    Args:
        prediction: (z, y, x) ids.
        reference: (z, y, x) ids, the same voxels.

    Raises:
        InputError: if the shapes differ or the arrays do not hold ids.

    >>> count_overlaps(np.array([[[4, 4, 0]]]), np.array([[[0, 9, 0]]])).voxels
    array([1, 1])
    """
    shape = check_volume(reference, prediction, name="prediction")
    cuts = (slab.slices for slab in z_slabs(shape))  # bounds the memory
    return merge_overlaps(_count_slab(as_ids(prediction[cut]), as_ids(reference[cut])) for cut in cuts)


def _count_slab(prediction: NDArray[Any], reference: NDArray[Any]) -> Overlaps:
    starts = run_starts(prediction, reference)
    q, p = prediction.reshape(-1)[starts], reference.reshape(-1)[starts]
    voxels = np.diff(starts, append=reference.size)
    particle = (q > 0) | (p > 0)
    return _sum_pairs(q[particle].astype(np.uint64), p[particle].astype(np.uint64), voxels[particle])


def merge_overlaps(parts: Iterable[Overlaps]) -> Overlaps:
    """Add up the tables of parts that share no voxel; the order of the parts does not matter."""
    empty = Overlaps(np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0, np.int64))
    tables = [empty, *parts]
    return _sum_pairs(
        np.concatenate([table.prediction for table in tables]),
        np.concatenate([table.reference for table in tables]),
        np.concatenate([table.voxels for table in tables]),
    )


def _sum_pairs(q: NDArray[np.uint64], p: NDArray[np.uint64], voxels: NDArray[np.int64]) -> Overlaps:
    order = np.lexsort((p, q))
    q, p, voxels = q[order], p[order], voxels[order]
    new = np.ones(len(q), dtype=np.bool_)
    new[1:] = (q[1:] != q[:-1]) | (p[1:] != p[:-1])
    first = np.flatnonzero(new)
    return Overlaps(q[first], p[first], np.add.reduceat(voxels, first) if len(first) else voxels)


def score(overlaps: Overlaps) -> Metrics:
    """Compute all measures from the contingency table of the whole volume."""
    q_ids, q = np.unique(overlaps.prediction, return_inverse=True)
    p_ids, p = np.unique(overlaps.reference, return_inverse=True)
    # Sums of whole numbers below 2^53: exact in the float64 that bincount returns.
    q_voxels = np.bincount(q, weights=overlaps.voxels)
    p_voxels = np.bincount(p, weights=overlaps.voxels)
    predicted, reference = int(np.count_nonzero(q_ids)), int(np.count_nonzero(p_ids))

    shared = (overlaps.prediction > 0) & (overlaps.reference > 0)
    q, p, voxels = q[shared], p[shared], overlaps.voxels[shared]
    foreground = int(q_voxels[q_ids > 0].sum() + p_voxels[p_ids > 0].sum())
    pair_f1 = 2 * voxels / (q_voxels[q] + p_voxels[p])
    match_f1 = _best_matching(q, p, pair_f1)
    mergers = _beyond_first(q[2 * voxels > p_voxels[p]])
    splitters = _beyond_first(p[2 * voxels > q_voxels[q]])
    return Metrics(
        f1=_share(2 * int(voxels.sum()), foreground),
        f1_match=_share(2 * len(match_f1), predicted + reference),
        f1_instance=_share(float(match_f1.sum()), predicted + reference - len(match_f1)),
        merger_ratio=mergers / max(1, reference),
        splitter_ratio=splitters / max(1, reference),
        mergers=mergers,
        splitters=splitters,
        matched=len(match_f1),
        predicted=predicted,
        reference=reference,
    )


def _share(part: float, whole: float) -> float:
    """``part / whole``, and 1 where there was nothing to find and nothing was found."""
    return part / whole if whole else 1.0


def _beyond_first(owners: NDArray[np.intp]) -> int:
    """Sum over owners of (times listed − 1)."""
    return len(owners) - len(np.unique(owners))


def _best_matching(q: NDArray[np.intp], p: NDArray[np.intp], pair_f1: NDArray[np.float64]) -> NDArray[np.float64]:
    """F1 of the pairs in the one-to-one matching with the largest sum of F1.

    The solver's time grows with the square of the particles. But candidates form many small groups that share no
    particle, and the best matching of all is the best matching of each: so it is called on batches of whole groups.
    """
    candidate = pair_f1 >= MATCH_F1
    q, p, pair_f1 = q[candidate], p[candidate], pair_f1[candidate]
    if len(pair_f1) == 0:
        return pair_f1
    nodes = int(q.max()) + 1, int(p.max()) + 1
    touching = coo_array((np.ones(len(q), np.uint8), (q, nodes[0] + p)), shape=(sum(nodes), sum(nodes)))
    group = connected_components(touching, directed=False)[1][q]
    pairs_in_group = np.bincount(group)
    batch = (np.cumsum(pairs_in_group) - pairs_in_group)[group] // BATCH_PAIRS
    order = np.argsort(batch, kind="stable")
    batches = np.split(order, np.flatnonzero(np.diff(batch[order])) + 1)
    return np.concatenate([pair_f1[pairs][_assign(q[pairs], p[pairs], pair_f1[pairs])] for pairs in batches])


def _assign(q: NDArray[np.intp], p: NDArray[np.intp], pair_f1: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which pairs the best matching takes.

    The solver wants a matching that covers every row, so each prediction also gets a column of its own that stands for
    "unmatched". Its weight of 2 against 2 − F1 keeps all weights positive (a weight of 0 would be no edge).
    """
    rows, row = np.unique(q, return_inverse=True)
    columns, column = np.unique(p, return_inverse=True)
    # The bonus a pair decides between equal sums only; it is far below any difference that matters.
    bonus = 1e-9
    each = np.arange(len(rows))
    weights = np.concatenate([2 - pair_f1 - bonus, np.full(len(rows), 2.0)])
    where = np.concatenate([row, each]), np.concatenate([column, len(columns) + each])
    graph = csr_array((weights, where), shape=(len(rows), len(columns) + len(rows)))
    matched_row, matched_column = min_weight_full_bipartite_matching(graph)
    partner = np.full(len(rows), -1)
    partner[matched_row] = matched_column
    taken: NDArray[np.bool_] = partner[row] == column
    return taken

"""Fragments of chunks → cores and groups of the volume, from which particles grow. Tables only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.chunks import LabelStatistics
from ps3d_rt.core.fragments import FragmentFacts
from ps3d_rt.core.growth import UNCLAIMED
from ps3d_rt.core.numbering import joined
from ps3d_rt.core.stitch import merge


@dataclass(frozen=True, eq=False)
class Survey(FragmentFacts):
    """The fragments of one chunk."""

    statistics: LabelStatistics


def to_seeds(
    surveys: Sequence[Survey], touching: Sequence[tuple[NDArray[np.uint64], NDArray[np.uint64]]]
) -> list[NDArray[np.int64]]:
    """Apply rules 1 to 3 of :func:`ps3d_rt.stages.particles.to_instances`.

    Args:
        surveys: of every chunk; fragments are numbered through them, from 1.
        touching: of the chunks with neighbours, pairs of fragments that touch over faces, and at all.

    Returns:
        For every chunk (count + 1,), fragment → id of the volume: 1..n for the cores that count, in raster order of
        their first voxels; n + 1, … for groups without one; ``UNCLAIMED`` for all other foreground. 0 where a fragment
        has no voxels.
    """
    offsets = list(accumulate((s.count for s in surveys), initial=0))
    total = offsets[-1]
    none = np.empty((0, 2), np.uint64)
    is_core = joined([np.arange(s.count + 1) <= s.cores for s in surveys], np.bool_)

    faces = np.concatenate([none, *(pairs for pairs, _ in touching)])
    core = merge(faces[is_core[faces].all(axis=1)], total, np.uint64)
    del faces
    rank = _ranks(surveys, core, is_core)[core]
    del core

    # A core belongs to the group of its group_id.
    group_id = joined([s.group_id + np.uint64(offset) for s, offset in zip(surveys, offsets, strict=False)], np.uint64)
    cores = np.flatnonzero(is_core[1:]) + 1
    links = np.stack([cores.astype(np.uint64), group_id[cores]], axis=1)
    group = merge(np.concatenate([*(pairs for _, pairs in touching), links]), total, np.uint64)
    del group_id, cores, links
    has_core = np.zeros(total + 1, np.bool_)
    has_core[group[rank > 0]] = True
    alone = ~has_core & (group == np.arange(total + 1))
    alone[0] = False
    coreless = rank.max() + np.cumsum(alone)

    seeds = np.where(rank > 0, rank, np.where(has_core[group], UNCLAIMED, coreless[group]))
    seeds[joined([s.statistics.volumes for s in surveys]) == 0] = 0
    return [np.append(0, seeds[a + 1 : b + 1]) for a, b in pairwise(offsets)]


def _ranks(surveys: Sequence[Survey], core: NDArray[np.uint64], is_core: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Give the cores that rule 2 keeps the ids 1..n, at the fragment that stands for each; other fragments have 0."""
    owner = np.append(0, core[is_core].astype(np.int64))
    volume, shallow, deep = (np.zeros(core.size, np.int64) for _ in range(3))
    first = np.full(core.size, np.iinfo(np.int64).max)
    np.add.at(volume, owner, joined([s.statistics.volumes[: s.cores + 1] for s in surveys]))
    np.add.at(shallow, owner, joined([s.shallow for s in surveys]))
    np.add.at(deep, owner, joined([s.deep for s in surveys]))
    np.minimum.at(first, owner, joined([s.statistics.first_index[: s.cores + 1] for s in surveys]))
    kept = np.flatnonzero(is_core & (core == np.arange(core.size)) & ((20 * shallow < 19 * volume) | (deep > 0)))
    ranks = np.zeros(core.size, np.int64)
    ranks[kept[np.argsort(first[kept])]] = np.arange(1, kept.size + 1)
    return ranks

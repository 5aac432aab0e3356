"""Rows of the particle table: put together, and given their final ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.contacts import Contacts
from ps3d_rt.core.measure import PartialSums, ParticleTable
from ps3d_rt.core.planes import PlaneTile


@dataclass(frozen=True, slots=True)
class MeasuredBox:
    """What a box of a volume gives when it is read."""

    sums: PartialSums
    planes: tuple[PlaneTile, ...]


def relabelled(rows: ParticleTable, id_map: NDArray[Any]) -> ParticleTable:
    """Give rows, and what they touch, the ids ``id_map[id]``, and put them in order."""
    label = id_map[rows.label.astype(np.int64)].astype(np.uint64)
    order = np.argsort(label)
    columns = {name: column[order] for name, column in rows.columns().items()}
    sides = rows.contact_pairs.sides(np.sort(rows.label))
    own, touched = (id_map[side.astype(np.int64)].astype(np.uint64) for side in sides[:2])
    histogram = None if rows.gray_histogram is None else rows.gray_histogram[order]
    return ParticleTable(
        **columns | {"label": label[order]},
        contact_pairs=Contacts.from_sides(own, touched, sides[2], label[order]),
        gray_histogram=histogram,
        gray_bins=rows.gray_bins,
    )


def joined(tables: list[ParticleTable]) -> ParticleTable:
    """Put tables of different particles one after the other; contacts between them become one."""
    columns = {name: np.concatenate([t.columns()[name] for t in tables]) for name in tables[0].columns()}
    sides = zip(*(t.contact_pairs.sides(np.sort(t.label)) for t in tables), strict=True)
    label, touched, faces = (np.concatenate(side) for side in sides)
    histograms = [t.gray_histogram for t in tables if t.gray_histogram is not None]
    return ParticleTable(
        **columns,
        contact_pairs=Contacts.from_sides(label, touched, faces, np.sort(columns["label"])),
        gray_histogram=np.concatenate(histograms) if histograms else None,
        gray_bins=tables[0].gray_bins,
    )

"""The minerals of every particle: one row each. What every column means is in docs/minerals.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.minerals.mixture import Floats
from ps3d_rt.core.minerals.phases import PhaseList
from ps3d_rt.core.minerals.sums import MineralSums
from ps3d_rt.core.minerals.unmix import Unmixed
from ps3d_rt.core.surface import STEPS, direction_factors

FREE, HIGH_MIDDLING, MIDDLING, LOCKED = "liberated", "high middling", "middling", "locked"
CLASSES = (FREE, HIGH_MIDDLING, MIDDLING, LOCKED)
CLASS_LIMITS = (0.9, 0.6, 0.3)
"""Least share of the mineral in a particle of the first three classes."""
NONE = "none"
"""The mineral of a particle in which none was found."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MineralTable:
    """One row a particle; columns of arrays are void 0 and the phases 1, 2, … unless it says otherwise."""

    phases: PhaseList
    label: NDArray[np.uint64]
    """(n,)"""
    volume_mm3: Floats
    """(n,) of the particle, void included."""
    void_share: Floats
    """(n,) of the particle's volume."""
    shares: Floats
    """(n, phases) of what is not void; NaN for a particle that is all void."""
    errors: Floats
    """(n, phases) standard deviation of the shares."""
    exposure: Floats
    """(n, phases + 1) share of the particle's surface."""
    grains: NDArray[np.int64]
    """(n, phases) how many."""
    largest_grain_mm: Floats
    """(n, phases) diameter of the ball of the largest grain's volume; 0 without a grain."""
    faces: NDArray[np.int64]
    """(n, phases + 1, phases + 1) voxel faces inside the particle between two classes, the smaller first."""
    free_faces: NDArray[np.int64]
    """(n, phases + 1) voxel faces at the particle's surface."""

    def __len__(self) -> int:
        return len(self.label)

    @property
    def mineral_mm3(self) -> Floats:
        """(n, phases) volume of every mineral, mm³."""
        known = np.nan_to_num(self.shares)
        volumes: Floats = known * (self.volume_mm3 * (1 - self.void_share))[:, None]
        return volumes

    @property
    def surface_shares(self) -> Floats:
        """(n, phases) share of a mineral in the particle's surface, the void left out; 0 if all of it is void."""
        exposed = self.exposure[:, 1:]
        shares: Floats = exposed / np.maximum(exposed.sum(axis=1, keepdims=True), 1e-12)
        return shares

    def dominating(self) -> NDArray[np.int64]:
        """(n,) number of the mineral with the largest share, from 0; −1 without any."""
        known = np.nan_to_num(self.shares)
        return np.where(known.sum(axis=1) > 0, known.argmax(axis=1), -1)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Name every column, in the order of docs/minerals.md."""
        names = (*self.phases.columns[1:],)
        dominating = self.dominating()
        of_dominating = np.maximum(dominating, 0)[:, None]
        by_volume = np.take_along_axis(np.nan_to_num(self.shares), of_dominating, axis=1)[:, 0]
        by_surface = np.take_along_axis(self.surface_shares, of_dominating, axis=1)[:, 0]
        columns: dict[str, NDArray[Any]] = {
            "label": self.label,
            "mineral": np.array([*self.phases.names, NONE])[dominating],
            "liberation_by_volume": liberation_class(by_volume),
            "liberation_by_surface": liberation_class(by_surface),
            "volume_mm3": self.volume_mm3,
            "void_share": self.void_share,
            "void_exposure": self.exposure[:, 0],
        }
        volumes = self.mineral_mm3
        for k, name in enumerate(names):
            columns |= {
                f"{name}_volume_mm3": volumes[:, k],
                f"{name}_share": self.shares[:, k],
                f"{name}_share_error": self.errors[:, k],
                f"{name}_exposure": self.exposure[:, k + 1],
                f"{name}_grains": self.grains[:, k],
                f"{name}_largest_grain_mm": self.largest_grain_mm[:, k],
            }
        columns |= {f"{name}_free_faces": self.free_faces[:, k] for k, name in enumerate(self.phases.columns)}
        for a, b in combinations(range(len(self.phases.columns)), 2):
            columns[f"{self.phases.columns[a]}_{self.phases.columns[b]}_faces"] = self.faces[:, a, b]
        return columns

    def take(self, rows: NDArray[Any]) -> MineralTable:
        """Give some rows, by numbers or a mask."""
        kept = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "phases"}
        return MineralTable(phases=self.phases, **kept)


def liberation_class(share: Floats) -> NDArray[np.str_]:
    """Name the class of particles by the share of a mineral in them.

    >>> liberation_class(np.array([1.0, 0.9, 0.5, 0.1])).tolist()
    ['liberated', 'liberated', 'middling', 'locked']
    """
    # Reached but for the rounding of a sum is reached.
    return np.array(CLASSES)[len(CLASS_LIMITS) - np.searchsorted(CLASS_LIMITS[::-1], share + 1e-9, side="right")]


def mineral_table(
    sums: MineralSums,
    unmixed: Unmixed,
    grains: tuple[NDArray[np.int64], NDArray[np.int64]],
    phases: PhaseList,
    spacing_mm: tuple[float, float, float],
) -> MineralTable:
    """Turn sums into the table.

    Args:
        sums: of all particles.
        unmixed: of the same.
        grains: (n, phases) number of grains, and voxels of the largest.
        phases: the phases.
        spacing_mm: voxel size along z, y, x.
    """
    voxel = float(np.prod(spacing_mm))
    solid = 1 - unmixed.shares[:, :1]
    with np.errstate(invalid="ignore", divide="ignore"):
        shares, errors = unmixed.shares[:, 1:] / solid, unmixed.errors[:, 1:] / solid
    area = sums.crossings @ direction_factors(spacing_mm)
    # Steps along one axis, either way: these are voxel faces.
    along_axes = np.abs(STEPS).sum(axis=1) == 1
    return MineralTable(
        phases=phases,
        label=np.arange(1, len(sums.surface) + 1, dtype=np.uint64),
        volume_mm3=sums.histogram.sum(axis=1) * voxel,
        void_share=unmixed.shares[:, 0],
        shares=shares,
        errors=np.minimum(errors, 1.0),
        exposure=area / np.maximum(area.sum(axis=1, keepdims=True), 1e-300),
        grains=grains[0],
        largest_grain_mm=np.cbrt(6 / np.pi * grains[1] * voxel),
        faces=sums.faces.astype(np.int64),
        free_faces=sums.crossings[:, :, along_axes].sum(axis=2).astype(np.int64),
    )


def table_of(columns: Mapping[str, NDArray[Any]], phases: PhaseList) -> MineralTable:
    """Put a table together from the columns that :meth:`MineralTable.columns` gave.

    Raises:
        KeyError: if a column is missing.
    """
    names, classes = phases.columns[1:], phases.columns
    label = columns["label"].astype(np.uint64)
    faces = np.zeros((len(label), len(classes), len(classes)), np.int64)
    for a, b in combinations(range(len(classes)), 2):
        faces[:, a, b] = columns[f"{classes[a]}_{classes[b]}_faces"]

    def together(ending: str, some: tuple[str, ...] = names) -> NDArray[Any]:
        return np.stack([columns[f"{name}_{ending}"] for name in some], axis=1)

    return MineralTable(
        phases=phases,
        label=label,
        volume_mm3=columns["volume_mm3"],
        void_share=columns["void_share"],
        shares=together("share"),
        errors=together("share_error"),
        exposure=together("exposure", classes),
        grains=together("grains").astype(np.int64),
        largest_grain_mm=together("largest_grain_mm"),
        faces=faces,
        free_faces=together("free_faces", classes).astype(np.int64),
    )

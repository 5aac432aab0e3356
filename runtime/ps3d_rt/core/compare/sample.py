"""The particles of a sample: of one scan, or of several that are pooled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.distribution import below_limit, edge_weights
from ps3d_rt.core.grid import Zyx
from ps3d_rt.core.minerals.table import MineralTable
from ps3d_rt.core.sample_table import SampleTable
from ps3d_rt.errors import InputError

Floats = NDArray[np.float64]
SHAPES = ("elongation", "flatness", "sphericity")


@dataclass(frozen=True, kw_only=True, eq=False)
class ComparedSample:
    """The particles of a sample that count."""

    name: str
    weights: Floats
    """(n,) how many particles each stands for."""
    diameters_mm: Floats
    """(n,)"""
    volumes_mm3: Floats
    """(n,)"""
    shapes: Floats
    """(n, 3) :data:`SHAPES`; NaN for particles too small to have a shape."""
    minerals: tuple[str, ...] = ()
    mineral_mm3: Floats | None = None
    """(n, minerals) volumes; None without minerals."""
    densities: Floats | None = None
    """(minerals,) g/cm³, which is mg/mm³; None if they are not known."""

    @classmethod
    def from_scan(
        cls, name: str, table: SampleTable, shape: Zyx | None, minerals: MineralTable | None = None
    ) -> ComparedSample:
        """Take the particles of a scan.

        Args:
            name: of the sample.
            table: its particles.
            shape: of the volume, voxels z, y, x, to correct for its faces; None to take all particles as they are.
            minerals: of the same particles, if they are known.

        Raises:
            InputError: if no particle counts.
        """
        weights = np.ones(len(table)) if shape is None else edge_weights(table, shape)
        kept = weights > 0
        if not kept.any():
            raise InputError(f"{name} has no particle that touches no face of the volume; there is nothing to compare.")
        shapes = np.stack([getattr(table, column) for column in SHAPES], axis=1)
        shapes = np.where(below_limit(table.volume_voxels)[:, None], np.nan, shapes)
        return cls(
            name=name,
            weights=weights[kept],
            diameters_mm=table.equivalent_diameter_mm[kept],
            volumes_mm3=table.volume_mm3[kept],
            shapes=shapes[kept],
            minerals=() if minerals is None else minerals.phases.names,
            mineral_mm3=None if minerals is None else minerals.mineral_mm3[kept],
            densities=None if minerals is None else minerals.phases.densities,
        )

    @classmethod
    def pooled(cls, scans: Sequence[ComparedSample]) -> ComparedSample:
        """Put several scans of one sample together.

        Raises:
            InputError: if their minerals differ.
        """
        first = scans[0]
        if any(scan.minerals != first.minerals for scan in scans):
            raise InputError(f"the scans of {first.name} have different minerals; use one phases.json for all of them.")
        known = [scan.mineral_mm3 for scan in scans if scan.mineral_mm3 is not None]
        return cls(
            name=first.name,
            weights=np.concatenate([scan.weights for scan in scans]),
            diameters_mm=np.concatenate([scan.diameters_mm for scan in scans]),
            volumes_mm3=np.concatenate([scan.volumes_mm3 for scan in scans]),
            shapes=np.concatenate([scan.shapes for scan in scans]),
            minerals=first.minerals,
            mineral_mm3=np.concatenate(known) if known else None,
            densities=first.densities,
        )

    def __len__(self) -> int:
        return len(self.weights)

    def thinned(self, most: int, draw: np.random.Generator) -> ComparedSample:
        """Take an even choice of so many particles; all, if there are no more."""
        if len(self) <= most:
            return self
        rows = np.sort(draw.choice(len(self), most, replace=False))
        return replace(
            self,
            weights=self.weights[rows],
            diameters_mm=self.diameters_mm[rows],
            volumes_mm3=self.volumes_mm3[rows],
            shapes=self.shapes[rows],
            mineral_mm3=None if self.mineral_mm3 is None else self.mineral_mm3[rows],
        )

    @property
    def amounts(self) -> Floats:
        """(n, minerals) mass of each mineral, or volume if densities are not known; (n, 1) without minerals."""
        if self.mineral_mm3 is None:
            return self.volumes_mm3[:, None]
        return self.mineral_mm3 if self.densities is None else np.asarray(self.mineral_mm3 * self.densities)

    @property
    def shares(self) -> Floats:
        """(n, minerals) share of each mineral in a particle by volume; (n, 0) without minerals."""
        if self.mineral_mm3 is None:
            return np.zeros((len(self), 0))
        total = self.mineral_mm3.sum(axis=1, keepdims=True)
        return np.asarray(self.mineral_mm3 / np.maximum(total, 1e-300))

    @property
    def particle_densities(self) -> Floats | None:
        """(n,) g/cm³ of every particle, void included; None if densities are not known."""
        if self.mineral_mm3 is None or self.densities is None:
            return None
        return np.asarray(self.mineral_mm3 @ self.densities / np.maximum(self.volumes_mm3, 1e-300))

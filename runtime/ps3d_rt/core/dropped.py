"""The list of dropped particles: where each was, how large, and why it was dropped.

A dropped particle has no label. Its place is its first voxel in raster order, which the table of fragments holds.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.grid import Zyx
from ps3d_rt.core.particle_filter import Reason

MUCH = 0.01
"""Share of the foreground that may be dropped without a warning."""


@dataclass(frozen=True, eq=False)
class Census:
    """Everything that growth made, by its id in the volume; entry 0 means nothing. Sizes are those of the grid."""

    shape: Zyx
    """The volume, voxels."""
    volumes: NDArray[np.int64]
    """Voxels; 0 where there is no particle."""
    first_index: NDArray[np.int64]
    """Raster index of the first voxel; arbitrary where there is none."""
    scores: NDArray[np.int64] | None
    """Sum over its voxels of the score of foreground, percent; None without scores."""
    reasons: NDArray[np.uint8]
    """:class:`Reason` why it is dropped; 0 if it is kept."""
    numbers: NDArray[Any]
    """Final id, 1..N in raster order of the first voxels; 0 for what is dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DroppedParticles:
    """One row for each particle that was found and dropped, in raster order; the units are in the names.

    Every column is (n,).
    """

    reason: NDArray[np.str_]
    """:attr:`Reason.text`."""
    volume_voxels: NDArray[np.float64]
    """Of the scan; no whole number, because the volume was measured on the network's grid."""
    confidence: NDArray[np.float64]
    """Mean score of foreground, 0 to 1; NaN without scores."""
    z_voxels: NDArray[np.int64]
    """Voxel of the scan where the particle begins: its first in raster order, as in the next two."""
    y_voxels: NDArray[np.int64]
    x_voxels: NDArray[np.int64]
    z_mm: NDArray[np.float64]
    """Middle of that voxel, from the corner of the scan."""
    y_mm: NDArray[np.float64]
    x_mm: NDArray[np.float64]

    foreground_voxels: float
    """Volume of all that was found, dropped or not, in voxels of the scan; no column."""

    def __len__(self) -> int:
        return len(self.reason)

    @property
    def volume_share(self) -> float:
        """Share of the foreground that was dropped, 0 to 1."""
        return float(self.volume_voxels.sum()) / self.foreground_voxels if self.foreground_voxels else 0.0

    def warnings(self) -> list[str]:
        """Say so, in one sentence or two, if more than :data:`MUCH` of the foreground was dropped."""
        if self.volume_share <= MUCH:
            return []
        groups = sorted(self.facts()["by_reason"].items(), key=lambda group: -group[1]["volume_share"])
        why = ", ".join(f"{name}: {found['volume_share']:.1%}" for name, found in groups)
        return [
            f"{len(self)} particles with {self.volume_share:.1%} of the foreground were dropped ({why}). Look at some: "
            "dropped.parquet says where. If they are real, check the particle size and the spacing; a model trained on "
            "such samples is surer of them."
        ]

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the columns by name, in the order of the fields."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "foreground_voxels"}

    def facts(self) -> dict[str, Any]:
        """Count them for ``run.json``: all, and by reason."""
        groups = {}
        for reason in sorted(Reason)[1:]:
            chosen = self.reason == reason.text
            if chosen.any():
                share = float(self.volume_voxels[chosen].sum()) / self.foreground_voxels
                groups[reason.text] = {"particles": int(np.count_nonzero(chosen)), "volume_share": share}
        return {
            "particles": len(self),
            "volume_share": self.volume_share,
            "largest_voxels": float(self.volume_voxels.max(initial=0.0)),
            "by_reason": groups,
        }


def list_dropped(
    census: Census,
    id_map: NDArray[Any],
    *,
    zoom: tuple[float, float, float],
    source: Zyx,
    spacing_mm: tuple[float, float, float],
) -> DroppedParticles:
    """List what is not in the labels.

    Args:
        census: on the network's grid.
        id_map: (N + 1,) final id there → label on the scan's grid; 0 for particles that vanished between its voxels.
        zoom: the network's grid over the scan's, along z, y, x.
        source: the scan, voxels.
        spacing_mm: of the scan, along z, y, x.
    """
    reasons = census.reasons.copy()
    reasons[(census.numbers > 0) & (id_map[census.numbers] == 0)] = Reason.VANISHED_ON_SOURCE_GRID
    gone = np.flatnonzero(reasons)
    gone = gone[np.argsort(census.first_index[gone])]
    volumes = census.volumes[gone]
    grid = np.unravel_index(census.first_index[gone], census.shape)
    # The nearest voxel of the scan: voxel centres align.
    z, y, x = (
        np.clip(np.floor((at + 0.5) / f).astype(np.int64), 0, n - 1)
        for at, f, n in zip(grid, zoom, source, strict=True)
    )
    scores = np.full(gone.size, np.nan) if census.scores is None else census.scores[gone] / (100 * volumes)
    return DroppedParticles(
        reason=np.array([Reason(k).text for k in reasons[gone]], np.str_),
        volume_voxels=volumes / prod(zoom),
        confidence=scores,
        z_voxels=z,
        y_voxels=y,
        x_voxels=x,
        z_mm=(z + 0.5) * spacing_mm[0],
        y_mm=(y + 0.5) * spacing_mm[1],
        x_mm=(x + 0.5) * spacing_mm[2],
        foreground_voxels=float(census.volumes.sum()) / prod(zoom),
    )

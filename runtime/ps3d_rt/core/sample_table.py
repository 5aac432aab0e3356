"""The columns of a particle table, in memory or on disk, as statistics and reports read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ps3d_rt.core.measure import ParticleTable


NO_PARTICLES = (
    "No particle was found. Check the spacing and the particle size given, and look at the slices: "
    "the particles must be brighter than what surrounds them, or be called dark (--dark)."
)
"""Text of the warning of a run whose labels are empty."""


class SampleTable(Protocol):
    """Columns of a :class:`ps3d_rt.core.measure.ParticleTable`, (n,) each.

    One on disk reads a column whenever it is asked for and keeps none: ask once, and let go.
    """

    def __len__(self) -> int:
        """Count the particles."""

    def take(self, rows: NDArray[Any]) -> ParticleTable:
        """Return a table of some rows, (k,) numbers from 0, in their order."""

    @property
    def label(self) -> NDArray[np.uint64]: ...  # noqa: D102 - as in ParticleTable, all of them
    @property
    def volume_voxels(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def volume_mm3(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def equivalent_diameter_mm(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def sphericity(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def axis_middle_mm(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def axis_minor_mm(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def elongation(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def flatness(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def touches_edge(self) -> NDArray[np.bool_]: ...  # noqa: D102
    @property
    def gray_mean(self) -> NDArray[np.float64] | None: ...  # noqa: D102
    @property
    def merged_score(self) -> NDArray[np.float64] | None: ...  # noqa: D102
    @property
    def split_score(self) -> NDArray[np.float64] | None: ...  # noqa: D102
    @property
    def confidence(self) -> NDArray[np.float64] | None: ...  # noqa: D102

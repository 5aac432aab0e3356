"""What a reader must know before using the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ps3d_rt.core.measure import ParticleTable, size_distribution
from ps3d_rt.report.wording import count, percent, unit_for

FEW_PARTICLES = 100
"""Below this, less than ten particles lie under D10."""
MANY_AT_EDGE = 0.2
DETECTION_LIMIT_VOXELS = 3.0
"""Particles under about 3 voxels across are missed (Gotkowski et al., 2024)."""
SIZE_MISMATCH = 1.5
"""The network knows particles of one size; a stated size this far outside the two medians is worth correcting."""


def cautions(facts: Mapping[str, Any], table: ParticleTable) -> list[str]:
    """Sentences, most important first; the run's own ``warnings`` come last. Plain text, not escaped."""
    particles = len(table)
    found = [*_about_sizes(facts, table), *_about_counts(table)] if particles else [NO_PARTICLES]
    return found + [str(w) for w in facts.get("warnings") or ()]


NO_PARTICLES = (
    "No particle was found. Check the spacing and the particle size given, and look at the slices: "
    "the sample must be brighter than what surrounds it."
)


def _about_counts(table: ParticleTable) -> list[str]:
    particles, at_edge = len(table), int(np.count_nonzero(table.touches_edge))
    found = []
    if at_edge > MANY_AT_EDGE * particles:
        found.append(
            f"{percent(at_edge / particles)} of the particles touch the edge of the volume and are cut there: "
            "they look smaller than they are. A larger field of view helps."
        )
    if particles < FEW_PARTICLES:
        noun = "particle was found" if particles == 1 else "particles were found"
        found.append(f"Only {count(particles)} {noun}: D10 and D90 rest on a handful of them.")
    return found


def _about_sizes(facts: Mapping[str, Any], table: ParticleTable) -> list[str]:
    sizes, mean = size_distribution(table), float(np.mean(table.equivalent_diameter_mm))
    low, high = sizes.d50_by_number_mm / SIZE_MISMATCH, sizes.d50_by_volume_mm * SIZE_MISMATCH
    unit = unit_for(mean)
    found = []
    given = (facts.get("parameters") or {}).get("particle_size_mm")
    if isinstance(given, int | float) and not low <= given <= high:
        found.append(
            f"The particle size given is {unit.show(given)}, the particles found have a mean of {unit.show(mean)}. "
            f"The network works best near the size it was trained at: run again with --particle-size {mean:.3g}."
        )
    spacing_mm = float(np.median((table.volume_mm3 / table.volume_voxels) ** (1 / 3)))
    if sizes.d10_by_number_mm < DETECTION_LIMIT_VOXELS * spacing_mm:
        found.append(
            f"D10 by number is below {DETECTION_LIMIT_VOXELS:g} voxels, "
            f"{unit.show(DETECTION_LIMIT_VOXELS * spacing_mm)}: particles that small are missed, "
            "so the fine end of the distribution is uncertain."
        )
    return found

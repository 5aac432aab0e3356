"""What a reader must know before using the numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ps3d_rt.core.distribution import DETECTION_LIMIT_VOXELS
from ps3d_rt.core.sample_table import NO_PARTICLES, SampleTable
from ps3d_rt.core.size_trials import is_mismatch
from ps3d_rt.report.formatting import count, percent, unit_for

FEW_PARTICLES = 100
"""Below this, less than ten particles lie under D10."""
MANY_AT_EDGE = 0.2
MANY_AT_LIMIT = 0.1
"""So many particles at the detection limit, and D10 by number says nothing."""
LOW_CONFIDENCE = 0.85
"""Mean over the particles; the model that comes with ps3d-rt drops particles below 0.8."""


def find_warnings(facts: Mapping[str, Any], table: SampleTable, sizes: Mapping[str, Any]) -> list[str]:
    """Sentences, most important first; the run's own ``warnings`` come last. Plain text, not escaped.

    Args:
        facts: the content of ``run.json``.
        table: the particles.
        sizes: from :func:`ps3d_rt.core.distribution.size_facts`.
    """
    found = [*_about_sizes(facts, table, sizes), *_about_counts(table, sizes)] if len(table) else [NO_PARTICLES]
    return list(dict.fromkeys([*found, *(str(w) for w in facts.get("warnings") or ())]))


def _about_sizes(facts: Mapping[str, Any], table: SampleTable, sizes: Mapping[str, Any]) -> Iterator[str]:
    mean = float(np.mean(table.equivalent_diameter_mm))
    unit = unit_for(mean)
    given = (facts.get("parameters") or {}).get("particle_size_mm")
    if isinstance(given, int | float) and is_mismatch(given, mean):
        yield (
            f"The particle size given is {unit.show(given)}, the particles found have a mean of {unit.show(mean)}. "
            f"The network works best near the size it was trained at: run again with --particle-size {mean:.3g}."
        )
    confidence = table.confidence
    if confidence is not None and confidence.mean() < LOW_CONFIDENCE:
        yield (
            f"The network is unsure: its mean confidence is {confidence.mean():.2f}. "
            "Look at the slices; if particles are wrong there, the sample is unlike those it was trained on."
        )
    if sizes["below_limit"] > MANY_AT_LIMIT * sizes["particles"]:
        yield (
            f"{percent(sizes['below_limit'] / sizes['particles'])} of the particles are less than "
            f"{DETECTION_LIMIT_VOXELS} voxels across, {unit.show(sizes['detection_limit_mm'])}. Particles that small "
            "are mostly missed, so the fine end of the distribution is uncertain."
        )


def _about_counts(table: SampleTable, sizes: Mapping[str, Any]) -> Iterator[str]:
    particles, at_edge = len(table), int(np.count_nonzero(table.touches_edge))
    if at_edge > MANY_AT_EDGE * particles:
        how = (
            "They are left out of the size distribution, and the others count for them."
            if sizes["edge_correction"]
            else "They look smaller than they are."
        )
        yield (
            f"{percent(at_edge / particles)} of the particles touch a face of the volume, which may cut them. "
            f"{how} A larger field of view helps."
        )
    if particles < FEW_PARTICLES:
        noun = "particle was found" if particles == 1 else "particles were found"
        yield f"Only {count(particles)} {noun}: D10 and D90 rest on a handful of them."

"""What a person must know before using the numbers of a sample, and what to do about it.

Each caution is a sentence or two with its numbers and the cure. They are found once, when a run is done, go to the
screen and into ``run.json``, and the report shows them; for a sample without a run the report finds them itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ps3d_rt.core.distribution import DETECTION_LIMIT_VOXELS
from ps3d_rt.core.likeness import SCALES
from ps3d_rt.core.merge_scores import LISTED
from ps3d_rt.core.sample_table import NO_PARTICLES, SampleTable
from ps3d_rt.core.size_trials import SETTLED, is_mismatch

FEW_WHOLE = 100
"""Below this, less than ten particles lie under D10."""
MANY_AT_EDGE = 0.2
MANY_AT_LIMIT = 0.1
"""So many particles at the detection limit, and D10 by number says nothing."""
LOW_CONFIDENCE = 0.85
"""Mean over the particles; the model that comes with ps3d-rt drops particles below 0.8."""
SMALL_VOXELS = 12
"""Particles less than this across are found less well."""
MANY_SMALL = 0.5
WIDEST_SPAN = 10.0
"""Between the diameters that 1 and 99 % of the particles are finer than."""
NOISY = 0.4
"""Noise over contrast."""
MANY_DARK = 0.01
MANY_MERGED, MANY_SPLIT = 0.06, 0.15
"""Of particles that are single and whole, fewer are listed."""
FEW_FOR_ESTIMATE = 30
"""Whole particles; their mean diameter is then known to 10 % where sizes spread by half."""

SIZE_MISMATCH = "size mismatch"
UNLIKE = "unlike the training"


@dataclass(frozen=True, slots=True)
class Caution:
    """Something to know."""

    kind: str
    """Two words or three, the same for every sample."""
    text: str
    """For people, plain text."""


def find_cautions(facts: Mapping[str, Any], table: SampleTable, sizes: Mapping[str, Any]) -> list[Caution]:
    """Find what must be known of a sample, the most important first.

    Args:
        facts: the content of ``run.json``; what is not there is not judged.
        table: the particles.
        sizes: from :func:`ps3d_rt.core.distribution.size_facts`.
    """
    if not len(table):
        return [Caution("no particle", NO_PARTICLES)]
    diameters_mm = table.equivalent_diameter_mm
    return [
        *_about_the_size(facts, diameters_mm),
        *_about_likeness(facts),
        *_about_the_network(table),
        *_about_wholeness(table),
        *_about_the_gray_values(facts, table),
        *_about_small_ones(table, sizes),
        *_about_the_view(table, diameters_mm),
    ]


def _about_the_size(facts: Mapping[str, Any], diameters_mm: Any) -> Iterator[Caution]:
    mean = float(np.mean(diameters_mm))
    given = _part(facts, "parameters").get("particle_size_mm")
    if isinstance(given, int | float) and is_mismatch(given, mean):
        yield Caution(
            SIZE_MISMATCH,
            f"The particle size given is {_length(given)}, the particles found have a mean of {_length(mean)}. "
            f"The network works best near the size it was trained at: run again with --particle-size {mean:.3g}.",
        )
    trials = _part(facts, "particle_size").get("trials") or ()
    last = trials[-1] if trials else {}
    if not last or not last.get("found_mm"):
        return
    off = max(last["found_mm"] / last["assumed_mm"], last["assumed_mm"] / last["found_mm"])
    if last["particles"] < FEW_FOR_ESTIMATE or off > SETTLED:
        yield Caution(
            "size estimate unsure",
            f"The particle size was estimated from {last['particles']} whole particles, and the last two looks differ "
            f"by {off - 1:.0%}: it is unsure. Measure some on a slice and pass --particle-size with their mean "
            "diameter in mm.",
        )


def _about_likeness(facts: Mapping[str, Any]) -> Iterator[Caution]:
    likeness = _part(facts, "likeness")
    if not likeness.get("unlike"):
        return
    values = _part(likeness, "statistics")
    apart = [
        f"{SCALES[name][1]} {values[name]:.2g} (in training {low:.2g} to {high:.2g})"
        for name, (low, high) in _part(likeness, "apart").items()
        if name in SCALES and name in values
    ]
    yield Caution(
        UNLIKE,
        "This scan is unlike those that the model was trained on: "
        f"{', '.join(apart) or 'its noise, contrasts and sizes do not go together as theirs do'}. Look at the slices; "
        "if particles are wrong there, let the scan teach the model (ps3d-rt train adapt), or correct a few patches of "
        "it (ps3d-rt train update).",
    )


def _about_the_network(table: SampleTable) -> Iterator[Caution]:
    confidence = table.confidence
    if confidence is not None and confidence.mean() < LOW_CONFIDENCE:
        yield Caution(
            "low confidence",
            f"The network is unsure: its mean confidence is {confidence.mean():.2f}. "
            "Look at the slices; if particles are wrong there, the sample is unlike those it was trained on.",
        )


def _about_wholeness(table: SampleTable) -> Iterator[Caution]:
    lists = (
        ("possibly merged", table.merged_score, "merged_score", "like two or more in one", MANY_MERGED),
        ("possibly split", table.split_score, "split_score", "like parts of larger ones", MANY_SPLIT),
    )
    for kind, scores, column, what, many in lists:
        count = 0 if scores is None else int(np.count_nonzero(scores >= LISTED))
        if count > many * len(table):
            yield Caution(
                kind,
                f"{count} of {len(table)} particles are {kind}: they look {what} ({column} of {LISTED} or more). Look "
                "at them in the report and on the slices; if they are, try another --particle-size or smaller voxels.",
            )


def _about_the_gray_values(facts: Mapping[str, Any], table: SampleTable) -> Iterator[Caution]:
    gray = _part(facts, "gray")
    noise, contrast, embedding = (gray.get(name) for name in ("noise", "contrast", "embedding"))
    if noise and contrast and noise > NOISY * contrast:
        yield Caution(
            "noise",
            f"The noise is {noise / contrast:.0%} of the contrast of the darker particles: small ones and borders are "
            f"uncertain. Scan longer, or average neighbouring voxels before.",
        )
    means = table.gray_mean
    if embedding is None or means is None:
        return
    wrong = means > embedding if gray.get("dark") else means < embedding
    count = int(np.count_nonzero(wrong))
    if count > MANY_DARK * len(table):
        than, cure = ("brighter", "leave out --dark") if gray.get("dark") else ("darker", "run again with --dark")
        yield Caution(
            "wrong side of the embedding",
            f"{count} of {len(table)} particles are {than} than what surrounds them (gray value {embedding:.5g}): more "
            f"likely pores, shadows or noise than grains. Sort the table by gray_mean to see them; if they are the "
            f"grains, {cure}.",
        )


def _about_small_ones(table: SampleTable, sizes: Mapping[str, Any]) -> Iterator[Caution]:
    if sizes["below_limit"] > MANY_AT_LIMIT * sizes["particles"]:
        yield Caution(
            "below detection limit",
            f"{sizes['below_limit'] / sizes['particles']:.0%} of the particles are less than "
            f"{DETECTION_LIMIT_VOXELS} voxels across, {_length(sizes['detection_limit_mm'])}. Particles that small "
            "are mostly missed, so the fine end of the distribution is uncertain: scan with smaller voxels.",
        )
    small = float(np.mean(np.cbrt(6 / np.pi * table.volume_voxels) < SMALL_VOXELS))
    if small > MANY_SMALL:
        yield Caution(
            "few voxels",
            f"{small:.0%} of the particles are less than {SMALL_VOXELS} voxels across. Such particles are merged and "
            "missed more often (F1_instance 0.73 on simulated samples): scan with smaller voxels, or rely on the "
            "coarse end only.",
        )


def _about_the_view(table: SampleTable, diameters_mm: Any) -> Iterator[Caution]:
    particles, at_edge = len(table), int(np.count_nonzero(table.touches_edge))
    low, high = np.quantile(diameters_mm, (0.01, 0.99))
    if high > WIDEST_SPAN * low:
        yield Caution(
            "sizes over 10:1",
            f"The sizes span {high / low:.0f} to 1, from {_length(low)} to {_length(high)}. One run looks at all of "
            "them at one scale: beyond 10 to 1 the largest may be cut up and the smallest missed. Run again with "
            f"--particle-size {high / 2:.3g} for the coarse ones and compare, or sieve the sample before the scan.",
        )
    if at_edge > MANY_AT_EDGE * particles:
        yield Caution(
            "many at the boundary",
            f"{at_edge / particles:.0%} of the particles touch the boundary of the volume, which may cut them. The "
            "size distribution leaves them out and lets the others count for them, unless --no-edge-correction is "
            "given. A larger field of view helps.",
        )
    if particles - at_edge < FEW_WHOLE:
        whole = particles - at_edge
        noun = "whole particle lies" if whole == 1 else "whole particles lie"
        yield Caution(
            "few whole particles",
            f"Only {whole} {noun} in the field of view: D10 and D90 rest on a handful of them. Scan a larger field of "
            "view, or several, and look at the intervals.",
        )


def _part(facts: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = facts.get(key)
    return value if isinstance(value, Mapping) else {}


def _length(length_mm: float) -> str:
    return f"{length_mm * 1000:.3g} µm" if length_mm < 1 else f"{length_mm:.3g} mm"

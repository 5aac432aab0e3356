"""Are the minerals of particles found? Simulated scans by physics, whose mineral is known voxel by voxel.

    python benchmarks/minerals.py [--seed 880000]

Labels are the true ones, so that no network stands between. Ranges of the phases are set as a person does who clicks on
spots deep in grains: midway between the medians there. Beside it, thresholds at the same values without any step for
shared voxels; and the same with ranges that `auto:N` proposed. Truth is the mineral that takes most of a voxel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from ps3d_bench.environment import write_result
from ps3d_bench.script import result_head, run_script, script_parser
from ps3d_rt.core.arrays import Array
from ps3d_rt.core.measure import measure
from ps3d_rt.core.minerals.phases import AnchoredScale, Phase, PhaseList
from ps3d_rt.core.minerals.sample import LIBERATION, MineralSample, statistics_of
from ps3d_rt.core.minerals.table import MineralTable
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import ArrayVolume
from ps3d_rt.mineralogy.measured import scale_of_volume
from ps3d_rt.stages.minerals import MineralSource, find_minerals, propose_phases
from ps3d_training.synth.physics import PhysicsSpec, ScanSettings, make_physics_sample
from ps3d_training.synth.sample import SimulatedSample
from ps3d_training.synth.spec import SampleSpec

PAIRS = {
    "far": (("quartz", 0.6), ("pyrite", 0.4)),
    "close": (("quartz", 0.6), ("dolomite", 0.4)),
    "three": (("quartz", 0.5), ("pyrite", 0.35), ("galena", 0.15)),
}
SIDES = {12: 96, 24: 128, 60: 176}
"""Of a sample, voxels, by the mean diameter of its particles."""
NOISES = (0.05, 0.15, 0.33)
"""Over the contrast of the darkest mineral."""
DATA = "simulated: scans by physics, half of the grains of two minerals; no model was trained on them"


class Truth(NamedTuple):
    shares: Array
    """(particles, minerals)"""
    exposure: Array
    """(particles, minerals) share of the voxel faces at the surface."""


def main(arguments: Sequence[str]) -> None:
    parser = script_parser(__file__, __doc__)
    parser.add_argument("--seed", type=int, default=880_000, help="of the first sample; the next ones count up")
    options = parser.parse_args(arguments)
    cells = [(pair, size, noise) for pair in PAIRS for size in SIDES for noise in NOISES]
    rows = []
    for number, cell in enumerate(cells):
        rows.append(row(*cell, seed=options.seed + number))
        print(rows[-1], flush=True)
    head = result_head(__file__, arguments, DATA)
    write_result(options.out, {**head, "seed": options.seed, "summary": summary(rows), "rows": rows})
    print(as_table(rows))


def spec_of(pair: str, size: int, noise: float, seed: int) -> PhysicsSpec:
    side = SIDES[size]
    grains = SampleSpec(
        seed=seed,
        shape=(side, side, side),
        particle_size_voxels=size,
        size_spread=0.25,
        fill=0.25,
        touching=0.2,
        spacing_mm=round(4 / side, 5),
        spacers=0.0,
        bubbles=0.005,
        cracks=0.05,
    )
    scan = ScanSettings(views=round(1.5 * side), noise=noise, hardening_correction=1.0)
    return PhysicsSpec(grains=grains, material=pair, minerals=PAIRS[pair], liberated=0.5, embedding="epoxy", scan=scan)


def row(pair: str, size: int, noise: float, *, seed: int) -> dict[str, Any]:
    """Errors in one sample, in percent of a particle or of all of them."""
    sample = make_physics_sample(spec_of(pair, size, noise, seed))
    names = [name for name, _ in PAIRS[pair]]
    labels, truth = sample.labels, truth_of(sample, names)
    scale = scale_of_volume(ArrayVolume(sample.image, spacing_mm=1.0), "gray", None)
    peaks = picked_peaks(sample, names, scale)
    source = MineralSource(
        labels=ArrayVolume(labels, spacing_mm=1.0),
        scan=ArrayVolume(sample.image, spacing_mm=1.0),
        particles=int(labels.max()),
        spacing_mm=(1.0, 1.0, 1.0),
        scale=scale,
    )
    found = find_minerals(source, phases_at(peaks, names)).table
    particles, shape = measure(labels, (1.0, 1.0, 1.0)), labels.shape
    whole = MineralSample.from_table(found, particles, None)
    interval = statistics_of(whole)
    true_bulk = bulk(truth.shares, found.volume_mm3)
    held = (interval.low["volume_share"] <= true_bulk) & (true_bulk <= interval.high["volume_share"])
    error = np.abs(np.nan_to_num(found.shares) - truth.shares)
    plain = by_threshold(sample, peaks, scale)
    return {
        "minerals": pair,
        "size_voxels": size,
        "noise": noise,
        "seed": seed,
        "particles": len(found),
        "shape": shape,
        "least_gap_in_noise": round(float(np.diff(peaks, prepend=0)[1:].min() / scale.noise), 1),
        "bulk_error": percent(np.abs(bulk(np.nan_to_num(found.shares), found.volume_mm3) - true_bulk).max()),
        "bulk_error_threshold": percent(np.abs(bulk(plain, found.volume_mm3) - true_bulk).max()),
        "bulk_error_auto": auto_error(source, len(names), true_bulk),
        "particle_error_median": percent(np.median(error.max(axis=1))),
        "particle_error_p90": percent(np.quantile(error.max(axis=1), 0.9)),
        "particle_error_median_threshold": percent(np.median(np.abs(plain - truth.shares).max(axis=1))),
        "liberation_error_mean": percent(liberation_errors(found, truth).mean()),
        "liberation_error_largest": percent(liberation_errors(found, truth).max()),
        "liberation_error_mean_threshold": percent(curve_errors(plain, truth.shares, found.volume_mm3).mean()),
        "exposure_error_median": percent(np.median(np.abs(found.surface_shares - truth.exposure).max(axis=1))),
        "particle_intervals_hold": percent((error <= 1.96 * np.nan_to_num(found.errors) + 0.005).mean()),
        "composition_intervals_hold": percent(held.mean()),
    }


def percent(share: float) -> float:
    return round(100 * float(share), 2)


def truth_of(sample: SimulatedSample, names: Sequence[str]) -> Truth:
    """Shares and exposure by the mineral that takes most of every voxel."""
    assert sample.phases is not None
    numbers = [sample.materials.index(name) for name in names]
    count = int(sample.labels.max())
    shares = np.stack([np.bincount(sample.labels[sample.phases == k], minlength=count + 1)[1:] for k in numbers], 1)
    labels, phases = np.pad(sample.labels, 1), np.pad(sample.phases, 1)
    faces = np.zeros((count + 1, len(names)))
    for axis in range(3):
        for way in (-1, 1):
            out = (labels > 0) & (np.roll(labels, way, axis) != labels)
            for column, k in enumerate(numbers):
                faces[:, column] += np.bincount(labels[out & (phases == k)], minlength=count + 1)
    return Truth(shares / np.maximum(shares.sum(1, keepdims=True), 1), normalized(faces[1:]))


def normalized(amounts: Array) -> Array:
    return np.asarray(amounts / np.maximum(amounts.sum(axis=1, keepdims=True), 1))


def picked_peaks(sample: SimulatedSample, names: Sequence[str], scale: AnchoredScale) -> Array:
    """Median value of spots deep in grains of each mineral."""
    assert sample.phases is not None
    peaks = []
    for name in names:
        deep = ndimage.binary_erosion(sample.phases == sample.materials.index(name), iterations=2)
        peaks.append(float(np.median(scale.of(sample.image[deep]))))
    return np.array(peaks)


def limits_at(peaks: Array) -> Array:
    return np.concatenate([[peaks[0] / 2], (peaks[1:] + peaks[:-1]) / 2, [1.5 * peaks[-1]]])


def phases_at(peaks: Array, names: Sequence[str]) -> PhaseList:
    ends = limits_at(peaks).tolist()
    return PhaseList(tuple(Phase(name, low, high) for name, low, high in zip(names, ends, ends[1:], strict=False)))


def by_threshold(sample: SimulatedSample, peaks: Array, scale: AnchoredScale) -> Array:
    """Shares by the range that a voxel's own value lies in; what is darker than all counts to the darkest."""
    classes = np.digitize(scale.of(sample.image), limits_at(peaks)[1:-1])
    count = int(sample.labels.max())
    shares = [np.bincount(sample.labels[classes == k], minlength=count + 1)[1:] for k in range(len(peaks))]
    return normalized(np.stack(shares, axis=1))


def bulk(shares: Array, volumes: Array) -> Array:
    total = (shares * volumes[:, None]).sum(axis=0)
    return np.asarray(total / total.sum())


def curve_errors(shares: Array, true: Array, volumes: Array) -> Array:
    """(minerals, limits) absolute errors of the liberation curve by volume."""
    return np.asarray(np.abs(liberation(shares, volumes) - liberation(true, volumes)))


def liberation(shares: Array, volumes: Array) -> Array:
    amounts = shares * volumes[:, None]
    reached = [[amounts[shares[:, k] >= limit, k].sum() for limit in LIBERATION] for k in range(shares.shape[1])]
    return np.asarray(np.array(reached) / np.maximum(amounts.sum(axis=0), 1e-12)[:, None])


def liberation_errors(found: MineralTable, truth: Truth) -> Array:
    return curve_errors(np.nan_to_num(found.shares), truth.shares, found.volume_mm3)


def auto_error(source: MineralSource, count: int, true_bulk: Array) -> float | None:
    """Error of the bulk with proposed phases; None if another number of phases is proposed."""
    try:
        phases = propose_phases(source, count, "gray")
        if len(phases.phases) != count:
            return None
        found = find_minerals(source, phases).table
    except InputError:
        return None
    return percent(np.abs(bulk(np.nan_to_num(found.shares), found.volume_mm3) - true_bulk).max())


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Sum up the cells whose peaks are more than 2 noise deviations apart, and those of 24 voxels."""
    apart = [r for r in rows if r["least_gap_in_noise"] > 2]
    middle = [r for r in rows if r["size_voxels"] == 24]
    return {
        "bulk_error_largest": max(r["bulk_error"] for r in apart),
        "bulk_within_2_points": f"{sum(r['bulk_error'] <= 2 for r in apart)} of {len(apart)}",
        "particle_error_median_at_24_largest": max(r["particle_error_median"] for r in middle),
        "liberation_within_3_points_mean": f"{sum(r['liberation_error_mean'] <= 3 for r in apart)} of {len(apart)}",
        "particle_intervals_hold_mean": round(float(np.mean([r["particle_intervals_hold"] for r in rows])), 1),
        "composition_intervals_hold_mean": round(float(np.mean([r["composition_intervals_hold"] for r in rows])), 1),
        "bulk_error_mean": round(float(np.mean([r["bulk_error"] for r in apart])), 2),
        "bulk_error_threshold_mean": round(float(np.mean([r["bulk_error_threshold"] for r in apart])), 2),
        "auto_found_as_many": f"{sum(r['bulk_error_auto'] is not None for r in rows)} of {len(rows)}",
    }


def as_table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown, a row a sample."""
    head = "| minerals | voxels | noise | gap | bulk (thresholds) | particle median (thresholds) | liberation | held |"
    lines = [head, "|---|--:|--:|--:|--:|--:|--:|--:|"]
    for r in rows:
        lines.append(
            f"| {r['minerals']} | {r['size_voxels']} | {r['noise']} | {r['least_gap_in_noise']} "
            f"| {r['bulk_error']} ({r['bulk_error_threshold']}) "
            f"| {r['particle_error_median']} ({r['particle_error_median_threshold']}) "
            f"| {r['liberation_error_mean']} | {r['particle_intervals_hold']} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    run_script(main)

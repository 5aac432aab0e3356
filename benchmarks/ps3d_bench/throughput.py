"""How long a scan takes, end to end, at several particle sizes: ``ps3d-rt synth`` makes them, ``ps3d-rt predict`` runs.

Both run as a user runs them, a process each, so nothing is warm and peak memory is that of one run. Beside the scan of
the shape asked for, one of half its sides is run for the particles that fit it: with one shape only, the fit could not
tell what every run costs from what every voxel costs.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from statistics import median
from typing import Any, cast

import numpy as np

from ps3d_bench.command import run_command
from ps3d_bench.fit import Fit, Work, fit, total, work_of
from ps3d_bench.samples import generator_hash
from ps3d_rt.core.grid import Zyx

FIRST_SEED = 910_000
"""Of the scans; no model is trained on seeds from here on."""
SPACING_MM = 0.01
LARGE_SHAPE: Zyx = (997, 1256, 1256)
"""The scan that the published method's times are given for."""
PUBLISHED_HOURS = {120: 1 / 3, 60: 2.0, 50: 5.0, 40: 10.0}
"""Particle size in voxels → hours for that scan on an A100, as published: another, larger network that sees particles
at 60 voxels, in 40 passes a window. It says what a user waited for, not how fast our code is."""
GROWTH_SIZE = 60
"""Particles of the scans that show how seconds grow with voxels."""
SMALLEST_SIDE_IN_PARTICLES = 2
"""A scan holds at least so many particles in a row, or it is left out."""


@dataclass(frozen=True)
class SimulatedScan:
    """A synthetic scan on disk."""

    path: Path
    shape: Zyx
    particle_size_voxels: float


def scans(cache: Path, shape: Zyx, sizes: Sequence[int]) -> Iterator[SimulatedScan]:
    """Make the scans that ``cache`` does not hold yet, one at a time: ``shape``, and half its sides."""
    half = cast(Zyx, tuple(n // 2 for n in shape))
    for size in sizes:
        for sides in (shape, half):
            if sides == shape or min(half) >= SMALLEST_SIDE_IN_PARTICLES * size:
                yield _scan(cache, sides, size)


def _scan(cache: Path, shape: Zyx, size: int) -> SimulatedScan:
    text, seed = ",".join(map(str, shape)), FIRST_SEED + size
    folder = cache / f"throughput-{text.replace(',', 'x')}-{generator_hash()[:12]}"
    # In a process of its own: this one has to stay small, see ps3d_bench/command.py.
    run_command("synth", folder, "--seed", seed, "--shape", text, "--particle-size", size)
    return SimulatedScan(folder / "images" / f"synth_{seed}.zarr", shape, size)


def measure(scan: SimulatedScan, repeats: int, options: Sequence[str] = ()) -> dict[str, Any]:
    """Run ``ps3d-rt predict`` on a scan several times.

    Args:
        scan: what to segment; it is told its nominal particle size.
        repeats: runs; every figure is the median of them, the peak their largest.
        options: more options of ``predict``.
    """
    seconds: list[float] = []
    peaks: list[int | None] = []
    reports: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(repeats):
            out = Path(folder) / str(number)
            size_mm = scan.particle_size_voxels * SPACING_MM
            sizes = ("--particle-size", f"{size_mm:.6g}", "--spacing", SPACING_MM)
            run_seconds, peak_bytes = run_command("predict", scan.path, out, *sizes, *options)
            seconds.append(run_seconds)
            peaks.append(peak_bytes)
            reports.append(json.loads((out / "run.json").read_text(encoding="utf-8")))
            shutil.rmtree(out)
    last = reports[-1]
    names = [name for name in last["seconds"] if name != "all"]
    stages = {name: median(report["seconds"][name] for report in reports) for name in names}
    wall = median(seconds)
    known = [peak for peak in peaks if peak is not None]
    return {
        "particle_size_voxels": scan.particle_size_voxels,
        "shape": scan.shape,
        "normalized_shape": last["parameters"]["normalized_shape"],
        "zoom": last["parameters"]["zoom"][0],
        "overlap": last["parameters"]["overlap"],
        "particles": last["particles"],
        "patches": last["patches"],
        "engine": last["engine"],
        "model": last["model"],
        "seconds_median": round(wall, 3),
        "seconds": [round(value, 3) for value in seconds],
        "stages_seconds": {name: round(value, 3) for name, value in stages.items()},
        "engine_seconds": round(median(report["engine_seconds"] for report in reports), 3),
        "other_seconds": round(wall - sum(stages.values()), 3),
        "peak_rss_mib": round(max(known) / 2**20) if len(known) == len(peaks) else None,
        "mvoxels_per_s": round(prod(scan.shape) / wall / 1e6, 3),
    }


def extrapolate(rows: Sequence[dict[str, Any]], shape: Zyx = LARGE_SHAPE) -> dict[str, Any]:
    """Fit the runs and evaluate the fit for a scan of ``shape`` at every particle size.

    Patches are taken to be skipped as often as in the run of the same size and the largest shape.
    """
    works = [_work(row) for row in rows]
    stages = {name: fit(works, [row["stages_seconds"].get(name, 0.0) for row in rows]) for name in _stage_names(rows)}
    stages["other"] = fit(works, [row["other_seconds"] for row in rows])
    found = total(stages.values())
    largest = {row["particle_size_voxels"]: row for row in sorted(rows, key=lambda row: prod(row["shape"]))}
    return {
        "line": "seconds = a + b * patches + c * source voxels + d * normalized voxels; a, b, c, d >= 0",
        "fit": asdict(found),
        "fit_of_stages": {name: asdict(line) for name, line in stages.items()},
        "largest_relative_error": found.largest_relative_error(works, [row["seconds_median"] for row in rows]),
        "shape": shape,
        "voxels_over_measured": round(prod(shape) / max(prod(row["shape"]) for row in rows), 1),
        "sizes": [_at(found, row, shape) for row in largest.values()],
    }


def growth_scans(cache: Path, sides: Sequence[int], size: int) -> Iterator[SimulatedScan]:
    """Make cubes of one particle size, one at a time, from the smallest."""
    for side in sorted(sides):
        yield _scan(cache, (side, side, side), size)


def slope(rows: Sequence[dict[str, Any]]) -> float:
    """Give the exponent with which seconds grow with voxels: of the line through the runs, both in logarithms.

    >>> slope([{"shape": (64,) * 3, "seconds_median": 2.0}, {"shape": (128,) * 3, "seconds_median": 16.0}])
    1.0
    """
    voxels, seconds = [prod(row["shape"]) for row in rows], [row["seconds_median"] for row in rows]
    return round(float(np.polyfit(np.log(voxels), np.log(seconds), 1)[0]), 3)


def _stage_names(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Name the stages of all runs once, in their order."""
    return list(dict.fromkeys(name for row in rows for name in row["stages_seconds"]))


def _work(row: dict[str, Any]) -> Work:
    return Work(row["patches"]["computed"], prod(row["shape"]), prod(row["normalized_shape"]))


def _at(found: Fit, row: dict[str, Any], shape: Zyx) -> dict[str, Any]:
    share = row["patches"]["computed"] / row["patches"]["planned"]
    patch = cast(Zyx, tuple(row["engine"]["patch"]))
    work = work_of(shape, row["zoom"], patch, row["overlap"], share)
    size = row["particle_size_voxels"]
    hours = PUBLISHED_HOURS.get(size) if shape == LARGE_SHAPE else None
    return {
        "particle_size_voxels": size,
        **asdict(work),
        "minutes": round(found.seconds(work) / 60, 2),
        "published_minutes_a100": None if hours is None else round(60 * hours),
    }


def as_table(content: dict[str, Any]) -> str:
    """Runs, and the fit evaluated, as two Markdown tables."""
    rows = content["runs"]
    names = _stage_names(rows)
    heads = ["voxels across", "shape", "patches", "skipped", *names, "other", "seconds", "Mvoxel/s", "peak MiB"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "--:|" * len(heads)]
    for row in rows:
        stages = [f"{row['stages_seconds'].get(name, 0):.2f}" for name in names]
        first = [row["particle_size_voxels"], "×".join(map(str, row["shape"])), row["patches"]["planned"]]
        last = [f"{row['seconds_median']:.2f}", f"{row['mvoxels_per_s']:.2f}", row["peak_rss_mib"] or "–"]
        cells = [*first, row["patches"]["skipped"], *stages, f"{row['other_seconds']:.2f}", *last]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    far = content["extrapolation"]
    found, shape = far["fit"], "×".join(map(str, far["shape"]))
    lines += [
        "",
        f"seconds = {found['seconds_a_run']:.2f} + {found['seconds_a_patch']:.4f} · patches "
        f"+ {found['seconds_a_source_voxel'] * 1e6:.4f} · source Mvoxel "
        f"+ {found['seconds_a_normalized_voxel'] * 1e6:.4f} · normalized Mvoxel "
        f"(within {far['largest_relative_error']:.0%} of every run above)",
        "",
        f"What it says for {shape}, {far['voxels_over_measured']:g} times what was measured:",
        "",
        "| voxels across | patches | minutes | published, A100, minutes |",
        "|--:|--:|--:|--:|",
    ]
    for size in far["sizes"]:
        published = size["published_minutes_a100"] or "–"
        lines.append(
            f"| {size['particle_size_voxels']} | {size['patches']:.0f} | {size['minutes']:.1f} | {published} |"
        )
    if "growth" in content:
        grown = content["growth"]
        lines += ["", "| shape | seconds | Mvoxel/s | peak MiB |", "|--:|--:|--:|--:|"]
        lines += [
            f"| {'×'.join(map(str, row['shape']))} | {row['seconds_median']:.2f} | {row['mvoxels_per_s']:.2f} "
            f"| {row['peak_rss_mib'] or '–'} |"
            for row in grown["runs"]
        ]
        lines += ["", f"seconds grow as voxels to the power {grown['log_log_slope']:.2f}"]
    lines += ["", "published: another, larger network on another machine; the same scan, not the same result."]
    return "\n".join(lines)

"""The throughput picture: seconds a run by stage, and minutes for the published scan, over the particle size."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

from ps3d_bench.throughput import PUBLISHED_HOURS


def draw(content: dict[str, Any], path: Path) -> None:
    """Draw the runs of the largest shape, and beside them what the fit predicts for a large scan.

    Args:
        content: what ``ps3d-rt bench throughput`` writes.
        path: picture to write; its ending (.svg, .png, …) says in which format.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra; a figure without pyplot opens no window

    largest = max(prod(row["shape"]) for row in content["runs"])
    rows = [row for row in content["runs"] if prod(row["shape"]) == largest]
    sizes = [f"{row['particle_size_voxels']:g}" for row in rows]
    figure = Figure(figsize=(12, 4), layout="constrained")
    axes, beside = figure.subplots(1, 2)
    floor = [0.0] * len(rows)
    for name in [*rows[0]["stages_seconds"], "other"]:
        seconds = [row["other_seconds"] if name == "other" else row["stages_seconds"].get(name, 0.0) for row in rows]
        axes.bar(sizes, seconds, bottom=floor, label=name)
        floor = [below + more for below, more in zip(floor, seconds, strict=True)]
    for at, row in enumerate(rows):
        text = f"{row['mvoxels_per_s']:.1f} Mvoxel/s"
        axes.annotate(text, (at, floor[at]), ha="center", va="bottom", fontsize=8)
    shape = " × ".join(map(str, rows[0]["shape"]))
    machine = content["machine"]
    axes.set_title(f"{shape} voxels on {machine['cpu']}, {machine['usable_cores']} cores", fontsize=10)
    axes.set_xlabel("mean particle diameter in the scan, voxels")
    axes.set_ylabel("seconds a run")
    axes.legend(fontsize=8)
    _extrapolated(beside, content["extrapolation"])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _extrapolated(axes: Any, far: dict[str, Any]) -> None:
    """Draw minutes over the particle size: what the fit says, and what was published for the same scan."""
    ours = [(size["particle_size_voxels"], size["minutes"]) for size in far["sizes"]]
    axes.plot(*zip(*sorted(ours), strict=True), marker="o", label="this machine, from the fit")
    theirs = [(size, 60 * hours) for size, hours in PUBLISHED_HOURS.items()]
    axes.plot(*zip(*sorted(theirs), strict=True), "s--", label="published, A100: another, larger network")
    axes.set_yscale("log")
    axes.set_title(f"{' × '.join(map(str, far['shape']))} voxels", fontsize=10)
    axes.set_xlabel("mean particle diameter in the scan, voxels")
    axes.set_ylabel("minutes")
    axes.legend(fontsize=8)

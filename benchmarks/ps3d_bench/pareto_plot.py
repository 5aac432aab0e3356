"""The picture of the Pareto study: F1_instance over speed; a line joins the points that no other beats."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def draw(content: dict[str, Any], path: Path) -> None:
    """Draw the result of ``benchmarks/pareto.py``.

    Args:
        content: what the script writes.
        path: picture to write; its ending (.svg, .png, …) says in which format.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra; a figure without pyplot opens no window

    points = content["points"]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, name in enumerate(dict.fromkeys(row["bundle"] for row in points)):
        for mirrored in (False, True):
            rows = [row for row in points if row["bundle"] == name and (row["passes"] > 1) == mirrored]
            if rows:
                label = f"{name}, {rows[0]['passes']} passes" if mirrored else name
                where = ([row["mvoxels_per_s"] for row in rows], [row["f1_instance"] for row in rows])
                axes.plot(*where, "s" if mirrored else "o", color=f"C{number}", label=label, alpha=0.75)
    front = sorted((row for row in points if row["on_front"]), key=lambda row: row["mvoxels_per_s"])
    axes.plot([row["mvoxels_per_s"] for row in front], [row["f1_instance"] for row in front], color="black", lw=0.8)
    for row in front:
        text = f"{row['target_size_voxels']:g} voxels, {row['overlap']:g}"
        axes.annotate(text, (row["mvoxels_per_s"], row["f1_instance"]), (3, 3), textcoords="offset points", fontsize=7)
    machine = content["machine"]
    axes.set_xscale("log")
    axes.set_xlabel("source Mvoxel/s, particles 60 voxels across")
    axes.set_ylabel("F1_instance")
    axes.set_title(f"simulated samples; {machine['cpu']}, {machine['usable_cores']} cores", fontsize=10)
    axes.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)

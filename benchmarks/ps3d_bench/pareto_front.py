"""What the points of the Pareto study say: which are worth their time, and what mirror images bring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

PUBLISHED_OVERLAP = 0.5
"""The published method averages over 8 mirror images at this overlap."""
TITLES = {
    "f1_instance": "F1_instance",
    "f1_match": "F1_match",
    "merger_ratio": "MergerRatio",
    "splitter_ratio": "SplitterRatio",
}

Row = dict[str, Any]


def mark_front(rows: Sequence[Row]) -> list[Row]:
    """Add ``on_front``: no other row is at least as fast and as accurate, and better in one of the two.

    >>> rows = [{"mvoxels_per_s": speed, "f1_instance": score} for speed, score in ((3, 0.8), (2, 0.9), (2, 0.7))]
    >>> [row["on_front"] for row in mark_front(rows)]
    [True, True, False]
    """

    def beaten(row: Row) -> bool:
        speed, score = row["mvoxels_per_s"], row["f1_instance"]
        as_good = (other for other in rows if other["mvoxels_per_s"] >= speed and other["f1_instance"] >= score)
        return any((other["mvoxels_per_s"], other["f1_instance"]) != (speed, score) for other in as_good)

    return [row | {"on_front": not beaten(row)} for row in rows]


def against_published(rows: Sequence[Row]) -> list[Row]:
    """Compare one pass at the bundle's own overlap with all mirror images at 0.5: a row for every bundle.

    Bundles of which one of the two was not measured are left out.
    """
    own = [row for row in rows if row["target_size_voxels"] == row["trained_at_voxels"]]
    one_pass = {row["bundle"]: row for row in own if row["passes"] == 1 and row["overlap"] == row["bundle_overlap"]}
    mirrored = {row["bundle"]: row for row in own if row["passes"] > 1 and row["overlap"] == PUBLISHED_OVERLAP}
    return [
        {
            "bundle": name,
            "overlap": one_pass[name]["overlap"],
            "passes": mirrored[name]["passes"],
            "f1_instance_lost": round(mirrored[name]["f1_instance"] - one_pass[name]["f1_instance"], 4),
            "times_as_fast": round(one_pass[name]["mvoxels_per_s"] / mirrored[name]["mvoxels_per_s"], 1),
        }
        for name in one_pass
        if name in mirrored
    ]


def as_text(content: Row) -> str:
    """The table of all points, fastest first, and what mirrors bring: Markdown."""
    heads = ["bundle", "width", "norm", "target size", "overlap", "passes", "Mvoxel/s", *TITLES.values(), "front"]
    lines = ["| " + " | ".join(heads) + " |", "|---|--:|---|" + "--:|" * 8 + "---|"]
    for row in sorted(content["points"], key=lambda row: -row["mvoxels_per_s"]):
        star = "" if row["target_size_voxels"] == row["trained_at_voxels"] else "*"
        cells = [row["bundle"], row["width"] or "–", row["norm"] or "–", f"{row['target_size_voxels']:g}{star}"]
        cells += [f"{row['overlap']:g}", row["passes"], f"{row['mvoxels_per_s']:.2f}"]
        cells += [f"{row[name]:.4f}" for name in TITLES]
        lines.append("| " + " | ".join(map(str, [*cells, "yes" if row["on_front"] else ""])) + " |")
    lines += ["", "A star marks a target size that the bundle was not trained at.", ""]
    for row in content["against_published"]:
        mirrored = f"{row['passes']} passes at {PUBLISHED_OVERLAP:g}"
        lines.append(
            f"{row['bundle']}: one pass at overlap {row['overlap']:g} loses {row['f1_instance_lost']:.4f} F1_instance "
            f"against {mirrored}; it is {row['times_as_fast']:g} times as fast."
        )
    return "\n".join(lines).rstrip()

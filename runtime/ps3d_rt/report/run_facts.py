"""The section that says what ran: the content of ``run.json``, and the time of every stage."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from markupsafe import Markup

from ps3d_rt.report.formatting import duration, fact, rate, title
from ps3d_rt.report.templates import render

ALL = "all"
"""The time from start to end, among those of the stages."""


def mapping(facts: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Give one part of the facts, empty if it is missing or something else."""
    value = facts.get(key)
    return value if isinstance(value, Mapping) else {}


def voxels(facts: Mapping[str, Any]) -> int | None:
    """Count the voxels of the scan."""
    shape = mapping(facts, "scan").get("shape")
    return prod(int(n) for n in shape) if shape else None


def run_section(facts: Mapping[str, Any]) -> Markup:
    """Write all parts as HTML."""
    parts = [
        (key.capitalize(), _rows(values, as_written=key == "versions"))
        for key in ("scan", "gray", "parameters", "engine", "model", "patches", "dropped", "versions")
        if (values := mapping(facts, key))
    ]
    return render("run.html", parts=parts, **_times(mapping(facts, "seconds"), voxels(facts)))


def _rows(values: Mapping[str, Any], *, as_written: bool) -> list[tuple[str, Markup, str]]:
    rows = []
    for key, value in values.items():
        name, unit = (str(key), "") if as_written else title(str(key))
        rows.append((name, fact(value, unit), "code" if "sha256" in str(key) else ""))
    return rows


def _times(seconds: Mapping[str, Any], voxels: int | None) -> dict[str, Any]:
    """Write the seconds of each stage and its share in percent; the rest is what no stage took."""
    stages = {str(k): float(v) for k, v in seconds.items() if k != ALL and isinstance(v, int | float)}
    spent = sum(stages.values())
    total = max(float(seconds.get(ALL, spent)), spent)
    if total - spent >= 0.01 * total > 0:
        stages["rest"] = total - spent
    return {
        "stages": [
            (title(stage)[0], duration(s), f"{100 * s / total if total > 0 else 0:.3g}") for stage, s in stages.items()
        ],
        "total": duration(total),
        "speed": rate(voxels / total) if voxels and total > 0 else "",
    }

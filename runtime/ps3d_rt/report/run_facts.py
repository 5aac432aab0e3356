"""The section that says what ran: the content of ``run.json``, and the time of every stage."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from ps3d_rt.report.formatting import duration, fact, rate, text, title

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


def run_section(facts: Mapping[str, Any]) -> str:
    """Write all parts as HTML."""
    shown = []
    for key in ("scan", "gray", "parameters", "engine", "model", "patches", "dropped", "versions"):
        if values := mapping(facts, key):
            rows = _rows(values, as_written=key == "versions")
            shown.append(f"<div><h3>{key.capitalize()}</h3><dl>{rows}</dl></div>")
    if seconds := mapping(facts, "seconds"):
        shown.append(_time(seconds, voxels(facts)))
    return "".join(shown) or '<p class="note">Nothing was recorded about this run.</p>'


def _rows(values: Mapping[str, Any], *, as_written: bool) -> str:
    rows = []
    for key, value in values.items():
        name, unit = (str(key), "") if as_written else title(str(key))
        css = ' class="code"' if "sha256" in str(key) else ""
        rows.append(f"<dt>{text(name)}</dt><dd{css}>{fact(value, unit)}</dd>")
    return "".join(rows)


def _time(seconds: Mapping[str, Any], voxels: int | None) -> str:
    """Seconds a stage with a bar for its share; what is left of the whole time is the rest."""
    stages = {str(k): float(v) for k, v in seconds.items() if k != ALL and isinstance(v, int | float)}
    spent = sum(stages.values())
    total = max(float(seconds.get(ALL, spent)), spent)
    if total - spent >= 0.01 * total > 0:
        stages["rest"] = total - spent
    rows = []
    for stage, duration_s in stages.items():
        share = 100 * duration_s / total if total > 0 else 0.0
        bar = f'<span class="share" style="width:{share:.3g}%"></span>'
        name = text(title(stage)[0])
        rows.append(f"<tr><th scope='row'>{name}</th><td>{duration(duration_s)}</td><td>{bar}</td></tr>")
    speed = rate(voxels / total) if voxels and total > 0 else ""
    last = f'<tr class="total"><th scope="row">Total</th><td>{duration(total)}</td><td>{speed}</td></tr>'
    return f'<div class="time"><h3>Time</h3><table>{"".join(rows)}{last}</table></div>'

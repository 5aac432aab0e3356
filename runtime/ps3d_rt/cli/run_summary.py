"""What a run has found, in some lines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ps3d_rt.cli.results import Row
from ps3d_rt.report.formatting import count, duration, number, percent, unit_for

_PERCENTILES = {"D50 by volume": "d50_by_volume", "P80 (D80 by volume)": "d80_by_volume"}


def run_facts(run: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Take from ``run.json`` what a script asks for first."""
    sizes = run.get("size_distribution") or {}
    lengths = {f"{name}{end}": sizes.get(f"{name}{end}") for name in _PERCENTILES.values() for end in _ENDS}
    return {
        "particles": run["particles"],
        "dropped": run["dropped"]["particles"],
        **{name: value for name, value in lengths.items() if value is not None},
        **({"unlike_training": likeness["unlike"]} if (likeness := run.get("likeness")) else {}),
        **({"minerals": run["minerals"]} if run.get("minerals") else {}),
        "warnings": list(run.get("warnings") or []),
        "seconds": run["seconds"]["all"],
        "output": out.as_posix(),
        "report": (out / "report.html").as_posix(),
    }


_ENDS = ("_mm", "_interval_mm")


def run_rows(run: Mapping[str, Any], out: Path) -> list[Row]:
    """Say the same to people."""
    dropped, warnings = run["dropped"], run.get("warnings") or []
    share = percent(dropped["volume_share"]) if dropped["volume_share"] >= 0.001 else "under 0.1 %"
    gone = f"{count(dropped['particles'])} dropped, {share} of the foreground"
    return [
        ("Particles", count(run["particles"]), gone if dropped["particles"] else "none dropped"),
        *_size_rows(run.get("size_distribution") or {}),
        *_mineral_rows(run.get("minerals") or {}),
        ("Warnings", str(len(warnings)) if warnings else "none", "look at them in the report" if warnings else ""),
        *_likeness_rows(run.get("likeness") or {}),
        ("Report", str(out / "report.html"), ""),
        ("Time", duration(run["seconds"]["all"]), ""),
    ]


def _likeness_rows(likeness: Mapping[str, Any]) -> list[Row]:
    if not likeness.get("unlike"):
        return []
    return [("Model", "the scan is unlike its training samples", "ps3d-rt train adapt, or train update")]


def _size_rows(sizes: Mapping[str, Any]) -> list[Row]:
    rows = []
    for title, name in _PERCENTILES.items():
        value, ends = sizes.get(f"{name}_mm"), sizes.get(f"{name}_interval_mm") or [None]
        if value is None:
            continue
        unit = unit_for(value)
        known = None not in ends
        between = (
            f"95 %: {number(ends[0] * unit.per_mm)} to {unit.show(ends[1])}"
            if known
            else "too few particles for an interval"
        )
        rows.append((title, unit.show(value), between))
    return rows


def _mineral_rows(minerals: Mapping[str, Any]) -> list[Row]:
    if "proposed" in minerals:
        return [("Phases", f"{len(minerals['proposed']['phases'])} proposed", "look at phases.json")]
    if "composition" not in minerals:
        return []
    by_share = sorted(minerals["composition"].items(), key=lambda entry: -float(entry[1]))
    return [("Minerals", ", ".join(f"{name} {percent(share)}" for name, share in by_share), "by volume")]

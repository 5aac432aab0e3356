"""What a run will take, in some lines."""

from __future__ import annotations

from typing import Any

from ps3d_rt.cli.results import Row
from ps3d_rt.engines.base import EngineSpec
from ps3d_rt.forecast import gpu_bytes, memory_bytes
from ps3d_rt.plan import PredictConfig, RunPlan
from ps3d_rt.report.formatting import count, duration, percent, unit_for

_SHOWN_SECONDS = 0.05
"""A stage is named if it takes this share of the time."""


def plan_facts(run: RunPlan, config: PredictConfig, spec: EngineSpec, bytes_per_voxel: int) -> dict[str, Any]:
    """Give a plan as JSON.

    Args:
        run: the plan.
        config: of the run.
        spec: of the engine.
        bytes_per_voxel: of the scan.
    """
    return {
        "particle_size_mm": config.particle_size_mm,
        "shape": run.source,
        "normalized_shape": run.shape,
        "patches": run.patches,
        "seam_factor": round(run.seam_factor, 3),
        "sweeps": len(run.sweeps),
        "chunks": len(run.chunks.boxes),
        "devices": run.devices,
        "particles": run.particles,
        "memory_budget_bytes": config.memory_bytes,
        "memory_bytes": memory_bytes(run, config, bytes_per_voxel),
        "gpu_memory_bytes": gpu_bytes(run, config, spec, bytes_per_voxel),
    }


def plan_rows(facts: dict[str, Any]) -> list[Row]:
    """Say the same to people; time and disk only after a trial."""
    size_mm, tried = facts["particle_size_mm"], "seconds" in facts
    skipped = f"{percent(facts['patches_skipped'])} of them without contrast" if tried else ""
    devices = ", ".join(facts["devices"])
    rows: list[Row] = [
        (
            "Scan",
            f"{' × '.join(map(str, facts['shape']))} voxels",
            f"resized to {' × '.join(map(str, facts['normalized_shape']))}",
        ),
        ("Particle size", unit_for(size_mm).show(size_mm), ""),
        ("Particles", f"{'about' if tried else 'at most'} {count(facts['particles'])}", ""),
        ("Patches", count(facts["patches"]), skipped),
        ("Memory", _gib(facts["memory_bytes"]), f"of {_gib(facts['memory_budget_bytes'])} allowed (--memory)"),
    ]
    if facts["gpu_memory_bytes"]:
        rows.append(("GPU memory", _gib(facts["gpu_memory_bytes"]), f"on {devices}"))
    if tried:
        rows += [
            ("Disk", _gib(facts["output_bytes"]), f"for the labels; {_gib(facts['work_bytes'])} while it runs"),
            ("Time", f"about {duration(facts['seconds']['all'])}", _longest(facts["seconds"])),
        ]
    return rows


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"


def _longest(seconds: dict[str, float]) -> str:
    """Name the stages that take most of the time."""
    stages = sorted((value, name) for name, value in seconds.items() if name != "all")
    return ", ".join(
        f"{name} {duration(value)}" for value, name in stages[:-4:-1] if value >= _SHOWN_SECONDS * seconds["all"]
    )

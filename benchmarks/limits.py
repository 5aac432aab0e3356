"""Does memory stay where it is when a scan gets larger, and does ``ps3d-rt plan`` say what then happens?

    python benchmarks/limits.py [--cache work/bench]

Simulated samples of 256³ voxels are mirrored to 512 × 512 × 512 and 1024 × 512 × 512 voxels, 24 voxels a particle, and
to 997 × 1256 × 1256, 60 voxels a particle: the scan that the published method's times are given for. All are planned
and segmented as a user would, from zarr to the output folder.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from ps3d_bench.command import installed_command, run_command
from ps3d_bench.environment import environment, write_result
from ps3d_rt.core.grid import Box
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.volume_writer import write_volume

ROOT = Path(__file__).resolve().parents[1]
FIRST_SEED, SIDE, SPACING_MM = 910_000, 256, 0.01
SCANS = (((512, 512, 512), 24), ((1024, 512, 512), 24), ((997, 1256, 1256), 60))
"""Shape, and voxels a particle."""


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    where = environment(["python", "benchmarks/limits.py", *arguments])
    rows = []
    for shape, size in SCANS:
        # In a process of its own: on Linux, a run starts with the peak memory of the process that starts it.
        with ProcessPoolExecutor(1, get_context("spawn")) as apart:
            scan = apart.submit(_scan, options.cache / "limits", shape, size).result()
        rows.append({"shape": shape, "particle_size_voxels": size, **_run(scan)})
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    growth = {"peak_of_the_deeper_over_the_other": round(rows[1]["peak_rss_mib"] / rows[0]["peak_rss_mib"], 3)}
    data = {"data": "simulated: samples of 256³ voxels, mirrored"}
    write_result(options.out, {"benchmark": "limits", **where, **data, **growth, "runs": rows})
    print(json.dumps(growth))


def _scan(folder: Path, shape: tuple[int, int, int], size: int) -> Path:
    scan, seed = folder / f"{'x'.join(map(str, shape))}-{size}.zarr", FIRST_SEED + size
    if not scan.exists():
        run_command("synth", folder, "--seed", seed, "--shape", SIDE, "--particle-size", size)
        with open_volume(folder / "images" / f"synth_{seed}.zarr") as sample:
            image = sample.read(Box.of_shape(sample.shape))
        write_volume(scan, np.pad(image, [(0, n - SIDE) for n in shape], mode="symmetric"), SPACING_MM)
    return scan


def _run(scan: Path) -> dict[str, Any]:
    options = ["--particle-size", str(round(int(scan.stem.rpartition("-")[2]) * SPACING_MM, 6))]
    plan_command = [installed_command(), "plan", str(scan), *options]
    plan = json.loads(subprocess.run(plan_command, check=True, capture_output=True, text=True).stdout)
    with tempfile.TemporaryDirectory(dir=scan.parent) as folder:
        out = Path(folder) / "out"
        seconds, peak_bytes = run_command("predict", scan, out, *options)
        run = json.loads((out / "run.json").read_text(encoding="utf-8"))
        output_bytes = sum(path.stat().st_size for path in out.rglob("*.zarr/**/*") if path.is_file())
    peak_mib = round((peak_bytes or 0) / 2**20)
    stages = sum(run["seconds"][name] for name in plan["seconds"] if name != "all")
    return {
        "particles": run["particles"],
        "patches": run["patches"],
        "patches_planned_before": plan["patches"],
        "seconds": round(seconds, 1),
        "stages_seconds": run["seconds"],
        "engine_seconds": run["engine_seconds"],
        "outside_the_engine": round(1 - run["engine_seconds"] / run["seconds"]["network"], 3),
        "peak_rss_mib": peak_mib,
        "labels_bytes": output_bytes,
        "planned_before": plan,
        "planned_over_seen": {
            "seconds": round(plan["seconds"]["all"] / stages, 3),
            "memory": round(plan["memory_bytes"] / 2**20 / peak_mib, 3),
            "labels_bytes": round(plan["output_bytes"] / output_bytes, 3),
        },
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=ROOT / "work/bench", help="where the scans are kept")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/limits.json")
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])

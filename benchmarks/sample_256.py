"""One synthetic sample of 256³ voxels: seconds to make it, seconds and peak memory to segment it.

    python benchmarks/sample_256.py [--runs 3] [--out benchmarks/results/sample_256.json]

The data are simulated. Every run is a process of its own, so that peak memory is that run's and no run is warm.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import ps3d_rt
from ps3d_bench.environment import environment, write_result
from ps3d_training.synth import SampleSpec, make_sample

ROOT = Path(__file__).resolve().parents[1]
SPEC = SampleSpec(seed=256, shape=(256, 256, 256))


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    where = environment(["python", "benchmarks/sample_256.py", *arguments])
    options.cache.mkdir(parents=True, exist_ok=True)
    scan = options.cache / "sample_256.npy"
    made = [_apart(_make, scan) for _ in range(options.runs)]
    predicted = [_apart(_predict, scan, made[0]["particle_size_mm"]) for _ in range(options.runs)]
    content = {
        "benchmark": "sample_256",
        "data": "simulated: ps3d_training.synth, the default spec",
        **where,
        "make": {**_medians(made), "particles": made[0]["particles"]},
        "predict": {**_medians(predicted), "particles": predicted[0]["particles"], "engine": predicted[0]["engine"]},
    }
    write_result(options.out, content)
    print(json.dumps({"make": content["make"], "predict": content["predict"]}))


def _make(scan: Path) -> dict[str, Any]:
    start = time.perf_counter()
    sample = make_sample(SPEC)
    seconds = time.perf_counter() - start
    np.save(scan, sample.image)
    return {
        "seconds": seconds,
        "particles": sample.facts["particles"],
        "particle_size_mm": sample.particle_size_mm,
        "peak_rss_mib": _peak_rss_mib(),
    }


def _predict(scan: Path, particle_size_mm: float) -> dict[str, Any]:
    with ps3d_rt.open_volume(scan, spacing=SPEC.spacing_mm) as volume:
        start = time.perf_counter()
        result = ps3d_rt.predict(volume, particle_size=particle_size_mm)
        seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "particles": len(result.particles),
        "engine": result.run["engine"],
        "peak_rss_mib": _peak_rss_mib(),
    }


def _peak_rss_mib() -> float:
    import resource  # noqa: PLC0415 - POSIX only, as this figure is

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _medians(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "seconds_median": round(median(run["seconds"] for run in runs), 2),
        "seconds": [round(run["seconds"], 2) for run in runs],
        "peak_rss_mib": round(max(run["peak_rss_mib"] for run in runs)),
    }


def _apart(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="runs of each, of which the median counts")
    parser.add_argument("--cache", type=Path, default=ROOT / "work/bench", help="folder that keeps the sample")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/sample_256.json", help="file to write")
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])

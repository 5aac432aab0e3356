"""A batch of 200 small simulated scans, ten of them bad in ten ways: what is done, what is named, and the memory.

    python benchmarks/batch_samples.py [--samples 200]

The process's memory is taken before every sample; the first and the last tenth of the batch are compared.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import psutil

from ps3d_bench.environment import environment, write_result
from ps3d_rt.batch.engine_pool import EnginePool
from ps3d_rt.batch.page import render_summary
from ps3d_rt.batch.run import run_batch
from ps3d_rt.batch.samples import Sample
from ps3d_rt.batch.summary import counts, rows_of, write_summary
from ps3d_rt.events import Event, SampleStarted
from ps3d_rt.predict_options import PredictOptions

ROOT = Path(__file__).resolve().parents[1]
SIDE = 40


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/batch_samples.json")
    chosen = parser.parse_args(arguments)
    process, memory = psutil.Process(), []

    def hear(event: Event) -> None:
        if isinstance(event, SampleStarted):
            memory.append(process.memory_info().rss)

    options = PredictOptions(spacing=0.01, particle_size=0.12)
    with tempfile.TemporaryDirectory() as name, EnginePool(options) as pool:
        folder = Path(name)
        samples, bad = planted(folder, chosen.samples)
        start = time.perf_counter()
        run_batch(samples, folder / "out", pool, options, on_event=hear)
        seconds = time.perf_counter() - start
        rows = rows_of(samples, folder / "out")
        write_summary(rows, folder / "out", render_summary(rows, folder / "out"))
        page_bytes = (folder / "out" / "summary.html").stat().st_size
    tenth = max(1, len(memory) // 10)
    # The first samples load libraries and compile kernels: they are no steady state.
    first, last = (median(part) for part in (memory[tenth : 2 * tenth], memory[-tenth:]))
    write_result(
        chosen.out,
        {
            "benchmark": "batch_samples",
            **environment(["python", "benchmarks/batch_samples.py", *arguments]),
            "data": f"simulated: balls in scans of {SIDE} voxels a side",
            **counts(rows),
            "engines_opened": pool.opened,
            "bad_ones_named": {row.name: row.error.replace(f"{folder}/", "") for row in rows if row.error},
            "named_are_the_planted": {row.name for row in rows if row.error} == bad,
            "of_one_particle_each": all(row.particles == 1 for row in rows if row.state == "done"),
            "memory_second_tenth_mib": round(first / 2**20, 1),
            "memory_last_tenth_mib": round(last / 2**20, 1),
            "memory_growth": round(last / first - 1, 4),
            "seconds": round(seconds, 1),
            "page_bytes": page_bytes,
        },
    )
    print(json.dumps(counts(rows)), file=sys.stderr)


def planted(folder: Path, many: int) -> tuple[list[Sample], set[str]]:
    """Write the scans, and damage every twentieth in a way of its own."""
    scans = folder / "scans"
    scans.mkdir()
    grid = np.indices((SIDE,) * 3)
    samples = []
    for number in range(many):
        radius = 6 + number % 8
        ball = ((grid - SIDE // 2) ** 2).sum(0) <= radius**2
        noise = np.random.default_rng(number).normal(0, 200, ball.shape)
        path = scans / f"s{number:03}.npy"
        np.save(path, (np.where(ball, 30000, 9000) + noise).astype(np.uint16))
        samples.append(Sample(name=path.stem, path=path))
    bad = list(range(7, many, max(1, many // 10)))[:10]
    for kind, number in enumerate(bad):
        samples[number] = damaged(samples[number], kind, scans)
    return samples, {samples[number].name for number in bad}


def damaged(sample: Sample, kind: int, scans: Path) -> Sample:
    """Make a sample bad in one of ten ways."""
    path = sample.path or scans
    data = path.read_bytes()
    match kind:
        case 0:
            path.write_bytes(b"")
        case 1:
            path.write_bytes(data[: len(data) // 2])
        case 2:
            path.write_bytes(b"junk" + data)
        case 3:
            path.unlink()
        case 4:
            np.save(path, np.zeros((SIDE,) * 3, np.uint16))
        case 5:
            np.save(path, np.zeros((SIDE, SIDE), np.uint16))
        case 6:
            np.save(path, np.full((SIDE,) * 3, np.nan, np.float32))
        case 7:
            return replace(sample, spacing_mm=(-1.0,) * 3)
        case 8:
            return replace(sample, particle_size=500.0)
        case 9:
            return replace(sample, model="no-such-model")
    return sample


if __name__ == "__main__":
    main(sys.argv[1:])

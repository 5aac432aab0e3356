"""What do minerals, and a comparison, take of memory with a million particles or ten? Stand-in particles.

    python benchmarks/minerals_memory.py [--particles 1000000]

Sums of the voxels are drawn, not counted in a scan: a table of their minerals, the statistics of the sample, and a
comparison of two such samples are made of them. The peak of a process that holds nothing else. Intervals are drawn 4
times, not 200: memory does not depend on it.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np

from ps3d_bench.environment import write_result
from ps3d_bench.script import result_head, run_script, script_parser
from ps3d_rt.core.compare import statistics as of_samples
from ps3d_rt.core.compare.sample import ComparedSample
from ps3d_rt.core.compare.two_sample import two_sample_test
from ps3d_rt.core.minerals import sample as of_sample
from ps3d_rt.core.minerals.bins import AnchoredBins
from ps3d_rt.core.minerals.frames import frames_of
from ps3d_rt.core.minerals.mixture import Mixture
from ps3d_rt.core.minerals.phases import Phase, PhaseList
from ps3d_rt.core.minerals.sums import MineralSums
from ps3d_rt.core.minerals.table import MineralTable, mineral_table
from ps3d_rt.core.minerals.unmix import unmix

PEAKS = np.array([0.0, 1000.0, 2500.0, 6000.0])
NOISE = 100.0
PHASES = PhaseList(tuple(Phase(f"phase {k}", 0.7 * peak, 1.3 * peak, 2.0 + k) for k, peak in enumerate(PEAKS[1:], 1)))
VOXELS = 100
DRAWS = 4


def main(arguments: Sequence[str]) -> None:
    parser = script_parser(__file__, __doc__)
    parser.add_argument("--particles", type=int, default=1_000_000)
    options = parser.parse_args(arguments)
    rows = {name: apart(name, options.particles) for name in STEPS}
    head = result_head(__file__, arguments, "stand-in particles of three minerals, 100 voxels each")
    write_result(options.out, {**head, "particles": options.particles, **rows})


def apart(name: str, particles: int) -> dict[str, Any]:
    """Measure a step in a new process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        found = pool.submit(measured, name, particles).result()
    print(name, found, file=sys.stderr, flush=True)
    return found


def measured(name: str, particles: int) -> dict[str, Any]:
    start, before = time.perf_counter(), peak_mib()
    STEPS[name](particles)
    seconds, peak = round(time.perf_counter() - start, 1), peak_mib()
    return {"seconds": seconds, "peak_mib": peak, "bytes_per_particle": round((peak - before) * 2**20 / particles)}


def peak_mib() -> int:
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) // 1024


def stand_in(particles: int) -> tuple[MineralTable, np.ndarray[Any, Any]]:
    """Draw sums of particles of one mineral and of two, and make their table; and their diameters, mm."""
    draw, bins = np.random.default_rng(0), AnchoredBins.for_values(PEAKS[-1], NOISE)
    mixture = Mixture.of(PEAKS, np.full(4, NOISE), bins)
    sums = MineralSums.empty(particles, 4)
    kinds = [draw.multinomial(VOXELS, density / density.sum(), 100) for density in mixture.densities[1:4]]
    for first in range(0, particles, 100):
        rows = kinds[(first // 100) % len(kinds)][: particles - first]
        sums.histogram[first : first + len(rows)] = rows
    sums.surface[:], sums.crossings[:], sums.faces[:] = VOXELS // 2, 10, 5
    sums.seen[:, 1:] = VOXELS // 3
    start = np.full(len(mixture.densities), 1 / len(mixture.densities))
    unmixed = unmix(sums.histogram, sums.surface, sums.seen, start, mixture)
    grains = np.ones((particles, 3), np.int64), np.full((particles, 3), VOXELS // 3, np.int64)
    table = mineral_table(sums, unmixed, grains, PHASES, (0.01,) * 3)
    return table, draw.lognormal(np.log(0.1), 0.3, particles)


def table_alone(particles: int) -> None:
    stand_in(particles)


def statistics(particles: int) -> None:
    table, diameters = stand_in(particles)
    faces = table.faces + table.faces.transpose(0, 2, 1)
    sample = of_sample.MineralSample(
        phases=PHASES,
        weights=np.ones(particles),
        diameters_mm=diameters,
        volumes_mm3=table.mineral_mm3,
        errors=np.nan_to_num(table.errors),
        surface_shares=table.surface_shares,
        touched=np.concatenate([faces, table.free_faces[:, :, None]], axis=2)[:, 1:].astype(np.float64),
    )
    frames_of(sample, of_sample.statistics_of(sample, draws=DRAWS))


def comparison(particles: int) -> None:
    draw = np.random.default_rng(0)
    samples = [
        ComparedSample(
            name=name,
            weights=np.ones(particles),
            diameters_mm=draw.lognormal(np.log(0.1), 0.3, particles),
            volumes_mm3=draw.lognormal(-7, 0.9, particles),
            shapes=draw.random((particles, 3)),
            minerals=PHASES.names,
            mineral_mm3=draw.random((particles, 3)),
            densities=PHASES.densities,
        )
        for name in ("feed", "product")
    ]
    first, second = samples
    of_samples.DRAWS = DRAWS
    of_samples.difference(of_samples.statistics_of(first), of_samples.statistics_of(second))
    two_sample_test(first, second)


STEPS = {"table": table_alone, "statistics": statistics, "comparison": comparison}

if __name__ == "__main__":
    run_script(main)

"""Does the edge correction find the sizes of a sample whose true sizes are known?

    python benchmarks/size_distribution.py [--count 50000] [--seeds 10]

Simulated: boxes of lognormal size, every way round, lie evenly in and around a volume, whose faces cut those they meet.
Three ways to read D50 off what is inside: all particles as they are (raw), those that touch no face (whole), and those
with the weights of ps3d_rt.core.distribution (corrected). Errors are relative to the D50 of all boxes that were laid.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import pi
from typing import Any

import numpy as np

from ps3d_bench.environment import write_result
from ps3d_bench.script import result_head, run_script, script_parser
from ps3d_rt.core.arrays import Array
from ps3d_rt.core.distribution import size_distribution
from ps3d_rt.core.measure import ParticleTable, measure

SHAPE = (420, 500, 600)
FORMS = {"cubes": (1, 1, 1), "boxes 1 : 2 : 3": (1, 2, 3)}
MEDIAN_VOXELS = (16, 32, 48)
"""Of the side of a cube as large."""
SPREAD, REACH = 0.45, 2
"""Standard deviation of the logarithm of that side, and how many of them it is at most away from the median."""
DATA = "simulated: boxes of lognormal size, laid evenly in and around a volume"


def main(arguments: Sequence[str]) -> None:
    parser = script_parser(__file__, __doc__)
    parser.add_argument("--count", type=int, default=50_000, help="boxes of each sample, in and around the volume")
    parser.add_argument("--seeds", type=int, default=10, help="samples of each kind")
    options = parser.parse_args(arguments)
    rows = [
        row(name, sides, median, options.count, options.seeds)
        for name, sides in FORMS.items()
        for median in MEDIAN_VOXELS
    ]
    head = result_head(__file__, arguments, DATA)
    write_result(options.out, {**head, "shape": SHAPE, "count": options.count, "seeds": options.seeds, "rows": rows})
    print(as_table(rows))


def row(name: str, form: Sequence[int], median: int, count: int, seeds: int) -> dict[str, Any]:
    """Errors of D50 by number and by volume for one kind of sample: mean and largest over the seeds."""
    errors: dict[str, list[float]] = {}
    inside, mean = [], []
    for seed in range(seeds):
        table, truth = sample(np.random.default_rng(seed), form, median, count)
        inside.append(len(table))
        mean.append(float(truth.mean()))
        for key, error in found_errors(table, truth):
            errors.setdefault(key, []).append(error)
    largest = {key: max(values, key=abs) for key, values in errors.items()}
    return {
        "form": name,
        "median_side_voxels": median,
        "mean_diameter_voxels": round(float(np.mean(mean)), 1),
        "particles_inside": round(float(np.mean(inside))),
        **{f"{key}_error": round(float(np.mean(values)), 4) for key, values in errors.items()},
        **{f"{key}_error_largest": round(value, 4) for key, value in largest.items()},
    }


def found_errors(table: ParticleTable, truth: Array) -> Iterator[tuple[str, float]]:
    """Relative errors of D50 by number and by volume of the three ways."""
    ordered = np.sort(truth)
    volume = np.cumsum(ordered**3)
    true = {
        "number": float(np.quantile(truth, 0.5)),
        "volume": float(ordered[np.searchsorted(volume, volume[-1] / 2)]),
    }
    ways = {
        "raw": size_distribution(table),
        "whole": size_distribution(rows_of(table, ~table.touches_edge)),
        "corrected": size_distribution(table, SHAPE),
    }
    for way, sizes in ways.items():
        for kind, value in true.items():
            yield f"{way}_d50_by_{kind}", float(getattr(sizes, f"d50_by_{kind}_mm")) / value - 1


def sample(draw: np.random.Generator, form: Sequence[int], median: int, count: int) -> tuple[ParticleTable, Array]:
    """Lay boxes and cut them: the table of what is inside, and the diameters of all before the cut."""
    logarithms = np.log(median) + SPREAD * np.clip(draw.standard_normal(count), -REACH, REACH)
    exact = np.exp(logarithms)[:, None] * np.array(form) / np.cbrt(np.prod(form))
    # Rounded up or down by chance: sizes of whole voxels would come in steps.
    sides = draw.permuted((exact + draw.uniform(0, 1, exact.shape)).astype(int), axis=1)
    margin = int(sides.max())
    start = draw.integers(-margin, np.array(SHAPE) + margin, (count, 3)) - sides // 2
    return cut(start, start + sides), np.cbrt(6 * sides.prod(axis=1) / pi)


def cut(start: Array, stop: Array) -> ParticleTable:
    """Table of the parts of boxes that lie in the volume; no voxels are made, and only what sizes need is filled in."""
    start, stop = np.clip(start, 0, SHAPE), np.clip(stop, 0, SHAPE)
    seen = (stop > start).all(axis=1)
    start, stop = start[seen], stop[seen]
    voxels = (stop - start).prod(axis=1)
    boxes: dict[str, Any] = {}
    for i, axis in enumerate("zyx"):
        boxes |= {f"box_{axis}_start_voxels": start[:, i], f"box_{axis}_stop_voxels": stop[:, i]}
    return replace(
        measure(np.ones((1, 1, 1), np.uint8), (1.0, 1.0, 1.0)),
        label=np.arange(len(start), dtype=np.uint64) + 1,
        volume_voxels=voxels,
        volume_mm3=voxels.astype(np.float64),
        equivalent_diameter_mm=np.cbrt(6 * voxels / pi),
        touches_edge=((start == 0) | (stop == SHAPE)).any(axis=1),
        **boxes,
    )


def rows_of(table: ParticleTable, kept: Array) -> ParticleTable:
    """Keep some rows of the columns that :func:`cut` fills in."""
    columns: dict[str, Any] = {
        name: column[kept] for name, column in table.columns().items() if len(column) == len(kept)
    }
    return replace(table, **columns)


def as_table(rows: Sequence[dict[str, Any]]) -> str:
    """One row a kind of sample: Markdown."""
    lines = ["| particles | mean, voxels | inside | by | raw | whole | corrected |", "|---|--:|--:|---|--:|--:|--:|"]
    for found in rows:
        about = f"{found['form']} | {found['mean_diameter_voxels']} | {found['particles_inside']}"
        for kind in ("number", "volume"):
            errors = [f"{found[f'{way}_d50_by_{kind}_error']:+.1%}" for way in ("raw", "whole", "corrected")]
            lines.append(f"| {about} | {kind} | {' | '.join(errors)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    run_script(main)

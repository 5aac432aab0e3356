"""Speed against accuracy: which network, at which particle size, overlap and mirroring, is worth its time?

    python benchmarks/pareto.py default=default@20,24,28,32,40,60 wide=wide.ps3d [--plot docs/pareto.svg]

Every bundle is run at its own target size with several overlaps, with and without mirror images (--mirrored: only some
with). After an @ stand other target sizes to try, without mirror images: a bundle's target size is only how large
the network sees the particles, so another one takes no training, but it may cost accuracy.

Accuracy: seven simulated samples, particles 12 to 40 voxels across, that neither training nor ``ps3d-rt bench
accuracy`` uses. Speed: one of 256³ voxels with particles 60 voxels across, array to labels and table, engine open.
All accuracies come first, then all speeds in a row: start on an idle machine, or call again with --time-again on one.
Rows that an earlier call measured are taken from the cache. The points that no other beats in both are the front.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ps3d_bench.environment import write_result
from ps3d_bench.pareto import FIRST_SEED, OVERLAPS, Study, accuracy_specs, points_of
from ps3d_bench.pareto_front import against_published, as_text, mark_front
from ps3d_bench.pareto_plot import draw
from ps3d_bench.samples import generator_hash
from ps3d_bench.script import result_head, run_script, script_parser

DATA = "simulated: ps3d_training.synth, seeds outside every training set and outside bench accuracy"


def main(arguments: Sequence[str]) -> None:
    parser = script_parser(__file__, __doc__)
    parser.add_argument("bundles", nargs="+", help="NAME=BUNDLE, or NAME=BUNDLE@20,32 to try other target sizes too")
    parser.add_argument("--overlaps", type=float, nargs="+", default=list(OVERLAPS), help="beside the bundle's own")
    parser.add_argument("--mirrored", nargs="+", metavar="NAME", help="bundles to run with mirror images too; else all")
    parser.add_argument("--engine", default="auto", help="as of predict")
    parser.add_argument("--device", default="auto", help="as of predict")
    parser.add_argument("--threads", type=int, help="as of predict; default: all cores")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs, of which the median counts")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED, help="of the samples")
    parser.add_argument("--time-again", action="store_true", help="measure every speed anew")
    parser.add_argument("--cache", type=Path, default=Path("work/bench"), help="folder that keeps samples and rows")
    parser.add_argument("--plot", type=Path, help="picture to write: .svg, .png …")
    options = parser.parse_args(arguments)
    head = result_head(__file__, arguments, DATA)
    seeds = [spec.seed for spec in accuracy_specs(options.first_seed)]
    points = [point for text in options.bundles for point in points_of(text, options.overlaps, options.mirrored)]
    study = Study(
        options.cache,
        options.engine,
        options.device,
        options.threads,
        options.repeats,
        options.first_seed,
        options.time_again,
    )
    rows = []
    for number, point in enumerate(points, start=1):
        rows.append(point.described() | study.accuracy(point))
        _tell(number, len(points), rows[-1], f"F1_instance {rows[-1]['f1_instance']:.4f}")
    for number, point in enumerate(points, start=1):
        rows[number - 1] |= study.speed(point)
        _tell(number, len(points), rows[number - 1], f"{rows[number - 1]['mvoxels_per_s']:.2f} Mvoxel/s")
    content = {
        **head,
        "generator_sha256": generator_hash(),
        "seeds": seeds,
        "points": mark_front(rows),
        "against_published": against_published(rows),
    }
    write_result(options.out, content)
    if options.plot is not None:
        draw(content, options.plot)
    print(as_text(content))


def _tell(number: int, count: int, row: dict[str, object], found: str) -> None:
    where = f"{row['bundle']}, target size {row['target_size_voxels']:g}, overlap {row['overlap']:g}"
    print(f"{number} of {count}: {where}, {row['passes']} passes: {found}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_script(main)

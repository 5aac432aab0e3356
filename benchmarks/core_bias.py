"""What a core bias trades: mergers against splitters, and F1_instance, on samples that the network was not trained on.

    python benchmarks/core_bias.py SAMPLES [PREPARED] [--model PATH] [--largest 110] [--plot core_bias.svg]

Samples as for overlap.py. The bias of a bundle (``core_bias``) is chosen here, never on the samples of the accuracy
benchmark. Below 0 there is less core: particles that run together come apart, and some break.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import ps3d_rt
from ps3d_bench.environment import write_result
from ps3d_bench.samples import HELD_OUT, held_out
from ps3d_bench.script import held_out_parser, result_head, run_script
from ps3d_rt.api import configure
from ps3d_rt.engines import open_engine
from ps3d_rt.events import ignore
from ps3d_rt.io.volume import ArrayVolume
from ps3d_rt.pipeline import predict_volume

BIASES = (-0.6, -0.4, -0.2, 0.0, 0.2)
MEASURES = ("f1_instance", "f1_match", "merger_ratio", "splitter_ratio")


def main(arguments: Sequence[str]) -> None:
    parser = held_out_parser(__file__, __doc__, largest=110)
    parser.add_argument("--plot", type=Path, help="picture to write: .svg, .png …")
    options = parser.parse_args(arguments)
    bundle = ps3d_rt.load_model(options.model)
    rows = []
    with open_engine(bundle) as engine:
        for name, image, reference, sample in held_out(options.samples, options.prepared, options.largest):
            scan = ArrayVolume(image, sample.spacing_mm)
            config = configure(scan, bundle, particle_size=sample.particle_size_mm)
            scores = []
            for bias in BIASES:
                found = predict_volume(scan, replace(bundle, core_bias=bias), engine, config, ignore)
                metrics = ps3d_rt.evaluate(found.labels, reference)
                scores.append([getattr(metrics, measure) for measure in MEASURES])
            rows.append({"name": name, **dict(zip(MEASURES, np.transpose(scores).tolist(), strict=True))})
            print(name, np.round(rows[-1]["f1_instance"], 3), file=sys.stderr, flush=True)
    means = {measure: np.mean([row[measure] for row in rows], axis=0).round(4).tolist() for measure in MEASURES}
    head = result_head(__file__, arguments, HELD_OUT, bundle=bundle)
    write_result(options.out, {**head, "core_bias": BIASES, "means": means, "samples": rows})
    if options.plot is not None:
        draw(means, options.plot)
    print(as_table(means))


def as_table(means: dict[str, list[float]]) -> str:
    """One row a bias: Markdown."""
    lines = ["| core bias | F1_instance | F1_match | MergerRatio | SplitterRatio |", "|--:|--:|--:|--:|--:|"]
    for bias, *scores in zip(BIASES, *(means[measure] for measure in MEASURES), strict=True):
        lines.append("| " + " | ".join([f"{bias:+.1f}", *(f"{score:.4f}" for score in scores)]) + " |")
    return "\n".join(lines)


def draw(means: dict[str, list[float]], path: Path) -> None:
    """F1_instance above, mergers and splitters below, over the bias.

    Args:
        means: measure → mean over the samples for every bias.
        path: picture to write; its ending (.svg, .png, …) says in which format.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra; a figure without pyplot opens no window

    figure = Figure(figsize=(6, 5), layout="constrained")
    above, below = figure.subplots(2, sharex=True)
    _line(above, means, "f1_instance", "F1_instance")
    _line(below, means, "merger_ratio", "MergerRatio")
    _line(below, means, "splitter_ratio", "SplitterRatio")
    below.set_xlabel("core bias")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _line(axes: Any, means: dict[str, list[float]], measure: str, title: str) -> None:
    axes.plot(BIASES, means[measure], "o-", label=title)
    axes.legend(fontsize=8)


if __name__ == "__main__":
    run_script(main)

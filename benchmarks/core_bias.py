"""What a core bias trades: mergers against splitters, and F1_instance, on samples that the network was not trained on.

    python benchmarks/core_bias.py SAMPLES [PREPARED] [--model PATH] [--largest 110]

Samples as for overlap.py. The bias of a bundle (``core_bias``) is chosen here, never on the samples of the accuracy
benchmark.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import ps3d_rt
from ps3d_bench.environment import environment, write_result
from ps3d_bench.samples import held_out
from ps3d_rt.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
BIASES = (-0.4, -0.2, -0.1, 0.0, 0.1, 0.2)
MEASURES = ("f1_instance", "f1_match", "merger_ratio", "splitter_ratio")


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    bundle = ps3d_rt.load_model(options.model)
    rows = []
    for name, image, reference, sample in held_out(options.samples, options.prepared, options.largest):
        scores = []
        for bias in BIASES:
            model = replace(bundle, core_bias=bias)
            found = ps3d_rt.predict(
                image, spacing=sample.spacing_mm, particle_size=sample.particle_size_mm, model=model
            ).labels
            metrics = ps3d_rt.evaluate(found, reference)
            scores.append([getattr(metrics, measure) for measure in MEASURES])
        rows.append({"name": name, **dict(zip(MEASURES, np.transpose(scores).tolist(), strict=True))})
        print(name, np.round(rows[-1]["f1_instance"], 3), file=sys.stderr, flush=True)
    means = {measure: np.mean([row[measure] for row in rows], axis=0).round(4).tolist() for measure in MEASURES}
    content = {
        "benchmark": "core_bias",
        "data": "simulated: samples that the network was not trained on",
        **environment(["python", "benchmarks/core_bias.py", *arguments]),
        "model": {"name": bundle.name, "sha256": bundle.hash},
        "core_bias": BIASES,
        "means": means,
        "samples": rows,
    }
    write_result(options.out, content)
    print(json.dumps(means))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", type=Path)
    parser.add_argument("prepared", type=Path, nargs="?")
    parser.add_argument("--model", default="default", help="bundled model, or path of a .ps3d bundle")
    parser.add_argument("--largest", type=int, default=110, help="leave out samples of more voxels than this cubed")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/core_bias.json")
    return parser


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except InputError as error:
        sys.exit(f"error: {error}")

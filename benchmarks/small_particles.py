"""Which small particles to drop: F1_instance on the validation samples of a training, for several thresholds.

    python benchmarks/small_particles.py SAMPLES PREPARED [--model PATH] [--largest 130]

SAMPLES is the folder that was prepared, PREPARED what ``ps3d-rt train prepare`` made of it: the samples of fold 0 that
the network was not trained on. The threshold of a bundle (``min_relative_volume``) is chosen here, never on the samples
of the accuracy benchmark.
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
from ps3d_rt.core.border_core import keep_and_number
from ps3d_rt.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
THRESHOLDS = (0.0, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05)


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    bundle = replace(ps3d_rt.load_model(options.model), min_relative_volume=0.0)
    rows = []
    for name, image, reference, sample in held_out(options.samples, options.prepared, options.largest):
        found = ps3d_rt.predict(
            image, spacing=sample.spacing_mm, particle_size=sample.particle_size_mm, model=bundle
        ).labels
        scores = [ps3d_rt.evaluate(keep_and_number(found, share), reference) for share in THRESHOLDS]
        rows.append({"name": name, "f1_instance": [score.f1_instance for score in scores]})
        print(name, np.round(rows[-1]["f1_instance"], 3), file=sys.stderr, flush=True)
    content = {
        "benchmark": "small_particles",
        "data": "simulated: validation samples of the training",
        **environment(["python", "benchmarks/small_particles.py", *arguments]),
        "model": {"name": bundle.name, "sha256": bundle.hash},
        "min_relative_volume": THRESHOLDS,
        "f1_instance_mean": np.mean([row["f1_instance"] for row in rows], axis=0).tolist(),
        "samples": rows,
    }
    write_result(options.out, content)
    print(json.dumps(dict(zip(THRESHOLDS, np.round(content["f1_instance_mean"], 4).tolist(), strict=True))))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", type=Path)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--model", default="default", help="bundled model, or path of a .ps3d bundle")
    parser.add_argument("--largest", type=int, default=130, help="leave out samples of more voxels than this cubed")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/small_particles.json")
    return parser


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except InputError as error:
        sys.exit(f"error: {error}")

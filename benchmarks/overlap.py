"""How much overlap of patches pays: F1_instance and seconds of the network at several overlaps.

    python benchmarks/overlap.py SAMPLES [PREPARED] [--model PATH] [--largest 160]

Samples that the network was not trained on and that no benchmark of accuracy uses: fold 0's validation samples of
PREPARED, or all of SAMPLES. The overlap of a bundle is chosen here: the cheapest that loses less than 0.002 against
0.5.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import ps3d_rt
from ps3d_bench.environment import environment, write_result
from ps3d_bench.samples import held_out
from ps3d_rt.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
OVERLAPS = (0.5, 0.4, 0.3, 0.25, 0.125, 0.0)
MOST_LOST = 0.002


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    bundle = ps3d_rt.load_model(options.model)
    rows = []
    for name, image, reference, sample in held_out(options.samples, options.prepared, options.largest):
        row: dict[str, object] = {"name": name}
        scores, seconds, patches = [], [], []
        for overlap in OVERLAPS:
            result = ps3d_rt.predict(
                image, spacing=sample.spacing_mm, particle_size=sample.particle_size_mm, model=bundle, overlap=overlap
            )
            scores.append(ps3d_rt.evaluate(result.labels, reference).f1_instance)
            seconds.append(result.run["seconds"]["network"])
            patches.append(result.run["patches"]["planned"])
        rows.append(row | {"f1_instance": scores, "network_seconds": seconds, "patches": patches})
        print(name, np.round(scores, 4), file=sys.stderr, flush=True)
    mean = np.mean([row["f1_instance"] for row in rows], axis=0)
    cheapest = OVERLAPS[int(np.flatnonzero(mean > mean[0] - MOST_LOST).max())]
    summary = {
        "overlaps": OVERLAPS,
        "f1_instance_mean": mean.round(4).tolist(),
        "network_seconds": np.sum([row["network_seconds"] for row in rows], axis=0).round(1).tolist(),
        "patches": np.sum([row["patches"] for row in rows], axis=0).tolist(),
        "cheapest_within_0.002": cheapest,
    }
    content = {
        "benchmark": "overlap",
        "data": "simulated: samples that the network was not trained on",
        **environment(["python", "benchmarks/overlap.py", *arguments]),
        "model": {"name": bundle.name, "sha256": bundle.hash},
        **summary,
        "samples": rows,
    }
    write_result(options.out, content)
    print(json.dumps(summary))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", type=Path)
    parser.add_argument("prepared", type=Path, nargs="?")
    parser.add_argument("--model", default="default", help="bundled model, or path of a .ps3d bundle")
    parser.add_argument("--largest", type=int, default=160, help="leave out samples of more voxels than this cubed")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/overlap.json")
    return parser


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except InputError as error:
        sys.exit(f"error: {error}")

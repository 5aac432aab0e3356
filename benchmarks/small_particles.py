"""Which small particles to drop: F1_instance for several thresholds, on samples that the network was not trained on.

    python benchmarks/small_particles.py SAMPLES [PREPARED] [--model PATH] [--largest 130]

Samples as for overlap.py. The threshold of a bundle (``min_relative_volume``) is chosen here, never on the samples of
the accuracy benchmark.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

import ps3d_rt
from ps3d_bench.environment import write_result
from ps3d_bench.samples import HELD_OUT, held_out
from ps3d_bench.script import held_out_parser, result_head, run_script
from ps3d_rt.core.border_core import keep_and_number

THRESHOLDS = (0.0, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05)


def main(arguments: Sequence[str]) -> None:
    options = held_out_parser(__file__, __doc__, largest=130).parse_args(arguments)
    bundle = replace(ps3d_rt.load_model(options.model), min_relative_volume=0.0)
    rows = []
    for name, image, reference, sample in held_out(options.samples, options.prepared, options.largest):
        found = ps3d_rt.predict(
            image, spacing=sample.spacing_mm, particle_size=sample.particle_size_mm, model=bundle
        ).labels
        scores = [ps3d_rt.evaluate(keep_and_number(found, share), reference) for share in THRESHOLDS]
        rows.append({"name": name, "f1_instance": [score.f1_instance for score in scores]})
        print(name, np.round(rows[-1]["f1_instance"], 3), file=sys.stderr, flush=True)
    mean = np.mean([row["f1_instance"] for row in rows], axis=0).tolist()
    head = result_head(__file__, arguments, HELD_OUT, bundle=bundle)
    content = {"min_relative_volume": THRESHOLDS, "f1_instance_mean": mean, "samples": rows}
    write_result(options.out, head | content)
    print(json.dumps(dict(zip(THRESHOLDS, np.round(mean, 4).tolist(), strict=True))))


if __name__ == "__main__":
    run_script(main)

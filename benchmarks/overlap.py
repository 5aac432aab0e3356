"""How much overlap of patches pays: F1_instance and seconds of the network at several overlaps.

    python benchmarks/overlap.py SAMPLES [PREPARED] [--model PATH] [--largest 160]

Samples that the network was not trained on and that no benchmark of accuracy uses: fold 0's validation samples of
PREPARED, or all of SAMPLES. The overlap of a bundle is chosen here: the cheapest that loses less than 0.002 against
0.5.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import numpy as np

import ps3d_rt
from ps3d_bench.environment import write_result
from ps3d_bench.samples import HELD_OUT, held_out
from ps3d_bench.script import held_out_parser, result_head, run_script

OVERLAPS = (0.5, 0.4, 0.25, 0.125)
MOST_LOST = 0.002


def main(arguments: Sequence[str]) -> None:
    options = held_out_parser(__file__, __doc__, largest=160).parse_args(arguments)
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
    head = result_head(__file__, arguments, HELD_OUT, bundle=bundle)
    write_result(options.out, {**head, **summary, "samples": rows})
    print(json.dumps(summary))


if __name__ == "__main__":
    run_script(main)

"""The same scene in other forms, with the network: does F1_instance stay?

    python benchmarks/gray_forms.py [--model PATH] [--samples loose,physics-quartz]

Each sample is segmented as it is, and again embedded in twice the resin, with its corners filled, saved as 8 bit, with
other gray values, and so on (``gray_scale.py`` makes the forms). Both results are judged on what both forms show:
particles that corners, a container or the resin beside them cut are left out. All samples are simulated and were never
in training or in the accuracy benchmark.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gray_scale import Trial, chosen, embedding_of, forms_of
from ps3d_bench.environment import write_result
from ps3d_bench.script import add_model, result_head, run_script, script_parser
from ps3d_rt.core.arrays import Array
from ps3d_rt.core.metrics import evaluate
from ps3d_rt.engines import open_engine
from ps3d_rt.model import load_model
from ps3d_training.synth import SimulatedSample
from ps3d_training.synth.physics import make_physics_sample, random_physics_spec

MOST_CHANGE = 0.01
PHYSICS: dict[str, dict[str, Any]] = {
    "physics-quartz": {"seed": 985_101, "material": "quartz"},
    "physics-skarn": {"seed": 985_102, "material": "Sn-skarn"},
}
SAMPLES = ("loose", "dense-a", *PHYSICS)


def samples(names: Sequence[str]) -> Iterator[tuple[str, SimulatedSample]]:
    """Make the samples, one at a time."""
    for name in names:
        if name in PHYSICS:
            packing: dict[str, Any] = {"shape": (96,) * 3, "particle_size_voxels": 16, "container": False}
            yield name, make_physics_sample(random_physics_spec(**PHYSICS[name], **packing))
        else:
            yield from chosen(name)


def compare(sample: SimulatedSample, trial: Trial) -> dict[str, dict[str, float]]:
    """Score every form of a sample, beside the sample as it is on the same particles."""
    plain = trial.labels(sample.image, sample, trial.bundle)
    found = embedding_of(sample.image)
    rows = {}
    for name, form in forms_of(sample.image.astype(np.float64), found).items():
        image = form.image if form.image.dtype == np.uint8 else form.image.astype(np.float32)
        labels = trial.labels(image, sample, trial.bundle)[:, :, : plain.shape[2]]
        left = in_both(sample.labels, form.scene)
        before, after = (evaluate(one * left, sample.labels * left) for one in (plain, labels))
        scale = embedding_of(image)
        rows[name] = {
            "f1_instance": round(after.f1_instance, 4),
            "change": round(after.f1_instance - before.f1_instance, 4),
            "f1_change": round(after.f1 - before.f1, 4),
            "embedding_moves_in_noise": round(
                (scale.gray - (found.gray * form.factor + form.offset)) / (found.noise * form.factor), 3
            ),
            "contrast_ratio": round(scale.contrast / (found.contrast * form.factor), 3),
        }
    return rows


def in_both(reference: Array, scene: Array | None) -> Array:
    """Mark the voxels to judge: those of ``scene``, without particles that reach beyond it.

    >>> in_both(np.array([1, 1, 0, 2]), np.array([True, False, True, True])).tolist()
    [False, False, True, True]
    """
    if scene is None:
        return np.ones(reference.shape, bool)
    cut = np.unique(reference[~scene])
    return np.asarray(scene & ~np.isin(reference, cut[cut > 0]))


def as_table(rows: Sequence[dict[str, Any]]) -> str:
    """Write one line a form, the change of F1_instance in every sample: Markdown."""
    lines = ["| form | " + " | ".join(row["sample"] for row in rows) + " |", "|---|" + "--:|" * len(rows)]
    for name in rows[0]["forms"]:
        cells = [f"{row['forms'][name]['change']:+.3f}" for row in rows]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    parser = script_parser(__file__, __doc__)
    add_model(parser)
    parser.add_argument("--samples", default=",".join(SAMPLES), help="of these, and of gray_scale.py's")
    options = parser.parse_args(arguments)
    bundle = load_model(options.model)
    head = result_head(__file__, arguments, "simulated samples of this script, and of gray_scale.py", bundle=bundle)
    rows: list[dict[str, Any]] = []
    with open_engine(bundle) as engine:
        for name, sample in samples(options.samples.split(",")):
            found = compare(sample, Trial(bundle, engine))
            beyond = [form for form, row in found.items() if abs(row["change"]) > MOST_CHANGE]
            rows.append({"sample": name, "fill": round(sample.facts["fill"], 3), "forms": found, "beyond": beyond})
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
            write_result(options.out, head | {"most_change": MOST_CHANGE, "samples": rows})
    print(as_table(rows))


if __name__ == "__main__":
    run_script(main)

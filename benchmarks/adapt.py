"""Does a scan teach a model, does the self-judgement pick the better one, and does the warning fire where it should?

    python benchmarks/adapt.py WORK [--minutes 5] [--samples 4] [--self-training] [--like 8]

Simulated samples of ten kinds unlike the training; their labels are used for judging only. For every sample:
F1_instance of the model before and after ``train adapt`` on the part that was left out, whether the new model was
adopted, and whether a run warns that the scan is unlike the training. ``--self-training`` is the baseline: the model
learns from its own labels. ``--like`` samples of the recipe's sources, which are like the training, must not be warned
of. WORK keeps bundles and trainings, so that a run that was stopped goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ps3d_bench.environment import write_result
from ps3d_bench.script import add_model, result_head, run_script, script_parser
from ps3d_rt.core.arrays import Array
from ps3d_rt.core.metrics import evaluate
from ps3d_rt.engines import open_engine
from ps3d_rt.io.base import ArrayVolume
from ps3d_rt.model import ModelBundle, load_model
from ps3d_training.adapt.go_on import Continuation
from ps3d_training.adapt.parts import SegmentedPart, two_parts
from ps3d_training.adapt.scan_teaches import Adaptation, adapt, in_its_likeness
from ps3d_training.adapt.score import LabelledPart, segment_part
from ps3d_training.adapt.update import work_folder
from ps3d_training.cli.epochs import say_epoch
from ps3d_training.recipe_sources import SOURCES, draw_specs
from ps3d_training.synth.folder import make
from ps3d_training.synth.sample import SimulatedSample, make_sample
from ps3d_training.synth.spec import SampleSpec

DATA = "simulated: ten kinds by formula, beyond what the training draws; samples of the training's sources"
UNLIKE: dict[str, dict[str, Any]] = {
    "noise as strong as the contrast": {"noise": 1.0, "noise_correlation_voxels": 0.8},
    "blur of three voxels": {"blur_voxels": 3.0, "seam": 0.8},
    "grainy noise": {"noise": 0.7, "noise_correlation_voxels": 2.0},
    "rings and streaks": {"rings": 0.6, "streaks": 0.6},
    "thin flakes": {"flakes": 1.0, "fill": 0.4, "noise": 0.3},
    "needles": {"needles": 1.0, "noise": 0.3},
    "blotches": {"mottle": 0.6, "mottle_voxels": 5.0},
    "very porous": {"porous": 1.0, "pore_voxels": 3.0, "matrix_gray": 0.0},
    "few levels": {"bits": 4, "noise": 0.4, "blur_voxels": 1.6},
    "fringes": {"fringe": 4.0, "hardening": 0.4, "noise": 0.4},
}
"""Kind → what its samples have beyond the defaults."""
SIZE_VOXELS, SHAPE = 16.0, (208, 96, 96)
FIRST_SEED, LIKE_SEEDS = 2_100_000, 95_000


def main(arguments: Sequence[str]) -> None:
    parser = script_parser(__file__, __doc__)
    parser.add_argument("work", type=Path, help="folder for bundles and trainings")
    parser.add_argument("--minutes", type=float, default=5, help="of each training")
    parser.add_argument("--samples", type=int, default=len(UNLIKE), help="kinds to try, from the first")
    parser.add_argument("--like", type=int, default=8, help="samples like the training")
    parser.add_argument("--self-training", action="store_true", help="learn from own labels: the baseline")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads of a training")
    add_model(parser)
    options = parser.parse_args(arguments)
    bundle = load_model(options.model)
    how = Continuation(minutes=options.minutes, threads=options.threads, old_samples=20, on_epoch=say_epoch, say=print)
    teach = own_labels if options.self_training else in_its_likeness
    adaptation = Adaptation(how=how, samples=12, own_samples=4, teach=teach, with_int8=False)
    way = "self-training" if options.self_training else "likeness"
    rows = []
    for number, kind in enumerate(list(UNLIKE)[: options.samples]):
        rows.append(row(kind, number, bundle, options.work / f"{number}_{way}.ps3d", adaptation))
        print(rows[-1])
    like = list(warned(bundle, options.like))
    head = result_head(__file__, arguments, DATA, bundle=bundle)
    write_result(
        options.out, {**head, "way": way, "minutes": options.minutes, **summary(rows), "rows": rows, "like": like}
    )


def row(kind: str, number: int, bundle: ModelBundle, out: Path, adaptation: Adaptation) -> dict[str, Any]:
    """Adapt to one sample; its labels only say afterwards what that was worth."""
    spec = SampleSpec(seed=FIRST_SEED + number, shape=SHAPE, particle_size_voxels=SIZE_VOXELS, **UNLIKE[kind])
    sample = make_sample(spec)
    scan = ArrayVolume(sample.image, spec.spacing_mm, name=f"sample_{number}")
    out.parent.mkdir(parents=True, exist_ok=True)
    told = adapt(
        [scan], out, adaptation, init=str(bundle.path), particle_size_mm=sample.particle_size_mm, overwrite=True
    )
    candidate = load_model(work_folder(out) / "candidate.ps3d")
    before, after = (true_score(model, sample) for model in (bundle, candidate))
    return {
        "kind": kind,
        "before": before,
        "after": after,
        "gain": round(after - before, 4),
        "adopted": told["adopted"],
        "picked_the_better": told["adopted"] == (after > before),
        "reasons": told["reasons"],
        "judged": {"before": told["before"], "after": told["after"]},
        "warned": is_warned(bundle, sample),
    }


def true_score(model: ModelBundle, sample: SimulatedSample) -> float:
    """F1_instance on the part that the adaptation left out."""
    spacing = (sample.spec.spacing_mm,) * 3
    box = two_parts(_shape(sample.image), sample.particle_size_mm / spacing[0])[1]
    with open_engine(model, device="cpu", precision="fp32") as engine:
        found = segment_part(model, engine, sample.image[box.slices], spacing, sample.particle_size_mm)
    return round(float(evaluate(found.labels, sample.labels[box.slices]).f1_instance), 4)


def _shape(array: Array) -> tuple[int, int, int]:
    return array.shape[0], array.shape[1], array.shape[2]


def is_warned(model: ModelBundle, sample: SimulatedSample) -> dict[str, Any] | None:
    """How far a run says that a sample is from the training; None if the model does not know."""
    with open_engine(model, device="cpu") as engine:
        spacing = (sample.spec.spacing_mm,) * 3
        likeness = segment_part(model, engine, sample.image, spacing, sample.particle_size_mm).run.get("likeness")
    return None if likeness is None else {name: likeness[name] for name in ("distance", "limit", "unlike", "apart")}


def warned(model: ModelBundle, count: int) -> Iterator[dict[str, Any]]:
    """Samples like the training, and what a run says of them."""
    for spec in draw_specs(SOURCES, count, LIKE_SEEDS):
        yield {"seed": spec.seed, "warned": is_warned(model, make(spec))}


def own_labels(part: SegmentedPart, bundle: ModelBundle, count: int) -> Iterator[LabelledPart]:
    """Give the part with the model's own labels: self-training."""
    yield LabelledPart(part.name, part.image, part.found.labels, None, part.spacing_mm, part.particle_size_mm)


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What all samples come to: the model that is used is the new one only where it was adopted."""
    if not rows:
        return {}
    used = [row["gain"] if row["adopted"] else 0.0 for row in rows]
    poor = [gain for gain, row in zip(used, rows, strict=True) if row["before"] < 0.75]
    return {
        "mean_gain": round(float(np.mean(used)), 4),
        "mean_gain_where_below_0.75": round(float(np.mean(poor)), 4) if poor else None,
        "largest_loss": round(min(0.0, *used), 4),
        "picked_the_better": f"{sum(row['picked_the_better'] for row in rows)} of {len(rows)}",
    }


if __name__ == "__main__":
    run_script(main)

"""Is the 8-bit model worth it on a CPU? OpenVINO in 8 bits beside bf16 and fp32: speed, and particles.

    python benchmarks/int8.py [--side 192] [--samples 8] [--repeats 9]

Speed: patches a second of each engine on the same patches, in turns, the median counts. Accuracy: F1_instance,
MergerRatio and SplitterRatio on simulated samples that neither training, calibration nor the accuracy gate has seen,
each larger than those of the gate; half of them with touching particles. The model carries its 8-bit networks, as
``ps3d-rt export precisions`` makes them.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from ps3d_bench.environment import write_result
from ps3d_bench.samples import Case, load_cases
from ps3d_bench.script import add_model, result_head, run_script, script_parser
from ps3d_rt.core.metrics import evaluate
from ps3d_rt.core.normalize import network_input
from ps3d_rt.engines import DeviceLimits, Engine, open_engine
from ps3d_rt.io.base import ArrayVolume
from ps3d_rt.model import ModelBundle, load_model
from ps3d_rt.pipeline import predict_volume
from ps3d_rt.plan import PredictConfig
from ps3d_rt.stages.gray_scale import scale_and_bins
from ps3d_training.synth import SampleSpec, random_spec

FIRST_SEED = 980_001
DATA = "simulated: ps3d_training.synth, seeds outside training, calibration, gate and bench accuracy"
MEASURES = ("f1_instance", "merger_ratio", "splitter_ratio")
PRECISIONS = ("fp32", "bf16", "int8")


def main(arguments: Sequence[str]) -> None:
    parser = script_parser(__file__, __doc__)
    parser.add_argument("--side", type=int, default=192, help="of a sample, voxels")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=9, help="turns of each engine")
    parser.add_argument("--size", type=float, default=20.0, help="particles of the first sample, voxels across")
    parser.add_argument("--threads", type=int, help="as of predict; default: all cores")
    parser.add_argument("--cache", type=Path, default=Path("work/bench"), help="folder that keeps the samples")
    add_model(parser)
    options = parser.parse_args(arguments)
    whole = load_model(options.model)
    head = result_head(__file__, arguments, DATA, bundle=whole)
    specs = [spec_of(number, options.side, options.size) for number in range(options.samples)]
    rows: list[dict[str, Any]] = []
    with ExitStack() as stack:
        engines = {
            name: stack.enter_context(
                open_engine(
                    whole,
                    engine="openvino",
                    device="cpu",
                    precision=name,
                    limits=DeviceLimits(threads=options.threads),
                )
            )
            for name in PRECISIONS
        }
        for case in load_cases(options.cache / "int8", specs):
            if not rows:
                speeds = turns(engines, patches_of(case, whole), options.repeats)
            found = {name: measured(engine, whole, case) for name, engine in engines.items()}
            rows.append({"name": case.name, "particles": int(case.reference.max()), **found})
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
        specs_of = {name: engine.spec.precision for name, engine in engines.items()}
    means = {
        name: {m: round(float(np.mean([row[name][m] for row in rows])), 5) for m in MEASURES} for name in PRECISIONS
    }
    content = {
        **head,
        "precision": specs_of,
        "patches_per_s": speeds,
        "int8_over_bf16": round(speeds["int8"]["median"] / speeds["bf16"]["median"], 3),
        "means": means,
        "f1_instance_against_fp32": {name: against(rows, name) for name in ("bf16", "int8")},
        "samples": rows,
    }
    write_result(options.out, content)
    print(json.dumps({key: content[key] for key in ("int8_over_bf16", "means", "f1_instance_against_fp32")}))


def spec_of(number: int, side: int, size: float) -> SampleSpec:
    """Draw a sample; every other one has touching particles, sizes go up to twice the first."""
    touching, fill = ((0.9, 0.5), (0.08, 0.25))[number % 2]
    across = size * (1 + number % 4 / 3)
    return random_spec(
        FIRST_SEED + number, touching=touching, fill=fill, particle_size_voxels=across, shape=(side, side, side)
    )


def patches_of(case: Case, bundle: ModelBundle) -> Any:
    """Cut patches from a sample, as many as an engine takes at a time."""
    scale, _ = scale_and_bins(ArrayVolume(case.image, case.spacing_mm), bundle)
    gray = network_input(case.image, scale)
    missing = [(0, max(0, p - n)) for p, n in zip(bundle.patch, gray.shape, strict=True)]
    gray = np.pad(gray, missing, mode="edge")
    starts = np.random.default_rng(0).integers(0, np.subtract(gray.shape, bundle.patch) + 1, (8, 3))
    cut = [gray[tuple(slice(a, a + n) for a, n in zip(at, bundle.patch, strict=True))] for at in starts]
    return np.ascontiguousarray(np.stack(cut)[:, None])


def turns(engines: dict[str, Engine], patches: Any, repeats: int) -> dict[str, dict[str, Any]]:
    """Time the engines in turns: what disturbs the machine disturbs all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for turn in range(repeats + 1):
        for name, engine in engines.items():
            start = time.perf_counter()
            engine.infer(patches)
            if turn:  # the first loads what is loaded once
                seconds[name].append(time.perf_counter() - start)
    return {
        name: {"median": round(len(patches) / median(s), 3), "all": [round(len(patches) / value, 3) for value in s]}
        for name, s in seconds.items()
    }


def measured(engine: Engine, bundle: ModelBundle, case: Case) -> dict[str, float]:
    """Segment a sample and compare it with the truth."""
    config = PredictConfig(
        spacing_mm=(case.spacing_mm,) * 3, particle_size_mm=case.particle_size_mm, overlap=bundle.overlap
    )
    result = predict_volume(ArrayVolume(case.image, case.spacing_mm, name=case.name), bundle, engine, config)
    metrics = evaluate(result.labels, case.reference)
    scores = {measure: round(float(getattr(metrics, measure)), 5) for measure in MEASURES}
    return scores | {"engine_seconds": result.run["engine_seconds"]}


def against(rows: list[dict[str, Any]], name: str) -> dict[str, float | None]:
    """Mean difference to fp32 over the samples, and how far it can be trusted."""
    apart = [row[name]["f1_instance"] - row["fp32"]["f1_instance"] for row in rows]
    error = float(np.std(apart, ddof=1) / len(apart) ** 0.5) if len(apart) > 1 else None
    return {"mean": round(float(np.mean(apart)), 5), "standard_error": error}


if __name__ == "__main__":
    run_script(main)

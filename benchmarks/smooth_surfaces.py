"""Labels back on the source grid, as the nearest voxel's or with surfaces between the voxels: which is closer?

    python benchmarks/smooth_surfaces.py [--seed 972500] [--sizes 34,48,68,17] [--cache bench-cache]

Simulated samples, four sizes a side, drawn as those of the accuracy benchmark. The network runs once a sample; its
particles come back by nearest neighbour, and with smooth surfaces for several scores at the surface. Reported are F1
over the voxels and F1_instance, and for pairs of a whole particle and its prediction (F1 of 0.7 or more) the errors of
volume and of surface, both measured as the particle table does. SURFACE_PERCENT was chosen on the seeds of the default.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np

import ps3d_rt
from ps3d_bench.accuracy_samples import LOOSE
from ps3d_bench.environment import write_result
from ps3d_bench.samples import Case, load_cases
from ps3d_bench.script import add_model, add_sizes, result_head, run_script, script_parser
from ps3d_rt.core.arrays import Array
from ps3d_rt.core.grid import Box, Sweep
from ps3d_rt.core.measure import measure
from ps3d_rt.core.resample import resample_labels, smooth_labels_box
from ps3d_rt.engines import DeviceLimits, open_engine
from ps3d_rt.engines.base import Engine
from ps3d_rt.io.base import ArrayVolume
from ps3d_rt.model import ModelBundle
from ps3d_rt.pipeline import prepare
from ps3d_rt.predict_options import PredictOptions, configure
from ps3d_rt.stages.particles import to_particles
from ps3d_rt.stages.prediction import Prediction
from ps3d_rt.stages.segment import NETWORK_ARRAYS, Segmentation, segment
from ps3d_rt.stages.storage import FOREGROUND_SCORE, MemoryStore, read_ids
from ps3d_training.synth import SampleSpec, random_spec

SIZES = (34, 48, 68, 17)
SEED = 972500
SURFACES = (40, 43, 45, 50)
PAIR_F1 = 0.7


def main(arguments: Sequence[str]) -> None:
    options = _options(arguments)
    bundle = ps3d_rt.load_model(options.model)
    specs = [spec(options.seed + i, float(size)) for i, size in enumerate(options.sizes.split(","))]
    rows = []
    with open_engine(bundle, limits=DeviceLimits(threads=options.threads)) as engine:
        for case in load_cases(options.cache, specs):
            rows += compare(case, bundle, engine)
    methods = list(dict.fromkeys(row["method"] for row in rows))
    means = {m: _means([row for row in rows if row["method"] == m]) for m in methods}
    head = result_head(__file__, arguments, "simulated, one sample a size", bundle=bundle)
    write_result(options.out, head | {"mean": means, "samples": rows})
    print(json.dumps(means))


def spec(seed: int, size: float) -> SampleSpec:
    side = max(112, round(4 * size / 8) * 8)
    return random_spec(seed, particle_size_voxels=size, shape=(side, side, side), **LOOSE)


def compare(case: Case, bundle: ModelBundle, engine: Engine) -> list[dict[str, Any]]:
    """One row a method."""
    job = prepare(
        scan := ArrayVolume(case.image, case.spacing_mm),
        bundle,
        engine,
        configure(scan, bundle, PredictOptions(particle_size=case.particle_size_mm)),
    )
    labels, percent = on_normalized_grid(job)
    grid, shape, whole = job.plan.shape, scan.shape, Box.of_shape(scan.shape)

    def smooth(surface: int) -> Array:
        with patch("ps3d_rt.core.resample.SURFACE_PERCENT", surface):
            return smooth_labels_box(
                lambda box: labels[box.slices],
                lambda box: percent[box.slices],
                whole,
                grid,
                shape,
                zoom=job.plan.zoom,
            )

    ways = {"nearest": partial(resample_labels, labels, shape, zoom=job.plan.zoom)}
    ways |= {f"smooth {surface}": partial(smooth, surface) for surface in SURFACES}
    rows = []
    for method, way in ways.items():
        way()  # compiles
        start = time.process_time()
        found = way()
        seconds = time.process_time() - start
        metrics = ps3d_rt.evaluate(found, case.reference)
        row = {
            "seed": case.simulated["seed"],
            "voxels_a_particle": case.particle_size_voxels,
            "zoom": job.plan.zoom[0],
            "method": method,
            "f1": metrics.f1,
            "f1_instance": metrics.f1_instance,
            "mvoxels_per_cpu_second": found.size / seconds / 1e6,
        }
        rows.append(row | shape_errors(found, case.reference))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows


def on_normalized_grid(job: Prediction) -> tuple[Array, Array]:
    """Labels of the particles, and score of foreground in percent."""
    plan, model, whole = job.plan, job.model, Box.of_shape(job.plan.shape)
    store = MemoryStore(plan.shape)
    for name in NETWORK_ARRAYS:
        store.create(name, np.uint8)
    stage = Segmentation(
        volume=job.volume,
        engine=job.engine,
        store=store,
        journal=None,
        lattice=plan.lattice,
        shape=plan.shape,
        zoom=plan.zoom,
        scale=job.gray.scale,
        lowpass=model.lowpass,
        skip_empty=True,
        core_bias=model.core_bias,
        slab_planes=plan.shape[0],
    )
    segment(stage, Sweep(whole))
    parts, _, _ = to_particles(
        store,
        plan.shape,
        plan.shape,
        rules=model.rules.on_grid(plan.zoom),
    )
    return read_ids(store, parts, whole, np.uint32), store.arrays[FOREGROUND_SCORE]


def shape_errors(found: Array, reference: Array) -> dict[str, Any]:
    """Median of the relative errors, and mean of their sizes, of volume and surface, over the pairs."""
    ours, theirs = measure(found, (1.0, 1.0, 1.0)), measure(reference, (1.0, 1.0, 1.0))
    both = (found > 0) & (reference > 0)
    pairs, shared = np.unique(np.stack([found[both], reference[both]]), axis=1, return_counts=True)
    i, j = np.searchsorted(ours.label, pairs[0]), np.searchsorted(theirs.label, pairs[1])
    f1 = 2 * shared / (ours.volume_voxels[i] + theirs.volume_voxels[j])
    good = (f1 >= PAIR_F1) & ~theirs.touches_edge[j]
    i, j = i[good], j[good]
    errors: dict[str, Any] = {"pairs": int(good.sum())}
    for name in ("volume_mm3", "surface_mm2"):
        off = getattr(ours, name)[i] / getattr(theirs, name)[j] - 1
        kind = name.partition("_")[0]
        errors |= {f"{kind}_error_median": float(np.median(off)), f"{kind}_error_mean": float(np.abs(off).mean())}
    return errors


def _means(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0] if name not in ("seed", "method")}


def _options(arguments: Sequence[str]) -> Any:
    parser = script_parser(__file__, __doc__)
    add_sizes(parser, SEED, SIZES)
    add_model(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run_script(main)

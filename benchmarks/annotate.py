"""What annotation takes of a person: simulated users who know the truth, on simulated scans and on real shapes.

    python benchmarks/annotate.py --grains grains.npy.zip --nmc nmc_phases_251x301x301_uint8.npz

- scribbles on at most 0.5 % of the voxels: F1 over voxels of what the forest makes of them;
- every touching pair merged and parted again, by one stroke in one slice, and by two marks: share parted, and how far
  the borders lie apart;
- clicks and strokes until every particle is found alone, and on until F1_instance is 0.98, from our labels, from
  ThreshWater's tuned on this very sample, and from nothing: a click to grow every particle, or scribbles first. A
  stroke counts one, a click counts one, and a particle that is redrawn a stroke in every third slice.
- features, a new scribble and a split at the size of a patch, in seconds of CPU.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

import ps3d_rt
from nmc_labels import parted
from ps3d_bench.annotator import Corrector, drawn_border, part_contacts, scribble
from ps3d_bench.annotator import contacts as touching_pairs
from ps3d_bench.baselines.threshwater import threshwater, tune
from ps3d_bench.environment import write_result
from ps3d_bench.samples import generator_hash
from ps3d_bench.script import add_model, result_head, run_script, script_parser
from ps3d_rt.core.arrays import Array
from ps3d_rt.model import ModelBundle
from ps3d_training.annotate.labels import LabelEditor
from ps3d_training.annotate.scribbles import ScribbleClassifier, particles_from
from ps3d_training.synth import make_sample, random_spec
from ps3d_training.synth.from_labels import open_labels
from ps3d_training.synth.physics import make_physics_sample, random_physics_spec
from ps3d_training.synth.physics.from_labels import labelled_sample, labelled_spec
from ps3d_training.synth.sample import SimulatedSample
from real_grains import unpacked

DATA = "simulated scans; of grains and nmc the shapes are real and the gray values simulated"
FIRST_SEED = 985_001
SIDE = 64
PATCH_SIDE = 88
PATCH_SIZE_VOXELS = 12.0
TIMED = (128, 400, 400)
PARTS = ("tools", "corrections", "timing")


def main(arguments: Sequence[str]) -> None:
    parser = script_parser(__file__, __doc__)
    add_model(parser)
    parser.add_argument("--grains", type=Path, help="as of real_grains.py")
    parser.add_argument("--nmc", type=Path, help="as of nmc_labels.py")
    parser.add_argument("--only", choices=PARTS, help="this part; what the file holds of the others is kept")
    options = parser.parse_args(arguments)
    bundle = ps3d_rt.load_model(options.model)
    head = result_head(__file__, arguments, DATA, bundle=bundle, packages=["scikit-learn", "scikit-image"])
    head["generator_sha256"] = generator_hash(physics=True)
    content = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {}
    rows_of: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
        "tools": lambda: tools(options.grains, options.nmc),
        "corrections": lambda: corrections(bundle),
        "timing": timing,
    }
    for part in [options.only] if options.only else PARTS:
        rows: list[dict[str, Any]] = []
        content[part] = {**head, "rows": rows}
        for row in rows_of[part]():
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
            write_result(options.out, content)


def tools(grains: Path | None, nmc: Path | None) -> Iterator[dict[str, Any]]:
    """Scribble in every sample, and part its contacts."""
    for number, (name, sample) in enumerate(samples(grains, nmc)):
        _, semantic = scribble(sample.image, sample.labels, number)
        split = part_contacts(sample.labels, sample.image)
        yield {"sample": name, "particles": int(sample.labels.max()), "scribbles": semantic, "split": split}


def samples(grains: Path | None, nmc: Path | None) -> Iterator[tuple[str, SimulatedSample]]:
    """Make the six samples; of real shapes as many as there are files."""
    shape = (SIDE,) * 3
    for seed in (FIRST_SEED, FIRST_SEED + 1):
        yield f"formula {seed}", make_sample(random_spec(seed, shape=shape, particle_size_voxels=15.0, touching=0.7))
    for seed in (FIRST_SEED + 2, FIRST_SEED + 3):
        yield f"physics {seed}", make_physics_sample(random_physics_spec(seed, shape=shape, particle_size_voxels=15.0))
    if grains is not None:
        with unpacked(grains) as file:
            source = open_labels(file, least_voxels=200)
        yield "grains, real shapes", source.sample(source.spec(FIRST_SEED + 4, vary=True, shape=shape))
    if nmc is not None:
        with tempfile.TemporaryDirectory() as scratch, np.load(nmc) as content:
            np.save(Path(scratch) / "nmc.npy", parted(content["phases"] == 1))
            source = open_labels(Path(scratch) / "nmc.npy", least_voxels=200)
            spec = labelled_spec(source, FIRST_SEED + 5, shape=shape, material="Li-Co-Mn-Ni battery")
            yield "nmc, real shapes", labelled_sample(source, spec)


def patches() -> Iterator[tuple[str, SimulatedSample]]:
    """Make the patches of about 300 particles."""
    given: dict[str, Any] = {"particle_size_voxels": PATCH_SIZE_VOXELS, "touching": 0.7, "fill": 0.4}
    seed = FIRST_SEED + 10
    yield f"formula {seed}", make_sample(random_spec(seed, shape=(PATCH_SIDE,) * 3, **given))
    spec = random_physics_spec(seed + 1, shape=(PATCH_SIDE,) * 3, particle_size_voxels=PATCH_SIZE_VOXELS)
    yield f"physics {seed + 1}", make_physics_sample(spec)


def corrections(bundle: ModelBundle) -> Iterator[dict[str, Any]]:
    """Correct every patch from four beginnings."""
    for name, sample in patches():
        size = float(np.cbrt(6 / np.pi * np.bincount(sample.labels.ravel())[1:]).mean())
        for beginning, labels, strokes in beginnings(sample, size, bundle):
            corrector = Corrector(labels, sample.image, sample.labels, size)
            corrector.effort.strokes = strokes
            facts = {"sample": name, "particles": int(sample.labels.max()), "mean_diameter_voxels": size}
            yield {**facts, "from": beginning, **corrector.work()}


def beginnings(sample: SimulatedSample, size_voxels: float, bundle: ModelBundle) -> Iterator[tuple[str, Array, int]]:
    """Give labels to begin with, and the strokes they have cost already."""
    image, truth, spacing = sample.image, sample.labels, float(sample.spec.spacing_mm)
    yield "ours", ps3d_rt.predict(image, spacing=spacing, particle_size=size_voxels * spacing, model=bundle).labels, 0
    yield "nothing", np.zeros_like(truth), 0
    yield "threshwater", threshwater(image, tune(image, truth, size_voxels).settings), 0
    likely, semantic = scribble(image, truth, 0)
    yield "scribbles", particles_from(likely, size_voxels), semantic["strokes"]


def timing() -> Iterator[dict[str, Any]]:
    """Measure at the size of a patch; seconds of CPU, all threads together."""
    tile = make_sample(random_spec(FIRST_SEED, shape=(64, 100, 100), particle_size_voxels=30.0, touching=0.7))
    times = (2, 4, 4)
    image, labels = (np.tile(array, times) for array in (tile.image, tile.labels))
    scribbles = np.zeros(TIMED, np.uint8)
    scribbles[20:100:20, :, ::9] = np.where(labels[20:100:20, :, ::9] > 0, 2, 1)
    classifier = ScribbleClassifier(image)
    for name in ("first scribble", "next scribble"):
        began = process_time()
        classifier.classify(scribbles)
        yield {"what": name, "shape": TIMED, "cpu_seconds": process_time() - began}
    first, second, places = max(touching_pairs(tile.labels), key=lambda found: len(found[2]))
    whole = np.tile(tile.labels, (3, 4, 4))[:200]
    editor = LabelEditor(whole.astype(np.uint32), np.tile(tile.image, (3, 4, 4))[:200])
    own = np.isin(editor.labels[:64, :100, :100], (first, second))
    editor.labels[editor.labels == first] = 0
    editor.labels[editor.labels == second] = 0
    editor.labels[:64, :100, :100][own] = first
    editor = LabelEditor(editor.labels, editor.image)
    for name in ("first split", "next split"):
        began = process_time()
        editor.split(first, drawn_border(places))
        yield {"what": name, "shape": editor.labels.shape, "cpu_seconds": process_time() - began}
        editor.undo()


if __name__ == "__main__":
    run_script(main)

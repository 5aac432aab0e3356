"""Shapes of real grains, simulated gray values at several contrasts: are the grains separated?

    python benchmarks/real_grains.py grains.npy.zip [--model PATH]

The grains: ImagingLectures/Quantitative-Big-Imaging-2021, 315ef94c, Apache-2.0; a real packing in two layers, binary,
not part of this repository. 6-connected components of at least 200 voxels are the grains. Crops of it get gray values
as training draws them (``ps3d_training.synth.from_labels``), but of a fixed contrast, two samples each. Any file of
labels that ps3d-rt reads will do. The packing is halved along y: the near half is for training, ``--training-half
FILE`` writes it, and the far one is judged; 40 planes between them, more than a grain, are left out. Beside ps3d-rt
stand ThreshWater, as in ``ps3d-rt bench accuracy``: the threshold is the best for each sample's own reference, opening
and erosion are tuned on simulated samples of training; and SNOW, on our foreground and on the true one.

Where grains touched in the binary volume, a component is several of them, and finding them apart counts against a
method here. Such a clump fills little of its convex hull, so what is found is told by solidity as well.
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from skimage.measure import regionprops
from skimage.segmentation import clear_border

import ps3d_rt
from ps3d_bench.accuracy import MEASURES, judge
from ps3d_bench.accuracy_samples import Drawn
from ps3d_bench.environment import write_result
from ps3d_bench.methods import METHODS, Lab
from ps3d_bench.samples import Case, generator_hash
from ps3d_bench.script import add_model, result_head, run_script, script_parser
from ps3d_rt.core.metrics import count_overlaps
from ps3d_rt.errors import InputError
from ps3d_training.synth import SampleSpec
from ps3d_training.synth.from_labels import LabelSource, open_labels

DATA = "real grains, simulated gray values: ps3d_training.synth.from_labels; another half of the packing than training"
CONTRASTS = (0.35, 0.7, 1.5, 3.0)
"""Step from the matrix to the darkest mineral, over the gray value of the matrix; training draws from 0.35 to 3."""
SAMPLES_PER_CONTRAST = 2
FIRST_SEED = 870_001
LEAST_VOXELS = 200
TRAINING_STOP, JUDGED_START = 0.48, 0.56
"""Shares of the planes along y: where the half for training ends, and where the other begins."""
NAMES = ("ps3d-rt", "threshwater", "snow", "snow-true")
SOLIDITY = (0.0, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Edges of the groups that grains are told by."""


def main(arguments: Sequence[str]) -> None:
    parser = script_parser(__file__, __doc__)
    parser.add_argument("grains", type=Path, help="labels or a binary volume, or a zip of one such file")
    add_model(parser)
    parser.add_argument("--engine", default="auto", help="as of predict")
    parser.add_argument("--threads", type=int, help="as of predict; default: all cores")
    parser.add_argument("--cache", type=Path, default=Path("work/bench"), help="keeps the tuned opening and erosion")
    parser.add_argument("--training-half", type=Path, help="write the labels that training may use as .npy, and stop")
    options = parser.parse_args(arguments)
    with unpacked(options.grains) as file:
        whole = open_labels(file, least_voxels=LEAST_VOXELS)
    training, judged = halves(whole.labels)
    if options.training_half is not None:
        np.save(options.training_half, training)
        return
    source = replace(whole, labels=judged)
    bundle = ps3d_rt.load_model(options.model)
    head = result_head(__file__, arguments, DATA, bundle=bundle, packages=["scikit-image"])
    methods = Lab(bundle, options.cache, options.engine, options.threads).segmenters(NAMES)
    rows: list[dict[str, Any]] = []
    grains: list[tuple[float, float]] = []
    for contrast, spec in specs_of(source):
        case = case_of(source, spec)
        if not rows:
            methods["ps3d-rt"](replace(case, name="warm-up"))  # loads and compiles everything
        rows.append({"contrast": contrast, **judge(Drawn("real grains", spec), case, methods)})
        grains += grain_scores(methods["ps3d-rt"](case).labels, case.reference)
        scores = ", ".join(f"{name} {found['f1_instance']:.3f}" for name, found in rows[-1]["methods"].items())
        print(f"{case.name}, contrast {contrast:g}: F1_instance {scores}", file=sys.stderr, flush=True)
    content = {
        **head,
        "generator_sha256": generator_hash(),
        "grains": {
            "file": source.name,
            "mean_diameter_voxels": round(source.mean_diameter_voxels, 2),
            "planes_judged": judged.shape[1],
            "planes": whole.labels.shape[1],
        },
        "methods": {name: METHODS[name].what for name in NAMES},
        "means": {name: _means(rows, name) for name in NAMES},
        "by_solidity": by_solidity(grains),
        "samples": rows,
    }
    write_result(options.out, content)
    print(as_table(content))


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Give ``path``, or the one file in it if it is a zip.

    Raises:
        InputError: if it is not there, or the zip holds anything else.
    """
    if not path.exists():
        raise InputError(f"{path} is not there; name a file with the grains, see --help for where they come from.")
    if path.suffix != ".zip":
        yield path
        return
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(names) != 1:
            raise InputError(f"{path} holds {len(names)} files; it must hold one, with the grains.")
        yield Path(archive.extract(names[0], folder))


def halves(labels: Any) -> tuple[Any, Any]:
    """Cut labels (z, y, x) along y: what training may use, and what is judged here.

    >>> [half.shape for half in halves(np.zeros((1, 100, 1), np.uint32))]
    [(1, 48, 1), (1, 44, 1)]
    """
    planes = labels.shape[1]
    return labels[:, : int(TRAINING_STOP * planes)], labels[:, int(JUDGED_START * planes) :]


def specs_of(source: LabelSource) -> Iterator[tuple[float, SampleSpec]]:
    """Draw the samples: everything as for training, but embedded in resin and of a given contrast."""
    for number, contrast in enumerate(c for c in CONTRASTS for _ in range(SAMPLES_PER_CONTRAST)):
        drawn = source.spec(FIRST_SEED + number, vary=True, matrix_gray=1.0)
        yield contrast, with_contrast(drawn, contrast)


def with_contrast(spec: SampleSpec, contrast: float) -> SampleSpec:
    """Stretch the gray values of minerals and spacers about the matrix: the first mineral is ``contrast`` above it."""

    def stretched(gray: float) -> float:
        return round(spec.matrix_gray + (gray - spec.matrix_gray) * contrast / spec.contrast, 4)

    return replace(spec, phases=tuple(map(stretched, spec.phases)), spacer_gray=stretched(spec.spacer_gray))


def case_of(source: LabelSource, spec: SampleSpec) -> Case:
    """Cut and render one sample."""
    sample = source.sample(spec)
    return Case(
        name=source.sample_name(spec.seed),
        folder=Path(),
        spacing_mm=spec.spacing_mm,
        particle_size_mm=sample.particle_size_mm,
        simulated=spec.simulated(only_gray=True),
        came_out=sample.facts,
        image=sample.image,
        reference=sample.labels,
    )


def grain_scores(labels: Any, reference: Any) -> list[tuple[float, float]]:
    """Solidity, and F1 of the particle that fits best, of every reference grain that the faces do not cut.

    Args:
        labels: (z, y, x) ids found.
        reference: (z, y, x) ids; solidity is the share of its convex hull that a grain fills.
    """
    found = count_overlaps(labels, reference)
    q, p = found.prediction.astype(np.intp), found.reference.astype(np.intp)
    f1 = 2 * found.voxels / (np.bincount(q, found.voxels)[q] + np.bincount(p, found.voxels)[p])
    best = np.zeros(p.max() + 1)
    np.maximum.at(best, p, np.where(q > 0, f1, 0))
    return [(float(grain.solidity), float(best[grain.label])) for grain in regionprops(clear_border(reference))]


def by_solidity(grains: Sequence[tuple[float, float]]) -> list[dict[str, Any]]:
    """Count and mean F1 of the grains between two edges of :data:`SOLIDITY`.

    >>> by_solidity([(0.75, 0.5), (0.8, 0.7), (0.95, 0.9)])[2:4]
    [{'solidity': [0.7, 0.8], 'grains': 2, 'f1': 0.6}, {'solidity': [0.8, 0.9], 'grains': 0, 'f1': None}]
    """
    groups = []
    for low, high in pairwise(SOLIDITY):
        scores = [f1 for solidity, f1 in grains if low < solidity <= high]
        mean = round(float(np.mean(scores)), 4) if scores else None
        groups.append({"solidity": [low, high], "grains": len(scores), "f1": mean})
    return groups


def as_table(content: dict[str, Any]) -> str:
    """F1_instance of every sample and the means of all measures: Markdown."""
    titles = [METHODS[name].title for name in NAMES]
    lines = ["| contrast | sample | particles | voxels across | " + " | ".join(titles) + " |"]
    lines.append("|--:|---|" + "--:|" * (2 + len(NAMES)))
    for row in content["samples"]:
        about = [f"{row['contrast']:g}", row["name"], str(row["came_out"]["particles"])]
        scores = [f"{row['methods'][name]['f1_instance']:.3f}" for name in NAMES]
        lines.append("| " + " | ".join([*about, f"{row['came_out']['mean_diameter_voxels']:.1f}", *scores]) + " |")
    lines += ["", "| method | F1 | F1_match | F1_instance | MergerRatio | SplitterRatio |", "|---|" + "--:|" * 5]
    for name, title in zip(NAMES, titles, strict=True):
        scores = [f"{content['means'][name][measure]:.4f}" for measure in MEASURES]
        lines.append("| " + " | ".join([title, *scores]) + " |")
    lines += ["", f"| solidity | grains | best F1 of {titles[0]} |", "|---|--:|--:|"]
    for group in content["by_solidity"]:
        low, high = group["solidity"]
        score = "" if group["f1"] is None else f"{group['f1']:.3f}"
        lines.append(f"| {low:g} to {high:g} | {group['grains']} | {score} |")
    return "\n".join(lines)


def _means(rows: Sequence[dict[str, Any]], name: str) -> dict[str, float]:
    found = [row["methods"][name] for row in rows]
    return {measure: round(float(np.mean([one[measure] for one in found])), 4) for measure in MEASURES}


if __name__ == "__main__":
    run_script(main)

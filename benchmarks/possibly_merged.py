"""How right is the list of possibly merged particles?

    python benchmarks/possibly_merged.py SAMPLES PREDICTIONS [SAMPLES PREDICTIONS …]

SAMPLES is a folder that `ps3d-rt synth` made, PREDICTIONS one with outputs of `ps3d-rt predict` for some of its
samples, named as they are; of the others only the grains are looked at. Three kinds of labels are measured, and those
with a merged_score of 0.5 or more are listed:

    grains       the true grains of a sample, some touching pairs of which are joined to one
    predictions  what the network found, some touching pairs of which are joined; those that were single and whole
    as found     what the network found, as it is

A particle is merged if two true grains or more make up 10 % of it each, or if it was joined here. Pairs are drawn with
a fixed seed; each particle is in one pair at most, and the smaller one has 10 % of the pair at least. For the list of
possibly split ones, a part is right if another particle holds 10 % of the same grain too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ps3d_bench.environment import write_result
from ps3d_bench.script import result_head, run_script, script_parser
from ps3d_rt.core.arrays import Array
from ps3d_rt.core.grid import Box
from ps3d_rt.core.measure import ParticleTable, look_in, measure, with_scores
from ps3d_rt.core.merge_scores import LISTED
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.samples import find_samples
from ps3d_rt.io.table import read_table

LEAST_PART = 0.1
"""Of a particle that a true grain makes up to count, and of a pair that the smaller one has."""
JOINED = 0.25
"""Of the pairs."""
DATA = "simulated: ps3d-rt synth, samples that no setting was chosen on"


def main(arguments: Sequence[str]) -> None:
    parser = script_parser(__file__, __doc__)
    parser.add_argument("folders", type=Path, nargs="+", help="SAMPLES PREDICTIONS, once or more")
    parser.add_argument("--seed", type=int, default=0, help="of the pairs that are joined")
    options = parser.parse_args(arguments)
    draw = np.random.default_rng(options.seed)
    rows = []
    for samples, predictions in zip(options.folders[::2], options.folders[1::2], strict=True):
        for name, truth, prediction in read_pairs(samples, predictions):
            for kind, found in judged(truth, prediction, draw):
                rows.append({"folder": samples.name, "sample": name, "labels": kind, **found})
            print(name, flush=True)
    kinds = dict.fromkeys((row["folder"], row["labels"]) for row in rows)
    totals = [total(rows, *kind) for kind in kinds]
    write_result(options.out, {**result_head(__file__, arguments, DATA), "totals": totals, "rows": rows})
    for found in totals:
        print(found)


Prediction = tuple[Array, ParticleTable]
"""Labels and their table."""


def read_pairs(samples: Path, predictions: Path) -> Iterator[tuple[str, Array, Prediction | None]]:
    """Name, true grains and what was predicted."""
    for sample in find_samples(samples):
        folder, prediction = predictions / sample.name, None
        _, truth = sample.read()
        if folder.is_dir():
            with open_volume(folder / f"{sample.name}.ome.zarr") as labels:
                prediction = labels.read(Box.of_shape(labels.shape)), read_table(folder)
        yield sample.name, truth.astype(np.uint32), prediction


def judged(
    truth: Array, prediction: Prediction | None, draw: np.random.Generator
) -> Iterator[tuple[str, dict[str, int]]]:
    """Count what is listed and what is merged, for each kind of labels."""
    joined, which = join_pairs(truth, draw, np.unique(truth[truth > 0]))
    yield "grains", counted(measure(joined, (1, 1, 1)), which)
    if prediction is None:
        return
    predicted, table = prediction
    wrong = merged(predicted, truth)
    single = np.setdiff1d(np.unique(predicted[predicted > 0]), np.union1d(wrong, split(predicted, truth)))
    joined, which = join_pairs(predicted, draw, single)
    yield "predictions", counted(measure(joined, (1, 1, 1)), np.union1d(which, merged(joined, truth)), which)
    # Measured anew, whatever version of ps3d-rt predicted; the network's margins are in its table alone.
    whole = [(Box.of_shape(predicted.shape), lambda: predicted)]
    measured = replace(measure(predicted, (1, 1, 1)), contact_margin=table.contact_margin)
    table = with_scores(measured, look_in(whole))
    found = counted(table, wrong)
    if table.split_score is not None:
        listed, parts = table.label[table.split_score >= LISTED], split(predicted, truth)
        found |= {"split": len(parts), "split_listed": len(listed), "split_hits": len(np.intersect1d(listed, parts))}
    yield "as found", found


def join_pairs(labels: Array, draw: np.random.Generator, allowed: Array) -> tuple[Array, Array]:
    """Join some touching pairs of the allowed particles; give the labels and those that stand for two."""
    table = measure(labels, (1, 1, 1))
    voxels = dict(zip(table.label.tolist(), table.volume_voxels.tolist(), strict=True))
    free, to, kept = set(allowed.tolist()), np.arange(int(labels.max()) + 1, dtype=labels.dtype), []
    for one, other in draw.permutation(table.contact_pairs.labels).tolist():
        smaller = min(voxels[one], voxels[other])
        if one in free and other in free and smaller >= LEAST_PART * (voxels[one] + voxels[other]):
            free -= {one, other}
            if draw.random() < 2 * JOINED:
                to[other] = one
                kept.append(one)
    return to[labels], np.array(kept, np.int64)


def _overlaps(labels: Array, truth: Array) -> tuple[Array, Array, Array]:
    """Label, grain and voxels of every pair that shares some."""
    size = int(truth.max()) + 1
    both, voxels = np.unique(labels.astype(np.int64).ravel() * size + truth.ravel(), return_counts=True)
    inside = (both // size > 0) & (both % size > 0)
    return both[inside] // size, both[inside] % size, voxels[inside]


def merged(labels: Array, truth: Array) -> Array:
    """Labels that two grains or more make up at least 10 % of each."""
    label, _, voxels = _overlaps(labels, truth)
    large = voxels >= LEAST_PART * np.bincount(labels.ravel())[label]
    found, grains = np.unique(label[large], return_counts=True)
    return found[grains >= 2]


def split(labels: Array, truth: Array) -> Array:
    """Labels that hold at least 10 % of a grain of which another label does too, and lie mostly in it."""
    label, grain, voxels = _overlaps(labels, truth)
    large = voxels >= LEAST_PART * np.bincount(truth.ravel())[grain]
    shared = np.bincount(grain[large], minlength=int(truth.max()) + 1)[grain] >= 2
    mostly = voxels >= 0.5 * np.bincount(labels.ravel())[label]
    return np.unique(label[large & shared & mostly])


def counted(table: ParticleTable, right: Array, planted: Array | None = None) -> dict[str, int]:
    """Count particles, those merged, those listed, and how many of either are both."""
    scores = table.merged_score
    assert scores is not None
    listed = table.label[scores >= LISTED].astype(np.int64)
    found = {"particles": len(table), "merged": len(right), "listed": len(listed)}
    found["hits"] = len(np.intersect1d(listed, right))
    planted = right if planted is None else planted
    return found | {"planted": len(planted), "planted_hits": len(np.intersect1d(listed, planted))}


def total(rows: Sequence[dict[str, Any]], folder: str, kind: str) -> dict[str, Any]:
    """Add up the samples of a folder, with precision and recall."""
    these = [row for row in rows if (row["folder"], row["labels"]) == (folder, kind)]
    names = [name for name, value in these[0].items() if isinstance(value, int)]
    sums = {name: sum(row[name] for row in these) for name in names}
    shares = {
        "found_of_merged": _share(sums["hits"], sums["merged"]),
        "found_of_planted": _share(sums["planted_hits"], sums["planted"]),
        "false_of_listed": _share(sums["listed"] - sums["hits"], sums["listed"]),
    }
    if "split" in sums:
        shares["found_of_split"] = _share(sums["split_hits"], sums["split"])
        shares["false_of_split_listed"] = _share(sums["split_listed"] - sums["split_hits"], sums["split_listed"])
    return {"folder": folder, "labels": kind, "samples": len(these), **sums, **shares}


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 3) if whole else None


if __name__ == "__main__":
    run_script(main)

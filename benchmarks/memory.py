"""Does a run stay within its budget of memory, with 64 threads, and with ten million particles?

    python benchmarks/memory.py [--particles 10000000] [--threads 64]

Every row is a process of its own, and its peak is what the system says of it.

*threads*: particles, table and labels of a simulated map of balls, in small chunks, by many threads; the network is
left out, a stand-in writes the map. *sums*: sums of stand-in particles, box by box as a scan of 2154³ voxels has them,
through rows on disk to the two files, the size distribution and the report. *pieces*: the tables that chunks are put
together with, of two stand-in pieces a particle.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from math import prod
from multiprocessing import get_context
from pathlib import Path
from typing import Any, final
from unittest.mock import patch

import numpy as np

from ps3d_bench.environment import environment, write_result
from ps3d_rt import pipeline
from ps3d_rt.core.chunks import ChunkGrid, ChunkLabels, LabelStatistics
from ps3d_rt.core.confidence import ParticleConfidence
from ps3d_rt.core.distribution import size_facts
from ps3d_rt.core.gray import GrayBins
from ps3d_rt.core.grid import Box
from ps3d_rt.core.measure import PartialSums, partial_sums
from ps3d_rt.core.numbering import number
from ps3d_rt.core.particle_filter import ParticleFilter
from ps3d_rt.core.seeds import Survey, to_seeds
from ps3d_rt.engines.base import Engine, EngineSpec
from ps3d_rt.io.base import ArrayVolume
from ps3d_rt.io.spilled_rows import SpilledRows
from ps3d_rt.memory import BOX
from ps3d_rt.model import ModelBundle
from ps3d_rt.output import predict_to_folder
from ps3d_rt.plan import PredictConfig
from ps3d_rt.report import Pictures, draw_report
from ps3d_rt.stages.run import Run
from ps3d_rt.stages.segment import NETWORK_ARRAYS, PatchCount
from ps3d_rt.stages.table import stream_rows

ROOT = Path(__file__).resolve().parents[1]
SHAPE = (2154, 2154, 2154)
CELLS = (6, 45, 45)
"""Stand-in particles in a box, along z, y and x; those of the last plane of cells reach into the box below."""
SPACING_MM = (0.01, 0.01, 0.01)


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    where = environment(["python", "benchmarks/memory.py", *arguments])
    rows = {
        "pieces": _apart(_pieces, options.particles),
        "sums": _apart(_sums, options.particles),
        "threads": [_apart(_threads, options.threads, gib) for gib in (1.5, 4.0)],
    }
    write_result(options.out, {"benchmark": "memory", **where, "data": "simulated", **rows})


def _apart(measured: Any, *arguments: Any) -> dict[str, Any]:
    """Measure in a new process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as apart:
        found: dict[str, Any] = apart.submit(_with_peak, measured, *arguments).result()
    print(found, file=sys.stderr, flush=True)
    return found


def _with_peak(measured: Any, *arguments: Any) -> dict[str, Any]:
    start = time.perf_counter()
    found = measured(*arguments)
    seconds = round(time.perf_counter() - start, 1)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {**found, "seconds": seconds, "peak_rss_mib": peak_mib}


def _pieces(particles: int) -> dict[str, Any]:
    """Put chunks of 10,000 cores and as many borders together, none of which touches another chunk's."""
    a_chunk = 10_000
    count = 2 * a_chunk + 1
    surveys = []
    for k in range(particles // a_chunk):
        home = np.concatenate([np.arange(a_chunk + 1) + a_chunk, np.arange(a_chunk + 1, count)]).astype(np.uint32)
        first_index = np.arange(count, dtype=np.int64) + k * count
        label_statistics = LabelStatistics(np.full(count, 500, np.int64), first_index, np.zeros(count, np.uint8))
        surveys.append(Survey(home, np.zeros(a_chunk + 1, np.int64), np.ones(a_chunk + 1, np.bool_), label_statistics))
    none = np.empty((0, 2), np.uint64)
    seeds = to_seeds(surveys, [(none, none)] * len(surveys))
    for ids in seeds:
        ids[a_chunk + 1 :] = ids[1 : a_chunk + 1]  # as after growth
    box = Box((0, 0, 0), (1, 1, 1))
    labels = [(ChunkLabels("pieces", box, ids), s.statistics) for ids, s in zip(seeds, surveys, strict=True)]
    del surveys, seeds
    return {"pieces": 2 * particles, "particles": int(number(labels, SHAPE, ParticleFilter()).numbers.max())}


def _sums(particles: int) -> dict[str, Any]:
    boxes = ChunkGrid(SHAPE, BOX).boxes
    a_box, below = prod(CELLS), prod(-(-n // side) for n, side in zip(SHAPE[1:], BOX[1:], strict=True))
    used = min(len(boxes), -(-particles // a_box))
    last = np.full(used * a_box + 1, -1, np.int32)
    for k in range(used):
        ids = k * a_box + 1 + np.arange(a_box)
        last[ids] = k
        last[ids[-CELLS[1] * CELLS[2] :]] = min(k + below, used - 1)
    confidence = ParticleConfidence(*np.full((3, last.size - 1), 0.95))
    with tempfile.TemporaryDirectory(dir=ROOT / "work") as folder:
        rows = SpilledRows(Path(folder) / "rows", Path(folder), SHAPE, last.size - 1)
        id_map = stream_rows(_box_sums(boxes[:used], below), last, SHAPE, SPACING_MM, confidence, rows)
        del last, confidence
        table = rows.finish(id_map)
        del id_map
        sizes = size_facts(table, SHAPE)
        facts = {"scan": {"shape": SHAPE, "spacing_mm": SPACING_MM}, "size_distribution": sizes}
        page = draw_report(facts, table, Pictures())
        size = (Path(folder) / "particles.parquet").stat().st_size
    return {"particles": len(table), "boxes": used, "parquet_bytes": size, "report_bytes": len(page)}


def _box_sums(boxes: Sequence[Box], below: int) -> Iterator[PartialSums]:
    """Give every box the sums of the same cells, and a second time those that the box above it has begun."""
    a_box, reaching = prod(CELLS), CELLS[1] * CELLS[2]
    z, y, x = (np.arange(n) * cells // n for n, cells in zip(BOX, CELLS, strict=True))
    labels = (z[:, None, None] * CELLS[1] + y[:, None]) * CELLS[2] + x + 1
    image = np.random.default_rng(0).integers(0, 60_000, BOX, np.uint16)
    cells = partial_sums(labels.astype(np.uint32), image, bins=GrayBins(0.0, 1000.0))
    columns = {name: getattr(cells, name) for name in PartialSums.__dataclass_fields__ if name not in _NOT_ROWS}
    for k, box in enumerate(boxes):
        corner = (box.start[0] * SHAPE[1] + box.start[1]) * SHAPE[2] + box.start[2]
        own = columns | {"label": cells.label + np.uint64(k * a_box)}
        own["first"] = (
            own["first"] % BOX[2]
            + own["first"] // BOX[2] % BOX[1] * SHAPE[2]
            + (own["first"] // (BOX[1] * BOX[2]) * SHAPE[1] * SHAPE[2] + corner)
        )
        contacts = replace(cells.contacts, labels=cells.contacts.labels + np.uint64(k * a_box))
        if k >= below:
            begun = {name: column[-reaching:] for name, column in columns.items()}
            begun["label"] = begun["label"] + np.uint64((k - below) * a_box)
            begun["first"] = np.full(reaching, np.iinfo(np.int64).max - 1)
            own = {name: np.concatenate([begun[name], own[name]]) for name in own}
        yield PartialSums(contacts=contacts, gray_bins=cells.gray_bins, **own)


_NOT_ROWS = {"contacts", "gray_bins"}


def _threads(threads: int, gib: float) -> dict[str, Any]:
    """Run all but the network on 1280 × 512 × 512 voxels."""
    shape, side = (1280, 512, 512), 16
    image = np.broadcast_to(np.random.default_rng(0).integers(0, 60_000, (1, 1, shape[2]), np.uint16), shape)
    model = ModelBundle(
        name="stand-in",
        patch=(64, 64, 64),
        target_size_voxels=float(side),
        border_thickness_voxels=2.0,
        members=("a.onnx",),
        sha256={"a.onnx": "0"},
    )
    config = PredictConfig(
        spacing_mm=SPACING_MM,
        particle_size_mm=side * SPACING_MM[0],
        overlap=0.25,
        chunk=64,
        threads=threads,
        memory_bytes=int(gib * 2**30),
    )
    network = patch.object(pipeline, "segment_volume", partial(_stand_in, side))
    with network, tempfile.TemporaryDirectory(dir=ROOT / "work") as folder:
        run = predict_to_folder((ArrayVolume(image), model, _NoNetwork(), config), Path(folder) / "out")
    return {"budget_gib": gib, "threads": threads, "shape": shape, "stages_seconds": run["seconds"]}


@final
class _NoNetwork(Engine):
    """What the plan asks of an engine; the scores are written by :func:`_stand_in`."""

    spec = EngineSpec(name="none", patch=(64, 64, 64), device="cpu", precision="fp32", batch=2)

    def _infer(self, patches: Any) -> Any:
        raise NotImplementedError("the network is left out")


def _stand_in(side: int, run: Run) -> PatchCount:
    """Write balls in a grid: cores with a border, sure of all."""
    plan, store = run.prediction.plan, run.storage.store
    whole = ChunkGrid(plan.shape, plan.shard)
    z, y, x = ((np.arange(n) % side - side / 2 + 0.5) ** 2 for n in plan.shard)
    distance = z[:, None, None] + y[:, None] + x
    classes = np.where(distance <= (side * 0.3) ** 2, 1, np.where(distance <= (side * 0.48) ** 2, 2, 0))
    planes = (classes, 95 * (classes > 0), 90 * (classes == 1))
    for name, values in zip(NETWORK_ARRAYS, planes, strict=True):
        store.create(name, np.uint8)
        for box in whole.boxes:
            store.write(name, box, values.astype(np.uint8)[tuple(map(slice, box.shape))])
    return PatchCount(plan.patches)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--particles", type=int, default=10_000_000)
    parser.add_argument("--threads", type=int, default=64)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/memory.json")
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])

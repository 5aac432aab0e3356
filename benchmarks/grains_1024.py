"""Border-core map of 1024³ voxels → particles in OME-Zarr: seconds, peak memory, and the same answer without chunks.

    python benchmarks/grains_1024.py --grains grains.npy.zip [--side 1024] [--whole]

The map is made of a real packing of grains (ImagingLectures/Quantitative-Big-Imaging-2021, 315ef94c, Apache-2.0;
binary, not part of this repository): 6-connected components of at least 200 voxels are the grains, ``to_border_core``
cuts them, and the map is repeated to the cube asked for. Repeats meet as they come, so some grains run together: that
is the same for both answers. The timed part is a process of its own. ``--whole`` then computes the map in one piece,
which takes about 20 GB of memory for 1024³, and compares every label.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from ps3d_bench.environment import environment, write_result
from ps3d_rt.core.border_core import to_border_core
from ps3d_rt.core.chunks import ChunkGrid
from ps3d_rt.core.grid import Box
from ps3d_rt.io.labels_writer import LabelsZarr, create_labels
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.zarr_store import ZarrStore
from ps3d_rt.memory import HALO
from ps3d_rt.plan import WORK_SHARD
from ps3d_rt.stages.boxes import SourceGrid
from ps3d_rt.stages.labels import write_box, write_tasks
from ps3d_rt.stages.particles import to_instances, to_particles
from ps3d_rt.stages.storage import BORDER_CORE
from ps3d_rt.workers import Workers

ROOT = Path(__file__).resolve().parents[1]
THICKNESS_VOXELS = 3
CHUNK = (256, 256, 256)


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    if options.run is not None:
        print(json.dumps(run(options.run, options.side)))
        return
    if not options.grains.is_file():
        print(f"skipped: {options.grains} is not there; get it and name it with --grains.", file=sys.stderr)
        return
    where = environment(["python", "benchmarks/grains_1024.py", *arguments])
    with tempfile.TemporaryDirectory(dir=options.scratch) as name:
        folder, shape = Path(name), (options.side,) * 3
        write_map(folder, border_core_of(options.grains), shape)
        command = [sys.executable, __file__, "--side", str(options.side), "--run", name]
        facts = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        if options.whole:
            facts |= compare(folder, shape)
    data = {"data": "real grains, repeated", "shape": shape, "border_voxels": THICKNESS_VOXELS, "chunk": CHUNK}
    write_result(options.out, {"benchmark": "grains_1024", **where, **data, **facts})
    print(json.dumps(facts))


def border_core_of(grains: Path) -> np.ndarray[Any, Any]:
    """Border-core map of the real grains, (501, 501, 300) uint8."""
    with zipfile.ZipFile(grains) as packed:
        binary = np.load(io.BytesIO(packed.read(packed.namelist()[0])), allow_pickle=False) > 0
    labels, _ = ndimage.label(binary)
    large = np.bincount(labels.ravel()) >= 200
    large[0] = False
    return to_border_core(np.where(large[labels], labels, 0), THICKNESS_VOXELS)


def write_map(folder: Path, tile: np.ndarray[Any, Any], shape: tuple[int, int, int]) -> None:
    store = ZarrStore(folder / "arrays", shape, WORK_SHARD)
    store.create(BORDER_CORE, np.uint8)
    for box in ChunkGrid(shape, WORK_SHARD).boxes:
        z, y, x = (np.arange(a, b) % n for a, b, n in zip(box.start, box.stop, tile.shape, strict=True))
        store.write(BORDER_CORE, box, tile[np.ix_(z, y, x)])


def run(folder: Path, side: int) -> dict[str, Any]:
    """Particles of the map in ``folder``, written with all levels; seconds and peak memory of this process."""
    shape = (side,) * 3
    store, path = ZarrStore(folder / "arrays", shape, WORK_SHARD), folder / "grains.ome.zarr"
    start = time.perf_counter()
    create_labels(path, "grains", shape, (0.01,) * 3)
    labels, chunks = LabelsZarr(path), ChunkGrid(shape, CHUNK)
    with Workers() as workers, open_volume(folder / "arrays" / BORDER_CORE) as volume:
        parts, count, _ = to_particles(store, shape, CHUNK, halo=HALO, map_tasks=workers.map)
        found = time.perf_counter()
        grid = SourceGrid(volume=volume, store=store, grid=chunks, zoom=(1.0, 1.0, 1.0))
        list(
            workers.map(
                partial(write_box, grid, labels), write_tasks(grid, parts, labels.boxes(0), np.arange(count + 1))
            )
        )
        for level in range(1, labels.levels):
            list(workers.map(partial(labels.coarsen, level), labels.boxes(level)))
    end = time.perf_counter()
    return {
        "particles": count,
        "seconds": round(end - start, 1),
        "seconds_particles": round(found - start, 1),
        "seconds_labels": round(end - found, 1),
        "mvoxels_per_s": round(side**3 / (end - start) / 1e6, 1),
        "peak_rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def compare(folder: Path, shape: tuple[int, int, int]) -> dict[str, Any]:
    """The same map in one piece."""
    with open_volume(folder / "arrays" / BORDER_CORE) as volume:
        classes = volume.read(Box.of_shape(shape))
    start = time.perf_counter()
    whole = to_instances(classes)
    seconds = time.perf_counter() - start
    del classes
    labels = LabelsZarr(folder / "grains.ome.zarr")
    same = all(np.array_equal(whole[box.slices], labels.read(box)) for box in labels.boxes(0))
    peak = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return {
        "whole": {"particles": int(whole.max()), "seconds": round(seconds, 1), "peak_rss_mib": peak},
        "identical": bool(same),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grains", type=Path, default=ROOT / "grains.npy.zip")
    parser.add_argument("--side", type=int, default=1024, help="of the map, voxels")
    parser.add_argument("--whole", action="store_true", help="compare with the map in one piece")
    parser.add_argument("--scratch", type=Path, help="folder for some gigabytes of working files")
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/grains_1024.json")
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])

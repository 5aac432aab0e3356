"""A real scan of packed sand: does the model, which has only ever seen simulated scans, separate real grains?

    python benchmarks/real_sand.py [--model PATH] [--scan sand_200x200x100_uint8.raw]

There is no ground truth: what is reported is how many grains are found, how large they are, and the largest one's share
of the foreground (grains that run together give one huge one). The scan: heprom/pymicro-data, 34adaeb9, MIT.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

import ps3d_rt
from ps3d_bench.environment import environment, write_result
from ps3d_bench.script import run_script
from ps3d_rt.core.arrays import Array
from ps3d_rt.core.grid import Box
from ps3d_rt.io.base import Volume
from ps3d_rt.pipeline import RunResult
from ps3d_rt.report import overlay, take_slices

ROOT = Path(__file__).resolve().parents[1]
SHAPE = (100, 200, 200)
SPACING_MM = 0.01
"""The scan's voxel size is not known; only the ratio to the particle size matters."""
PARTICLE_SIZE_MM = 0.15
"""About 15 voxels, by eye."""
PIXELS_PER_VOXEL, GAP_PIXELS = 2, 12


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    if not options.scan.is_file():
        print(f"skipped: {options.scan} is not there; get the scan and name it with --scan.", file=sys.stderr)
        return
    where = environment(["python", "benchmarks/real_sand.py", *arguments])
    with ps3d_rt.open_volume(options.scan, spacing=SPACING_MM, shape=SHAPE, dtype="uint8") as scan:
        start = time.perf_counter()
        result = ps3d_rt.predict(
            scan, particle_size=PARTICLE_SIZE_MM, model=options.model, engine=options.engine, threads=options.threads
        )
        seconds = time.perf_counter() - start
        pictures = {options.picture: draw(scan, result.labels), options.largest: draw_largest(scan, result.labels)}
    found = facts(result.labels)
    scan_hash = sha256(options.scan.read_bytes()).hexdigest()
    content = {"benchmark": "real_sand", **where, **report(result, seconds, scan_hash), "found": found}
    write_result(options.out, content)
    for path, picture in pictures.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(imagecodecs.png_encode(picture, level=9))
    print(json.dumps(found | {"seconds": round(seconds, 2)}))


def facts(labels: Array) -> dict[str, Any]:
    """What can be said without ground truth.

    Args:
        labels: (z, y, x) ids 1..N, 0 elsewhere.
    """
    volumes = np.bincount(labels.ravel())[1:]
    diameters = np.cbrt(6 / np.pi * volumes)
    foreground = int(volumes.sum())
    return {
        "particles": len(volumes),
        "foreground_share": foreground / labels.size,
        "largest_share_of_foreground": float(volumes.max(initial=0)) / max(1, foreground),
        "mean_diameter_voxels": float(diameters.mean()) if len(volumes) else None,
        "median_diameter_voxels": float(np.median(diameters)) if len(volumes) else None,
    }


def report(result: RunResult, seconds: float, scan_sha256: str) -> dict[str, Any]:
    """What ran, from ``run.json``, without paths of this machine."""
    run = result.run
    scan = {name: run["scan"][name] for name in ("shape", "dtype", "spacing_mm")}
    source = "heprom/pymicro-data 34adaeb9, MIT; a real scan, without ground truth"
    return {
        "scan": {"name": "sand_200x200x100_uint8", "source": source, "sha256": scan_sha256, **scan},
        **{name: run[name] for name in ("engine", "model", "parameters", "patches")},
        "seconds": round(seconds, 2),
        "stages_seconds": run["seconds"],
    }


def draw(scan: Volume, labels: Array) -> Array:
    """The three middle planes, one a row: gray on the left, with outlines on the right.

    Returns:
        (height, width, 3) uint8, RGB.
    """
    rows = []
    for middle in take_slices(scan.read, lambda box: labels[box.slices], scan.shape, planes=1):
        gray, found = middle.gray[0], middle.labels[0]
        pair = [overlay(gray, ids, PIXELS_PER_VOXEL) for ids in (np.zeros_like(found), found)]
        rows.append(_join(pair, axis=1))
    return np.ascontiguousarray(_join(rows, axis=0))


def draw_largest(scan: Volume, labels: Array) -> Array:
    """Three planes through the middle of the largest particle, z, y and x, with its outline: is it one grain?

    Returns:
        (height, width, 3) uint8, RGB.
    """
    gray = scan.read(Box.of_shape(scan.shape))
    largest = np.bincount(labels.ravel(), minlength=2)[1:].argmax() + 1
    alone = np.where(labels == largest, labels, 0)
    there = np.argwhere(alone)
    middle = np.median(there, axis=0).astype(int) if len(there) else np.array(scan.shape) // 2
    planes = [(gray.take(at, axis), alone.take(at, axis)) for axis, at in enumerate(middle)]
    return np.ascontiguousarray(_join([overlay(*plane, PIXELS_PER_VOXEL, 2) for plane in planes], axis=1))


def _join(panels: Sequence[Array], axis: int) -> Array:
    """Put panels side by side (axis 1) or below each other (axis 0), white between them."""
    other = 1 - axis
    longest = max(panel.shape[other] for panel in panels)
    padded = []
    for panel in panels:
        widths = [(0, 0)] * 3
        widths[other] = (0, longest - panel.shape[other])
        widths[axis] = (0, GAP_PIXELS)
        padded.append(np.pad(panel, widths, constant_values=255))
    joined = np.concatenate(padded, axis=axis)
    return joined.take(range(joined.shape[axis] - GAP_PIXELS), axis=axis)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    scan = ROOT.parent / "shared/data/sand/sand_200x200x100_uint8.raw"
    parser.add_argument("--scan", type=Path, default=scan, help="the raw file: 100 x 200 x 200 voxels, uint8")
    parser.add_argument("--model", default="default", help="bundled model, or path of a .ps3d bundle")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/real_sand.json", help="file to write")
    parser.add_argument("--picture", type=Path, default=ROOT / "docs/real_sand.png", help="picture to write")
    largest = ROOT / "docs/real_sand_largest.png"
    parser.add_argument("--largest", type=Path, default=largest, help="picture to write of the largest particle")
    parser.add_argument("--engine", default="auto", help="auto, openvino or onnxruntime")
    parser.add_argument("--threads", type=int, help="threads of the engine; default: all cores")
    return parser


if __name__ == "__main__":
    run_script(main)

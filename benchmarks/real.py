"""Real scans without ground truth: is anything that a plain threshold sees missing, and what was dropped?

    python benchmarks/real.py DATA [--model PATH] [--scans sand,lrc32-200]

DATA holds ``sand/``, of heprom/pymicro-data (34adaeb9, MIT), and ``lrc32/``, of mlexchange/mlex_dash_segmentation_demo
(adf6314): real shapes whose gray values are probably simulated. None of them is part of this repository.

The threshold is Otsu's, one a scan, of the scan smoothed by a Gaussian of one voxel. Its foreground has noise and
partial volumes too, so that a share of 0 is not to be reached. A lost grain shows as a large connected part of what is
missing, two voxels inside of the threshold's foreground.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

import ps3d_rt
from ps3d_bench.environment import write_result
from ps3d_bench.script import add_model, result_head, run_script, script_parser
from ps3d_rt.io.base import ArrayVolume
from real_sand import draw

SPACING_MM = 0.01
"""No scan says its voxel size; only the ratio to the particle size matters."""
SMOOTHING_VOXELS = 1.0
INSIDE_VOXELS = 2
"""Missing voxels less deep in the threshold's foreground are a matter of where the surface lies."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Scan:
    """One scan of the data folder."""

    read: Callable[[Path], Array]
    particle_size_mm: float


def _sand(data: Path) -> Array:
    return np.fromfile(data / "sand/sand_200x200x100_uint8.raw", np.uint8).reshape(100, 200, 200)


def _lrc32(data: Path) -> Array:
    with np.load(data / "lrc32/lrc32_256x256x256_uint8.npz") as content:
        image: Array = content["image"]
    return image


SCANS = {
    "sand": Scan(_sand, 0.15),
    "lrc32-200": Scan(lambda data: _lrc32(data)[:200], 0.205),
    "lrc32": Scan(_lrc32, 0.205),
}


def main(arguments: Sequence[str]) -> None:
    parser = script_parser(__file__, __doc__)
    parser.add_argument("data", type=Path, help="folder of the scans")
    parser.add_argument("--scans", default=",".join(SCANS), help="some of them, with commas between")
    parser.add_argument("--pictures", type=Path, help="folder for a picture of each, real_NAME.png")
    add_model(parser)
    options = parser.parse_args(arguments)
    bundle = ps3d_rt.load_model(options.model)
    head = result_head(
        __file__, arguments, "real scans, without ground truth", bundle=bundle, packages=["scikit-image"]
    )
    rows = []
    for name in options.scans.split(","):
        scan = SCANS[name]
        image = scan.read(options.data)
        result = ps3d_rt.predict(image, spacing=SPACING_MM, particle_size=scan.particle_size_mm, model=bundle)
        about = {"scan": name, "shape": image.shape, "particle_size_mm": scan.particle_size_mm}
        rows.append(about | compare(image, result))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
        if options.pictures is not None:
            picture = imagecodecs.png_encode(draw(ArrayVolume(image), result.labels), level=9)
            (options.pictures / f"real_{name}.png").write_bytes(picture)
        write_result(options.out, {**head, "scans": rows})
    print(as_table(rows))


def compare(image: Array, result: ps3d_rt.Result) -> dict[str, Any]:
    """Compare the foreground found with that of the threshold.

    Args:
        image: (z, y, x) gray values.
        result: of predict on it.
    """
    smooth = ndimage.gaussian_filter(image.astype(np.float32), SMOOTHING_VOXELS)
    threshold = float(threshold_otsu(smooth))
    plain, ours = smooth > threshold, result.labels > 0
    missing = plain & ~ours
    inside = ndimage.binary_erosion(plain, iterations=INSIDE_VOXELS, border_value=1)
    parts, _ = ndimage.label(missing & inside)
    volumes = result.particles.volume_voxels
    return {
        "particles": len(volumes),
        "largest_voxels": int(volumes.max(initial=0)),
        "largest_share_of_foreground": float(volumes.max(initial=0) / max(1, volumes.sum())),
        "threshold": threshold,
        "missing_share": float(missing.sum() / plain.sum()),
        "largest_missing_voxels": int(np.bincount(parts.ravel())[1:].max(initial=0)),
        "foreground_f1": float(2 * (plain & ours).sum() / (plain.sum() + ours.sum())),
        "dropped": result.run["dropped"],
    }


def as_table(rows: Sequence[dict[str, Any]]) -> str:
    """Write one line a scan: Markdown."""
    heads = ["scan", "particles", "largest, voxels", "missing of Otsu's", "largest part missing inside"]
    heads += ["F1 of foreground", "dropped", "their share"]
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "--:|" * (len(heads) - 1)]
    for row in rows:
        cells = [row["scan"], row["particles"], row["largest_voxels"], f"{row['missing_share']:.2%}"]
        cells += [row["largest_missing_voxels"], f"{row['foreground_f1']:.4f}", row["dropped"]["particles"]]
        lines.append("| " + " | ".join(map(str, [*cells, f"{row['dropped']['volume_share']:.3%}"])) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    run_script(main)

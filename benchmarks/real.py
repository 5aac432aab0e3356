"""Real scans without ground truth: is anything that a plain threshold sees missing, and what was dropped?

    python benchmarks/real.py DATA [--model PATH] [--scans sand,cement] [--pictures docs]

DATA is a folder of the scans in ``real_scans.py``, which says where they come from; none is part of this repository.

The threshold is Otsu's, one a scan, of the scan smoothed by a Gaussian of one voxel. Its foreground has noise and
partial volumes too, so that a share of 0 is not to be reached. A lost grain shows as a large connected part of what is
missing, two voxels inside of the threshold's foreground. Real shapes with simulated gray values have a ground truth:
there, our foreground and that of the best threshold, chosen with the truth, stand beside each other.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

import ps3d_rt
from ps3d_bench.environment import write_result
from ps3d_bench.script import add_model, result_head, run_script, script_parser
from ps3d_rt.core.arrays import Array
from ps3d_rt.core.metrics import evaluate
from ps3d_rt.io.base import ArrayVolume
from real_sand import draw
from real_scans import SCANS

SPACING_MM = 0.01
"""No scan says its voxel size; only the ratio to the particle size matters."""
SMOOTHING_VOXELS = 1.0
INSIDE_VOXELS = 2
"""Missing voxels less deep in the threshold's foreground are a matter of where the surface lies."""
_BINS = 1024


def main(arguments: Sequence[str]) -> None:
    parser = script_parser(__file__, __doc__)
    parser.add_argument("data", type=Path, help="folder of the scans")
    parser.add_argument("--scans", default=",".join(SCANS), help="some of them, with commas between")
    parser.add_argument("--pictures", type=Path, help="folder for a picture of each that may be shown, real_NAME.png")
    parser.add_argument("--engine", default="auto", help="as of predict")
    parser.add_argument("--threads", type=int, help="as of predict; default: all cores")
    add_model(parser)
    options = parser.parse_args(arguments)
    bundle = ps3d_rt.load_model(options.model)
    data = "real scans, without ground truth; real shapes with simulated gray values, with it"
    head = result_head(__file__, arguments, data, bundle=bundle, packages=["scikit-image"])
    rows = []
    for name in options.scans.split(","):
        scan = SCANS[name]
        read = scan.read(options.data)
        how: dict[str, Any] = {"spacing": SPACING_MM, "particle_size": SPACING_MM * read.particle_size_voxels}
        how |= {"dark": scan.dark, "engine": options.engine, "threads": options.threads}
        result = ps3d_rt.predict(read.image, model=bundle, **how)
        about = {"scan": name, "what": scan.what, "shape": read.image.shape, "dark": scan.dark}
        about["particle_size_voxels"] = read.particle_size_voxels
        rows.append(about | compare(read.image, result, dark=scan.dark, reference=read.reference))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
        if options.pictures is not None and scan.may_be_shown:
            picture = imagecodecs.png_encode(draw(ArrayVolume(read.image), result.labels), level=9)
            (options.pictures / f"real_{name}.png").write_bytes(picture)
        write_result(options.out, {**head, "scans": rows})
    print(as_table(rows))


def compare(
    image: Array, result: ps3d_rt.Result, *, dark: bool = False, reference: Array | None = None
) -> dict[str, Any]:
    """Compare the foreground found with that of a threshold.

    Args:
        image: (z, y, x) gray values.
        result: of predict on it.
        dark: whether the particles are darker than what is between them.
        reference: (z, y, x) true labels, if they are known.
    """
    smooth = ndimage.gaussian_filter(image.astype(np.float32), SMOOTHING_VOXELS)
    smooth = -smooth if dark else smooth
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
        "threshold": -threshold if dark else threshold,
        "missing_share": float(missing.sum() / plain.sum()),
        "largest_missing_voxels": int(np.bincount(parts.ravel())[1:].max(initial=0)),
        "foreground_f1": float(2 * (plain & ours).sum() / (plain.sum() + ours.sum())),
        "dropped": result.run["dropped"],
        "truth": None if reference is None else _against(reference, result.labels, smooth),
    }


def _against(reference: Array, labels: Array, smooth: Array) -> dict[str, float]:
    ours = evaluate(labels, reference)
    return {
        "particles": len(np.unique(reference[reference > 0])),
        "f1": round(ours.f1, 4),
        "f1_instance": round(ours.f1_instance, 4),
        "best_threshold_f1": round(best_threshold_f1(smooth, reference > 0), 4),
    }


def best_threshold_f1(values: Array, true: Array) -> float:
    """Give the F1 of the threshold that is best for ``true``, a mask of the same shape, to a 1024th of the range.

    >>> best_threshold_f1(np.array([1, 2, 3, 9]), np.array([False, False, True, True]))
    1.0
    """
    span = float(values.min()), float(values.max())
    found, every = (np.histogram(v, _BINS, span)[0][::-1].cumsum() for v in (values[true], values))
    return float((2 * found / (every + np.count_nonzero(true))).max())


def as_table(rows: Sequence[dict[str, Any]]) -> str:
    """Write one line a scan: Markdown."""
    heads = ["scan", "particles", "largest, voxels", "missing of Otsu's", "largest part missing inside"]
    heads += ["F1 of foreground with Otsu's", "dropped", "their share"]
    heads += ["true F1", "of the best threshold", "F1_instance"]
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "--:|" * (len(heads) - 1)]
    for row in rows:
        dropped, truth = row["dropped"], row["truth"]
        cells = [row["scan"], row["particles"], row["largest_voxels"], f"{row['missing_share']:.2%}"]
        cells += [row["largest_missing_voxels"], f"{row['foreground_f1']:.3f}"]
        cells += [dropped["particles"], f"{dropped['volume_share']:.3%}"]
        scores = ("f1", "best_threshold_f1", "f1_instance")
        cells += [""] * 3 if truth is None else [f"{truth[name]:.3f}" for name in scores]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    run_script(main)

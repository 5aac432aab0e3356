"""What the particle table takes and how right its surface is.

    python benchmarks/particle_table.py [--side 256] [--repeats 5] [--balls 200] [--cache bench-cache]

*Speed*: all columns of one synthetic sample on two cores, in boxes as ``predict`` measures them, beside scikit-image's
regionprops_table with those of its properties that are also columns of ours (label, volume, box, centroid, moments,
gray mean, deviation, least and largest value), on the same labels. Both must agree before they are timed, and take
turns.
*Surface*: balls of known radius in random places on the voxel grid; bias is the mean error, scatter its deviation.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from math import pi
from pathlib import Path
from typing import Any

import numpy as np
from skimage.measure import regionprops_table

from ps3d_bench.environment import write_result
from ps3d_bench.race import OURS, Race, Runner, as_table, judge
from ps3d_bench.samples import Case, load_cases
from ps3d_bench.script import result_head, run_script, script_parser
from ps3d_bench.stages import sample_spec
from ps3d_rt.core.arrays import Array
from ps3d_rt.core.chunks import ChunkGrid
from ps3d_rt.core.gray import GrayBins
from ps3d_rt.core.grid import Box
from ps3d_rt.core.measure import PartialSums, ParticleTable, measure, merge_sums, partial_sums, to_table
from ps3d_rt.core.normalize import gray_scale
from ps3d_rt.plan import WORK_SHARD

CORES = 2
SPACING_MM = (1.0, 1.0, 1.0)
PROPERTIES = (
    "label",
    "area",
    "bbox",
    "centroid",
    "inertia_tensor_eigvals",
    "intensity_mean",
    "intensity_std",
    "intensity_min",
    "intensity_max",
)
RADII = (2, 3, 5, 10, 20, 40)
DATA = "simulated: ps3d_training.synth, and balls"


def main(arguments: Sequence[str]) -> None:
    parser = script_parser(__file__, __doc__)
    parser.add_argument("--side", type=int, default=256, help="of the sample, voxels")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each, of which the median counts")
    parser.add_argument("--balls", type=int, default=200, help="of each radius")
    parser.add_argument("--cache", type=Path, default=Path("bench-cache"), help="folder that keeps the sample")
    options = parser.parse_args(arguments)
    (case,) = load_cases(options.cache, [sample_spec(options.side)])
    with ThreadPoolExecutor(CORES) as threads:
        speed = judge(race(case, threads), options.repeats)
    surface = [surface_bias(radius, options.balls) for radius in RADII]
    head = result_head(__file__, arguments, DATA, packages=["scikit-image"])
    about = {"simulated": case.simulated, "came_out": case.came_out}
    content = {"sample": about, "cores": CORES, "properties": PROPERTIES, "speed": speed, "surface": surface}
    write_result(options.out, head | content)
    print(as_table(speed))
    for found in surface:
        print(f"ball of radius {found['radius_voxels']}: {found['bias']:+.2%}, scatter {found['scatter']:.2%}")


def race(case: Case, threads: ThreadPoolExecutor) -> Race:
    """Ours in boxes on two threads beside scikit-image, which has one."""
    bins = GrayBins.from_scale(gray_scale(case.image))

    def ours() -> ParticleTable:
        return table_in_boxes(case.reference, case.image, bins, threads)

    def theirs() -> dict[str, Array]:
        columns: dict[str, Array] = regionprops_table(case.reference, case.image, properties=PROPERTIES)
        return columns

    about = f"{case.reference.shape[0]}³ uint32, {case.reference.max()} grains"
    runners = (Runner(f"{OURS}, all columns", ours), Runner("scikit-image regionprops_table", theirs))
    return Race("particle table", about, case.reference.size, agreement, runners)


def table_in_boxes(labels: Array, image: Array, bins: GrayBins, threads: ThreadPoolExecutor) -> ParticleTable:
    """Measure box by box, as large as those that ``predict`` measures."""
    shape, whole = labels.shape, Box.of_shape(labels.shape)

    def sums(box: Box) -> PartialSums:
        return partial_sums(labels[box.grow(1, whole).slices], image[box.slices], box=box, shape=shape, bins=bins)

    return to_table(merge_sums(threads.map(sums, ChunkGrid(shape, WORK_SHARD).boxes)), shape, SPACING_MM)


def agreement(ours: ParticleTable, theirs: dict[str, Array]) -> float:
    """Share of the particles whose common columns are the same."""
    if not np.array_equal(ours.label, theirs["label"]):
        return 0.0
    same = ours.volume_voxels == theirs["area"]
    for at, axis in enumerate("zyx"):
        same &= getattr(ours, f"box_{axis}_start_voxels") == theirs[f"bbox-{at}"]
        same &= getattr(ours, f"box_{axis}_stop_voxels") == theirs[f"bbox-{at + 3}"]
        same &= np.isclose(getattr(ours, f"centroid_{axis}_mm") - 0.5, theirs[f"centroid-{at}"])
    for name in ("mean", "std", "min", "max"):
        same &= np.isclose(getattr(ours, f"gray_{name}"), theirs[f"intensity_{name}"])
    # The largest moment of inertia is the sum of the two larger variances; ours are those of voxels, not of points.
    variances = [getattr(ours, f"axis_{name}_mm") ** 2 / 20 - 1 / 12 for name in ("major", "middle")]
    same &= np.isclose(sum(variances), theirs["inertia_tensor_eigvals-0"])
    return float(same.mean())


def surface_bias(radius: int, balls: int) -> dict[str, Any]:
    """Error of the surface of balls whose middles lie anywhere in a voxel."""
    draw = np.random.default_rng(radius)
    grid = np.indices((2 * radius + 4,) * 3) - (radius + 1.5)
    errors = []
    for offset in draw.uniform(-0.5, 0.5, (balls, 3, 1, 1, 1)):
        inside = ((grid - offset) ** 2).sum(0) <= radius**2
        errors.append(measure(inside.astype(np.uint8), SPACING_MM).surface_mm2[0] / (4 * pi * radius**2) - 1)
    return {
        "radius_voxels": radius,
        "balls": balls,
        "bias": round(float(np.mean(errors)), 5),
        "scatter": round(float(np.std(errors)), 5),
    }


if __name__ == "__main__":
    run_script(main)

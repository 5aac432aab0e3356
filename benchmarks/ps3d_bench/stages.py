"""Every stage of a prediction but the network, beside its peers: the libraries one would take instead.

All runners of a stage get the same input in the same process, must agree before anything is timed, and take turns.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import count, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import zarr
from scipy import ndimage
from skimage.measure import regionprops_table
from skimage.transform import resize

from ps3d_bench.baselines import plain, published
from ps3d_bench.race import OURS, Race, Runner
from ps3d_bench.samples import Case
from ps3d_rt.core.arrays import Array
from ps3d_rt.core.blend import BlendRing, gaussian_window
from ps3d_rt.core.border_core import to_border_core
from ps3d_rt.core.grid import Box, PatchLattice, Zyx
from ps3d_rt.core.measure import ParticleTable, measure
from ps3d_rt.core.metrics import evaluate
from ps3d_rt.core.resample import resample, resample_labels
from ps3d_rt.io.labels_writer import LabelsZarr, create_labels
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.volume_writer import write_volume
from ps3d_rt.stages.particles import to_instances, to_instances_chunked
from ps3d_rt.stages.storage import BORDER_CORE, INSTANCES, MemoryStore
from ps3d_training.synth import SampleSpec

BORDER_VOXELS = 2.5
"""Thickness of the class border in the bundled model."""
PATCH, OVERLAP = 64, 0.25
GRAY_TOLERANCE = 0.5
"""Gray values of a 16-bit scan by which two resamplings may differ."""
SPACING_MM = (0.01, 0.01, 0.01)


def sample_spec(side: int) -> SampleSpec:
    """Describe the sample that all stages work on; at 256³ it holds 753 grains, most of them touching."""
    return SampleSpec(seed=2560, shape=(side, side, side), particle_size_voxels=23.0, fill=0.5, touching=0.6)


def races(case: Case) -> Iterator[Race]:
    """Set up one stage after the other, in the order of a prediction.

    Args:
        case: a cube of a scan and its truth.
    """
    yield from _resampling(case.image)
    yield _blending(case.image.shape[0])
    yield _particles(case.reference)
    yield _labels_back(case.reference)
    yield _measuring(case)
    with TemporaryDirectory() as folder:
        yield _writing(case.reference, Path(folder))
        yield _reading(case.image, Path(folder))


def _resampling(image: Array) -> Iterator[Race]:
    side = image.shape[0]
    for what, source, out in (
        ("resampling, smaller", image, 3 * side // 8),
        ("resampling, larger", image[tuple([slice(5 * side // 8)] * 3)], side),
    ):
        # Source and output stand in an exact ratio: those who only take shapes then sample at the same places.
        zoom, shape = out / source.shape[0], (out, out, out)
        ours = partial(resample, source, shape, zoom=(zoom,) * 3)
        about = {"input": f"{_sides(source.shape)} uint16 → {_sides(shape)}", "voxels": max(source.size, out**3)}
        plainly = partial(_scipy_zoom, source, zoom, 0.0)
        if out < source.shape[0]:
            smooth = partial(_scipy_zoom, source, zoom, (1 / zoom - 1) / 2)
            library = partial(_skimage_resize, source, shape, True)
            runners = (Runner(OURS, ours), Runner("scipy gaussian + zoom", smooth, 0.99), _resize(library))
            yield Race(f"{what}, low-pass", **about, agreement=_close, runners=runners)
            ours = partial(ours, lowpass=False)
        library = partial(_skimage_resize, source, shape, False)
        runners = (Runner(OURS, ours), Runner("scipy zoom", plainly, 0.99), _resize(library))
        yield Race(what, **about, agreement=_close, runners=runners)


def _resize(run: partial[Array]) -> Runner:
    return Runner("scikit-image resize", run, 0.99)


def _scipy_zoom(image: Array, zoom: float, sigma: float) -> Array:
    image = image.astype(np.float32)
    if sigma:
        image = ndimage.gaussian_filter(image, sigma, mode="nearest")
    resized: Array = ndimage.zoom(image, zoom, order=1, mode="nearest", grid_mode=True)
    return resized


def _skimage_resize(image: Array, shape: Zyx, smooth: bool) -> Array:
    resized: Array = resize(
        image.astype(np.float32), shape, order=1, mode="edge", anti_aliasing=smooth, preserve_range=True
    )
    return resized


def _blending(side: int) -> Race:
    shape, patch = (side, side, side), (min(PATCH, side // 2),) * 3
    lattice = PatchLattice.plan(shape, patch, OVERLAP)
    draw = np.random.default_rng(0)
    scores = np.exp(draw.standard_normal((8, 3, *patch), dtype=np.float32))  # every patch gets one of these
    scores /= scores.sum(axis=1, keepdims=True)
    return Race(
        "blending and argmax",
        f"{lattice.count} patches of {_sides(patch)} → {_sides(shape)}",
        side**3,
        _share_equal,
        (
            Runner(OURS, partial(_blend_ring, lattice, scores)),
            Runner("numpy: three sums, weights, division", partial(_blend_plain, lattice, scores), 0.999),
        ),
    )


def _blend_ring(lattice: PatchLattice, scores: Array) -> Array:
    ring, number = BlendRing(lattice), count()
    classes = np.empty(lattice.padded, np.uint8)
    for _, boxes in ring.layers():
        for at in boxes:
            ring.add(scores[next(number) % len(scores)], at)
        first, (planes,) = ring.take()
        classes[first : first + len(planes)] = planes
    return classes


def _blend_plain(lattice: PatchLattice, scores: Array) -> Array:
    window = gaussian_window(lattice.patch)
    total = np.zeros((3, *lattice.padded), np.float32)
    weight = np.zeros(lattice.padded, np.float32)
    for number, start in enumerate(product(*lattice.starts)):
        at = tuple(slice(a, a + n) for a, n in zip(start, lattice.patch, strict=True))
        total[(slice(None), *at)] += scores[number % len(scores)] * window
        weight[at] += window
    total /= weight
    classes: Array = total.argmax(axis=0).astype(np.uint8)
    return classes


def _particles(reference: Array) -> Race:
    border_core = to_border_core(reference, BORDER_VOXELS)
    chunk = (max(1, reference.shape[0] // 2),) * 3
    return Race(
        "border-core → particles",
        f"{_sides(reference.shape)} uint8, {reference.max()} grains",
        reference.size,
        _same_particles,
        (
            Runner(OURS, partial(to_instances, border_core)),
            Runner(f"{OURS}, chunks of {_sides(chunk)}", partial(_in_chunks, border_core, chunk)),
            Runner("the published way", partial(published.particles, border_core)),
            # Its watershed settles ties by the order of its queue.
            Runner("scipy + scikit-image", partial(plain.particles, border_core), 0.95),
        ),
    )


def _in_chunks(border_core: Array, chunk: Zyx) -> Array:
    store = MemoryStore(border_core.shape)
    store.create(BORDER_CORE, np.uint8)
    store.write(BORDER_CORE, Box.of_shape(border_core.shape), border_core)
    to_instances_chunked(store, border_core.shape, chunk)
    return store.read(INSTANCES, Box.of_shape(border_core.shape))


def _labels_back(reference: Array) -> Race:
    side = reference.shape[0]
    out = 3 * side // 8
    zoom = out / side
    labels = resample_labels(reference, (out, out, out), zoom=(1 / zoom,) * 3)
    zoomed = partial(ndimage.zoom, labels, 1 / zoom, order=0, mode="nearest", grid_mode=True)
    return Race(
        "labels back to the source grid",
        f"{_sides(labels.shape)} uint32 → {_sides(reference.shape)}",
        reference.size,
        _share_equal,
        (
            Runner(OURS, partial(resample_labels, labels, reference.shape, zoom=(zoom,) * 3)),
            Runner("scipy zoom, order 0", zoomed, 0.99),
        ),
    )


def _measuring(case: Case) -> Race:
    properties = ("label", "area", "centroid", "bbox", "intensity_mean")
    return Race(
        "measuring",
        f"{_sides(case.reference.shape)} uint32, {case.reference.max()} grains",
        case.reference.size,
        _same_table,
        (
            Runner(OURS, partial(measure, case.reference, SPACING_MM, case.image)),
            Runner(
                "scikit-image regionprops_table",
                partial(regionprops_table, case.reference, case.image, properties=properties),
            ),
        ),
    )


def _writing(labels: Array, folder: Path) -> Race:
    number = count()
    return Race(
        "writing labels",
        f"{_sides(labels.shape)} uint32",
        labels.size,
        lambda a, b: _share_equal(a[:], b[:]),
        (
            Runner(f"{OURS}, OME-Zarr with pyramid", lambda: _write_ome(labels, folder / f"{next(number)}.ome.zarr")),
            Runner("zarr as it comes", lambda: _write_plain(labels, folder / f"{next(number)}.zarr")),
        ),
    )


def _write_ome(labels: Array, path: Path) -> Any:
    create_labels(path, "scan", labels.shape, SPACING_MM)
    written = LabelsZarr(path)
    for box in written.boxes(0):
        written.write(box, labels[box.slices])
    for level in range(1, written.levels):
        for box in written.boxes(level):
            written.coarsen(level, box)
    return zarr.open_group(path, mode="r")["labels/particles/0"]


def _write_plain(array: Array, path: Path) -> Any:
    written = zarr.create_array(path, shape=array.shape, dtype=array.dtype)
    written[:] = array
    return written


def _reading(image: Array, folder: Path) -> Race:
    ours, plainly = folder / "image.zarr", folder / "plain.zarr"
    write_volume(ours, image, SPACING_MM)
    _write_plain(image, plainly)
    return Race(
        "reading a scan",
        f"{_sides(image.shape)} uint16",
        image.size,
        _share_equal,
        (Runner(OURS, partial(_read, ours)), Runner("zarr as it comes", lambda: zarr.open_array(plainly, mode="r")[:])),
    )


def _read(path: Path) -> Array:
    with open_volume(path) as volume:
        return volume.read(Box.of_shape(volume.shape))


def _sides(shape: tuple[int, ...]) -> str:
    """``256³``, or ``1×2×3``."""
    return f"{shape[0]}³" if len(set(shape)) == 1 else "×".join(map(str, shape))


def _share_equal(a: Array, b: Array) -> float:
    return float((a == b).mean()) if a.shape == b.shape else 0.0


def _close(a: Array, b: Array) -> float:
    return float((np.abs(a - b) <= GRAY_TOLERANCE).mean()) if a.shape == b.shape else 0.0


def _same_particles(ours: Array, theirs: Array) -> float:
    """F1_instance: 1 where both part the voxels alike, whatever the ids, and only there."""
    return evaluate(theirs, ours).f1_instance


def _same_table(ours: ParticleTable, theirs: dict[str, Array]) -> float:
    """Share of the particles whose every column is the same."""
    if not np.array_equal(ours.label, theirs["label"]):
        return 0.0
    same = (ours.volume_voxels == theirs["area"]) & np.isclose(ours.columns()["gray_mean"], theirs["intensity_mean"])
    for axis, spacing in zip("zyx", SPACING_MM, strict=True):
        at = "zyx".index(axis)
        centre = getattr(ours, f"centroid_{axis}_mm") / spacing - 0.5
        same &= np.isclose(centre, theirs[f"centroid-{at}"])
        same &= getattr(ours, f"box_{axis}_start_voxels") == theirs[f"bbox-{at}"]
        same &= getattr(ours, f"box_{axis}_stop_voxels") == theirs[f"bbox-{at + 3}"]
    return float(same.mean())

"""``ps3d-rt annotate pick``: propose patches of a scan, cut them out, and give each the labels to begin with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import ps3d_rt
from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.core.metrics import evaluate
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import ArrayVolume, SpacingMm, Volume
from ps3d_rt.result import Result
from ps3d_training.annotate.candidates import choose, described, lattice, probe_of
from ps3d_training.annotate.edits import Labels
from ps3d_training.annotate.folder import PatchFacts, read_listing, write_patch
from ps3d_training.annotate.review import Item, doubts_of, dropped_items, in_order, items_of

NO_MODEL = "none"
SHORTLIST = 2
"""Patches that are segmented twice to compare, for each that is wanted."""


@dataclass(frozen=True, kw_only=True)
class PickOptions:
    """What is wanted."""

    count: int = 4
    patch: Zyx = (128, 400, 400)
    """Voxels; a smaller scan is taken whole."""
    particle_size_mm: float | Literal["auto"] = "auto"
    model: str = "default"
    """Whose labels to begin with, where there is no result; ``none``: no labels."""
    mirrors: bool = False
    """Prefer patches in which the labels change if the patch is mirrored; takes nine times as long as the labels."""


@dataclass(frozen=True)
class Proposal:
    """Labels of a patch to begin with."""

    labels: Labels
    items: list[Item]
    particle_size_mm: float


def pick(
    scan: Volume, out: Path, options: PickOptions, result: Result | None = None
) -> Iterator[tuple[str, PatchFacts]]:
    """Choose patches and write them into an annotation folder; those it holds are kept and not chosen again.

    Args:
        scan: with a spacing.
        out: the annotation folder.
        options: what is wanted.
        result: of the whole scan; its labels and how sure they are.

    Yields:
        name and facts of every patch as it is written.

    Raises:
        InputError: if the spacing or the particle size is not known, the result is of another scan, or nothing is left.
    """
    spacing = _spacing(scan)
    if result is not None and tuple(result.labels.shape) != scan.shape:
        raise InputError(
            f"the result has {tuple(result.labels.shape)} voxels and the scan {scan.shape}; give its own scan."
        )
    boxes = lattice(scan.shape, options.patch)
    names = [_name(scan, box) for box in boxes]
    listed = read_listing(out)
    taken = [number for number, name in enumerate(names) if name in listed]
    descriptions = np.stack([described(scan.read(probe_of(box))) for box in boxes])
    doubts = np.zeros(len(boxes)) if result is None else np.array([_doubt(result, box) for box in boxes])
    if options.mirrors and result is None:
        for number in choose(descriptions, doubts, SHORTLIST * options.count, taken):
            doubts[number] = disagreement(scan, boxes[number], options)
    chosen = choose(descriptions, doubts, options.count, taken)
    if not chosen:
        raise InputError(f"{out} holds all patches of the scan already; choose a smaller patch, or another scan.")
    for number in chosen:
        box = boxes[number]
        image = scan.read(box)
        proposal = _proposal(image, spacing, options) if result is None else _cut(result, box)
        why = f"gray values, texture and size unlike the others; doubt {doubts[number]:.2f}"
        facts = PatchFacts(
            spacing_mm=spacing,
            particle_size_mm=proposal.particle_size_mm,
            scan=scan.source,
            start=box.start,
            why=why,
        )
        write_patch(out, names[number], image, proposal.labels, facts, proposal.items)
        yield names[number], facts


def disagreement(scan: Volume, box: Box, options: PickOptions) -> float:
    """Tell how unlike the labels of a patch are as it is, and averaged over its mirror images, 0 to 1."""
    volume = ArrayVolume(scan.read(box), scan.spacing_mm)
    plain, mirrored = (
        np.asarray(
            ps3d_rt.predict(volume, particle_size=options.particle_size_mm, model=_model(options), mirror=way).labels
        )
        for way in (False, True)
    )
    return 1 - evaluate(plain, mirrored).f1_instance


def _spacing(scan: Volume) -> SpacingMm:
    if scan.spacing_mm is None:
        raise InputError(f"{scan.source} does not say how large its voxels are; pass the spacing in mm (--spacing).")
    return scan.spacing_mm


def _name(scan: Volume, box: Box) -> str:
    z, y, x = box.start
    return f"{scan.name}_z{z}_y{y}_x{x}"


def _model(options: PickOptions) -> str:
    if options.model == NO_MODEL:
        raise InputError("mirrors need a model to compare with; name one, or leave mirrors out.")
    return options.model


def _doubt(result: Result, box: Box) -> float:
    """Mean doubt about the particles of a box, and the share of what was dropped there."""
    columns = result.particles.columns()
    spacing = np.array(result.run["scan"]["spacing_mm"])
    centres = np.stack([columns[f"centroid_{axis}_mm"] for axis in "zyx"], axis=1) / spacing
    inside = np.all((centres >= box.start) & (centres < box.stop), axis=1)
    doubts = [values[inside] for values in doubts_of({"label": result.particles.label, **columns}).values()]
    dropped = dropped_items(result.dropped.columns(), box)
    if not inside.any() or not doubts:
        return float(bool(dropped))
    return float(np.max(doubts, axis=0).mean()) + len(dropped) / (len(dropped) + int(inside.sum()))


def _cut(result: Result, box: Box) -> Proposal:
    """Cut a patch out of a result; its labels are numbered from 1."""
    volume = result._labels()
    found = volume.read(box)
    ids = np.setdiff1d(found, [0])
    labels = np.where(found > 0, np.searchsorted(ids, found) + 1, 0).astype(np.uint32)
    rows = np.searchsorted(result.particles.label, ids)
    columns = {name: np.asarray(column)[rows] for name, column in result.particles.columns().items()}
    columns["label"] = np.arange(1, len(ids) + 1)
    dropped = dropped_items(result.dropped.columns(), box)
    return Proposal(
        labels, in_order([*items_of(labels, columns), *dropped]), result.run["parameters"]["particle_size_mm"]
    )


def _proposal(image: NDArray[Any], spacing: SpacingMm, options: PickOptions) -> Proposal:
    if options.model == NO_MODEL:
        if options.particle_size_mm == "auto":
            raise InputError("without a model nothing tells the particle size; give it in mm (--particle-size).")
        return Proposal(np.zeros(image.shape, np.uint32), [], options.particle_size_mm)
    volume = ArrayVolume(image, spacing)
    found = ps3d_rt.predict(volume, particle_size=options.particle_size_mm, model=options.model)
    return _cut(found, Box.of_shape(volume.shape))

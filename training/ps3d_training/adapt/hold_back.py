"""Labelled scans cut in two: most of each to train on, its end to judge by."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from math import ceil
from pathlib import Path

import numpy as np

from ps3d_rt.core.arrays import Array
from ps3d_rt.io.samples import find_samples
from ps3d_rt.io.volume_writer import write_volume
from ps3d_training.adapt.score import LabelledPart
from ps3d_training.synth.folder import LISTING

HELD_BACK = 0.25
"""Of the longest side."""
LEAST_SIZES = 2.0
"""Particle diameters that a held-back part is long at least; a shorter one shows no whole particle."""


def cut(part: LabelledPart) -> tuple[LabelledPart, LabelledPart | None]:
    """Cut a labelled scan across its longest side, and leave a particle's diameter out between the two.

    Returns:
        the part to train on, and the one that is held back; None where the scan is too short for one, or no particle
        is labelled there.
    """
    axis = int(np.argmax(part.image.shape))
    length = part.image.shape[axis]
    size = ceil(part.particle_size_mm / part.spacing_mm[axis])
    held = round(HELD_BACK * length)
    if held < LEAST_SIZES * size or length - held - size < held:
        return part, None
    last = _planes(part, axis, slice(length - held, length))
    return _planes(part, axis, slice(0, length - held - size)), last if last.labels.any() else None


def _planes(part: LabelledPart, axis: int, planes: slice) -> LabelledPart:
    at = (slice(None),) * axis + (planes,)
    known = None if part.known is None else part.known[at]
    return replace(part, image=part.image[at], labels=part.labels[at], known=known)


def write_parts(folder: Path, parts: list[LabelledPart]) -> Path:
    """Write parts in the layout that ``train prepare`` reads; what is there is replaced."""
    shutil.rmtree(folder, ignore_errors=True)
    listing, partly = {}, any(part.known is not None for part in parts)
    for part in parts:
        arrays: dict[str, Array] = {"images": part.image, "instance_seg": part.labels}
        if partly:  # the layout wants it of all samples, or of none
            known = np.ones(part.image.shape, bool) if part.known is None else part.known
            arrays["annotated"] = known.astype(np.uint8)
        for kind, array in arrays.items():
            write_volume(folder / kind / f"{part.name}.zarr", np.ascontiguousarray(array), part.spacing_mm)
        listing[part.name] = {"spacing": list(part.spacing_mm), "particle_size": part.particle_size_mm}
    (folder / LISTING).write_text(json.dumps(listing, indent=2) + "\n", encoding="utf-8")
    return folder


def read_parts(folder: Path) -> tuple[list[LabelledPart], list[LabelledPart]]:
    """Cut every sample of a folder: what is trained on, and what is held back."""
    taught, held = [], []
    for sample in find_samples(folder):
        image, labels, known = sample.read_partly()
        whole = LabelledPart(sample.name, image, labels, known, sample.spacing_mm, sample.particle_size_mm)
        first, last = cut(whole)
        taught.append(first)
        held += [] if last is None else [last]
    return taught, held

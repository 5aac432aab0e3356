"""Pictures of particles in the colours of their minerals, for the report."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ps3d_rt.core.grid import Box
from ps3d_rt.core.measure import ParticleTable
from ps3d_rt.core.minerals.classify import REACH, classify
from ps3d_rt.core.minerals.phases import AnchoredScale
from ps3d_rt.core.sample_table import SampleTable
from ps3d_rt.io.base import Volume
from ps3d_rt.mineralogy.folder import Minerals
from ps3d_rt.report.minerals import MineralPictures, class_colours, minerals_section
from ps3d_rt.stages.minerals import bins_of

PARTICLES = 8
_PIXELS = 128


def draw_minerals(minerals: Minerals, labels: Volume, scan: Volume | None, table: SampleTable) -> Markup:
    """Draw the section of the report.

    Args:
        minerals: of the particles.
        labels: of the particles.
        scan: of the same voxels; without it no particle is shown in its minerals' colours.
        table: of the particles.
    """
    pictures = {} if scan is None else _pictures(labels, scan, table, minerals)
    return minerals_section(minerals.particles, minerals.frames, pictures)


def _pictures(labels: Volume, scan: Volume, table: SampleTable, minerals: Minerals) -> MineralPictures:
    """Classify the largest particles once more, each in the plane across z through the middle of its box."""
    largest = table.take(np.argsort(-table.volume_voxels, kind="stable")[:PARTICLES])
    return {int(label): _picture(labels, scan, largest, row, minerals) for row, label in enumerate(largest.label)}


def _picture(labels: Volume, scan: Volume, table: ParticleTable, row: int, minerals: Minerals) -> NDArray[np.uint8]:
    record, phases = minerals.record, minerals.particles.phases
    scale = AnchoredScale(record["embedding_gray"], record["gray_per_unit"], record["noise"])
    ends = [
        (int(getattr(table, f"box_{axis}_start_voxels")[row]), int(getattr(table, f"box_{axis}_stop_voxels")[row]))
        for axis in "zyx"
    ]
    z = (ends[0][0] + ends[0][1]) // 2
    own = Box((z, ends[1][0], ends[2][0]), (z + 1, ends[1][1], ends[2][1]))
    read = own.grow(REACH, Box.of_shape(labels.shape))
    ids = labels.read(read).astype(np.uint32, copy=False)
    bins, peaks = bins_of(phases, scale), np.array(record["peaks"])
    limits = (peaks[1:] + peaks[:-1]) / 2
    found = classify(ids, bins.index(scan.read(read), scale), bins.centres(), limits, scale.noise)
    here = own.relative_to(read).slices
    shown = class_colours(len(phases.phases) + 1)[found.classes[here][0]]
    shown[ids[here][0] != table.label[row]] = 0
    repeats = max(1, _PIXELS // max(shown.shape[:2]))
    step = max(1, -(-max(shown.shape[:2]) // (2 * _PIXELS)))
    return np.ascontiguousarray(shown[::step, ::step].repeat(repeats, axis=0).repeat(repeats, axis=1))

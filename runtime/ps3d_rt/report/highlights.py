"""The particles worth a look: possibly merged or split, the largest, the least confident; as tables with pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.core.measure import ParticleTable
from ps3d_rt.core.merge_scores import LISTED
from ps3d_rt.core.planes import shrink_gray, shrink_labels
from ps3d_rt.core.resample import ReadBox
from ps3d_rt.core.sample_table import SampleTable
from ps3d_rt.report.drawing import Shades, overlay, png_data_uri
from ps3d_rt.report.formatting import ABSENT, LengthUnit, count, number
from ps3d_rt.report.templates import render

ROWS = 8
"""Of each table."""
PIXELS = 96
"""Side of a picture, about."""

Thumbnails = dict[int, NDArray[np.uint8]]
"""Label → (H, W, 3) uint8, RGB."""


def largest(table: SampleTable) -> NDArray[np.intp]:
    """Rows of the largest particles, the largest first."""
    return np.argsort(-table.volume_voxels, kind="stable")[:ROWS]


def least_confident(table: SampleTable) -> NDArray[np.intp]:
    """Rows of the particles with the lowest confidence, the lowest first; none if it is not known."""
    confidence = table.confidence
    if confidence is None:
        return np.zeros(0, np.intp)
    return np.argsort(confidence, kind="stable")[:ROWS]


def possibly(scores: NDArray[np.float64] | None) -> NDArray[np.intp]:
    """Rows of the particles with the highest scores, of those that are listed; none if there are no scores."""
    if scores is None:
        return np.zeros(0, np.intp)
    rows = np.argsort(-scores, kind="stable")[:ROWS]
    listed: NDArray[np.intp] = rows[scores[rows] >= LISTED]
    return listed


def highlighted(table: SampleTable) -> dict[str, NDArray[np.intp]]:
    """Give the rows of every list by its heading; empty lists are left out."""
    lists = {
        "Possibly merged": possibly(table.merged_score),
        "Possibly split": possibly(table.split_score),
        "Largest": largest(table),
        "Least confident": least_confident(table),
    }
    return {heading: rows for heading, rows in lists.items() if len(rows)}


def take_thumbnails(
    read_image: ReadBox, read_labels: ReadBox, shape: Zyx, table: SampleTable, shades: Shades
) -> Thumbnails:
    """Draw every highlighted particle, alone outlined, in the plane across z through the middle of its box.

    Args:
        read_image: as for :func:`ps3d_rt.report.slices.take_slices`, as the next two.
        read_labels: as above.
        shape: as above.
        table: the particles.
        shades: gray values that are shown black and white.
    """
    chosen = table.take(np.unique(np.concatenate([np.zeros(0, np.intp), *highlighted(table).values()])))
    return {
        int(label): _thumbnail(read_image, read_labels, shape, chosen, row, shades)
        for row, label in enumerate(chosen.label.tolist())
    }


def _thumbnail(
    read_image: ReadBox, read_labels: ReadBox, shape: Zyx, table: ParticleTable, row: int, shades: Shades
) -> NDArray[np.uint8]:
    z, y, x = place(table, row)
    half = max(8, round(0.65 * max(b - a for a, b in _box(table, row)[1:])))
    around = Box((z, y - half, x - half), (z + 1, y + half, x + half)).intersect(Box.of_shape(shape))
    shrink = max(1, 2 * half // PIXELS)
    gray, ids = shrink_gray(read_image(around)[0], shrink), shrink_labels(read_labels(around)[0], shrink)
    alone = (ids == table.label[row]).astype(np.uint8)
    scale = max(1, round(PIXELS / max(gray.shape)))
    return overlay(gray, alone, scale, max(2, scale // 3), shades)


def place(table: ParticleTable, row: int) -> Zyx:
    """Voxel, z, y, x, in the middle of a particle's box."""
    z, y, x = ((a + b) // 2 for a, b in _box(table, row))
    return z, y, x


def _box(table: ParticleTable, row: int) -> list[tuple[int, int]]:
    """First voxel, and one past the last, along z, y, x."""
    ends = ("start", "stop")
    z, y, x = ([int(getattr(table, f"box_{axis}_{end}_voxels")[row]) for end in ends] for axis in "zyx")
    return [(a, b) for a, b in (z, y, x)]


def particle_table(table: SampleTable, rows: NDArray[np.intp], thumbnails: Thumbnails, unit: LengthUnit) -> Markup:
    """Write the rows as a table of HTML; without a picture the cell stays empty."""
    measured = [f"Diameter, {unit.name}", "Solidity", "Sphericity", "Confidence", "Contact margin"]
    chosen = table.take(rows)
    return render(
        "particles.html",
        heads=["", "Label", *measured, "Centroid z, y, x, voxels", "Touches boundary"],
        rows=[_row(chosen, row, thumbnails, unit) for row in range(len(chosen))],
    )


def _row(table: ParticleTable, row: int, thumbnails: Thumbnails, unit: LengthUnit) -> dict[str, Any]:
    label = int(table.label[row])
    picture = thumbnails.get(label)
    scores = (table.confidence, table.contact_margin)
    return {
        "label": label,
        "shown_label": count(label),
        "picture": None if picture is None else png_data_uri(picture),
        "cells": [
            number(float(table.equivalent_diameter_mm[row]) * unit.per_mm),
            ABSENT if table.solidity is None else number(float(table.solidity[row]), 2),
            number(float(table.sphericity[row]), 2),
            *(ABSENT if column is None or np.isnan(column[row]) else f"{column[row]:z.2f}" for column in scores),
            ", ".join(str(n) for n in place(table, row)),
            "yes" if table.touches_edge[row] else "no",
        ],
    }

"""All pictures of a report, read from the scan and its labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.core.planes import Slices
from ps3d_rt.core.resample import ReadBox
from ps3d_rt.core.sample_table import SampleTable
from ps3d_rt.report.drawing import shades_of
from ps3d_rt.report.highlights import Thumbnails, take_thumbnails
from ps3d_rt.report.slices import take_slices


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """What a report shows of a sample; nothing by default."""

    slices: list[Slices] = field(default_factory=list)
    thumbnails: Thumbnails = field(default_factory=dict)
    gray: bool = True
    """Whether gray values are shown, or only what is particle."""
    minerals: Markup = field(default_factory=Markup)
    """From :func:`ps3d_rt.report.minerals.minerals_section`; empty if they are not known."""


def take_pictures(
    read_image: ReadBox | None,
    read_labels: ReadBox,
    shape: Zyx,
    table: SampleTable,
    slices: list[Slices] | None = None,
) -> Pictures:
    """Read planes along every axis, and the particles worth a look.

    Args:
        read_image: returns the gray values of a box of the source grid, as :meth:`Volume.read` does; None if the scan
            is not there: particles are white then, and all else is black.
        read_labels: returns the labels of a box of the same grid, unsigned.
        shape: of that grid, voxels.
        table: the particles.
        slices: the planes, if they were cut before, when the scan was read; then only particles are read.
    """

    def inside(box: Box) -> NDArray[Any]:
        return read_labels(box) > 0

    read = inside if read_image is None else read_image
    slices = take_slices(read, read_labels, shape) if slices is None else slices
    shades = shades_of(np.concatenate([s.gray[s.middle].ravel() for s in slices]))
    return Pictures(slices, take_thumbnails(read, read_labels, shape, table, shades), read_image is not None)

"""Which images are one volume, and in which order they lie. Pure: headers in, order and spacing out.

1. all images are of one series, size and orientation, or the folder is refused;
2. along the normal of the image they are ordered by position, not by name; without positions, by their number;
3. the steps between them must be even: a missing slice is a step of twice the length.

Source: DICOM PS3.3, C.7.6.2 (Image Plane), C.11.1 (Modality LUT).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import numpy as np

from ps3d_rt.errors import InputError
from ps3d_rt.io.spacing import StatedSpacing, stated_spacing

_UNEVEN = 0.05
"""Share of a step by which steps may differ: positions are rounded."""
_TURNED = 1e-3
"""Difference of direction cosines that is more than rounding."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """One image of a series, a file or a frame of one.

    Attributes:
        name: file name, and frame if there are several, for messages.
        series: identity of the series.
        title: what people call the series; '' if it has no name.
        shape: y, x.
        dtype: of the stored numbers, a NumPy name.
        slope: gray value = stored · slope + intercept.
        intercept: see slope.
        pixel_mm: distance between rows (y) and columns (x), millimetres; None if it is not said.
        position_mm: of the first pixel, x, y, z of the patient or part; None if it is not said.
        orientation: direction cosines of a row and of a column; None if they are not said.
        number: of the image in the series; None if it is not said.
        step_mm: distance between slices that the file claims; None if it claims none.
        is_inverted: whether small numbers are shown white.
    """

    name: str
    series: str
    title: str
    shape: tuple[int, int]
    dtype: str
    slope: float = 1.0
    intercept: float = 0.0
    pixel_mm: tuple[float, float] | None = None
    position_mm: tuple[float, float, float] | None = None
    orientation: tuple[float, ...] | None = None
    number: int | None = None
    step_mm: float | None = None
    is_inverted: bool = False

    @property
    def is_scaled(self) -> bool:
        """Whether gray values are not the stored numbers."""
        return (self.slope, self.intercept) != (1.0, 0.0)


@dataclass(frozen=True, slots=True)
class Series:
    """A volume: indices of the images from first to last, what they state of the spacing, and sentences."""

    order: tuple[int, ...]
    spacing: StatedSpacing
    remarks: tuple[str, ...] = ()


def arrange(images: Sequence[ImageHeader], source: str) -> Series:
    """Put the images of one volume in order.

    Args:
        images: at least one, in any order.
        source: the folder or file, for messages.

    Raises:
        InputError: if they are of several series, of several sizes, turned against each other, or not all there.
    """
    _check_one_series(images, source)
    if len(images) < 2:
        raise InputError(f"{source}: holds one image, {images[0].name}; a volume has at least two: give all slices.")
    places, by = _places(images, source)
    order = tuple(sorted(range(len(images)), key=lambda index: places[index]))
    step = _even_step([places[index] for index in order], [images[index].name for index in order], source, by)
    remarks = []
    if by == "number":
        step = images[0].step_mm or 0.0
        remarks.append("the images do not say where they lie; they are put in the order of their numbers.")
    elif (said := images[0].step_mm) and abs(said - step) > _UNEVEN * step:
        remarks.append(f"the images lie {step:g} mm apart, their header says {said:g} mm; the positions are believed.")
    if images[0].is_inverted:
        remarks.append("small numbers are meant to be shown white (MONOCHROME1); the numbers are taken as stored.")
    spacing = stated_spacing([step or None, *(images[0].pixel_mm or (None, None))], ["mm"] * 3, source)
    return Series(order, spacing, tuple(remarks))


def _check_one_series(images: Sequence[ImageHeader], source: str) -> None:
    groups: dict[str, list[ImageHeader]] = {}
    for image in images:
        groups.setdefault(image.series, []).append(image)
    if len(groups) > 1:
        found = [f"{len(group)} images of '{group[0].title or group[0].name}'" for group in groups.values()]
        more = f" and {len(found) - 4} more" if len(found) > 4 else ""
        raise InputError(
            f"{source}: found {len(groups)} series: {', '.join(found[:4])}{more}; a folder holds one: move the others "
            "to folders of their own."
        )
    first = images[0]
    for image in images[1:]:
        for what, one, other in (
            ("", (image.shape, image.dtype), (first.shape, first.dtype)),
            ("pixels of ", image.pixel_mm, first.pixel_mm),
        ):
            if one != other:
                raise InputError(
                    f"{source}: {image.name} is {what}{one}, {first.name} {what}{other}; all slices of a volume are "
                    "alike: move the others to a folder of their own."
                )
        if image.orientation and first.orientation and _turned(image.orientation, first.orientation):
            raise InputError(
                f"{source}: {image.name} is turned against {first.name}; the slices of a volume are parallel: move the "
                "others to a folder of their own."
            )


def _turned(one: Sequence[float], other: Sequence[float]) -> bool:
    return any(abs(a - b) > _TURNED for a, b in zip(one, other, strict=True))


def _places(images: Sequence[ImageHeader], source: str) -> tuple[list[float], str]:
    """Give every image's place along the normal, millimetres; or its number if it has none."""
    places = []
    for image in images:
        if image.position_mm is None or image.orientation is None:
            break
        row, column = image.orientation[:3], image.orientation[3:]
        places.append(float(np.dot(np.cross(row, column), image.position_mm)))
    else:
        return places, "position"
    numbers = [image.number for image in images if image.number is not None]
    if len(numbers) < len(images):
        raise InputError(
            f"{source}: {len(images) - len(numbers)} of {len(images)} images say neither where they lie nor their "
            "number: the order is not known; export the series again."
        )
    return [float(number) for number in numbers], "number"


def _even_step(places: Sequence[float], names: Sequence[str], source: str, by: str) -> float:
    steps = [b - a for a, b in pairwise(places)]
    usual = median(steps)
    for index, step in enumerate(steps):
        pair, unit = f"{names[index]} and {names[index + 1]}", " mm" if by == "position" else ""
        if step < 1e-3 * usual or usual <= 0:
            raise InputError(
                f"{source}: {pair} have the same {by}; every slice may occur once: "
                "remove the files that are not slices."
            )
        if abs(step - usual) > _UNEVEN * usual:
            missing = round(step / usual) - 1
            what = f"{missing} missing" if missing > 0 else "uneven steps"
            raise InputError(
                f"{source}: {pair} lie {step:g}{unit} apart, the others {usual:g}{unit} ({what}); a volume has every "
                "slice: copy or export the series again."
            )
    return usual

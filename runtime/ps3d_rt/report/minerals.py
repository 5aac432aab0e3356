"""The section of a report that shows minerals: bars, curves, and particles in the minerals' colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ps3d_rt.core.minerals.frames import Frame
from ps3d_rt.core.minerals.table import MineralTable
from ps3d_rt.report.drawing import png_data_uri
from ps3d_rt.report.formatting import ABSENT, count, number, percent
from ps3d_rt.report.plots import COLOURS, VOID_COLOUR, Axis, Series, line_plot, stacked_bars
from ps3d_rt.report.templates import render

MineralPictures = Mapping[int, NDArray[np.uint8]]
"""Label → (H, W, 3) uint8, RGB, in :func:`class_colours`."""


def class_colours(classes: int) -> NDArray[np.uint8]:
    """Colours of void and the minerals: (classes, 3) uint8, RGB."""
    texts = [VOID_COLOUR, *(COLOURS[k % len(COLOURS)] for k in range(classes - 1))]
    return np.array([[int(text[k : k + 2], 16) for k in (1, 3, 5)] for text in texts], np.uint8)


def minerals_section(table: MineralTable, frames: Mapping[str, Frame], pictures: MineralPictures) -> Markup:
    """Write the section as HTML.

    Args:
        table: minerals of the particles.
        frames: those of :func:`ps3d_rt.core.minerals.frames.frames_of`.
        pictures: of some particles; they are shown with what they hold.
    """
    names = table.phases.names
    return render(
        "minerals.html",
        colours=list(zip(names, COLOURS, strict=False)),
        void_colour=VOID_COLOUR,
        bars=_bars(frames, names),
        liberation=_curves(
            frames["liberation"],
            names,
            ("least_share", "liberation_by_volume"),
            ("share of the mineral in a particle, at least, %", "share of the mineral, %", "Liberation by volume"),
        ),
        yields=_curves(
            frames["yield"],
            names,
            ("mass_yield" if "mass_yield" in frames["yield"] else "volume_yield", "recovery"),
            ("yield, richest particles first, %", "best recovery, %", "Best recovery at a yield"),
        ),
        heads=names,
        composition=_composition(frames["composition"]),
        touching=_touching(frames["association"], names),
        particles=_particles(table, pictures),
    )


def _bars(frames: Mapping[str, Frame], names: Sequence[str]) -> Markup:
    """Composition of the sample, and of every size class that holds something."""
    composition, sizes = frames["composition"], frames["grade_by_size"]
    rows: list[tuple[str, Sequence[float]]] = [("all", composition["volume_share"].tolist())]
    grades = sizes["volume_share"].reshape(-1, len(names))
    limits = list(zip(sizes["size_low_mm"], sizes["size_high_mm"], strict=True))[:: len(names)]
    for (low, high), grade in zip(limits, grades, strict=True):
        if np.isfinite(grade).all():
            rows.append((f"{number(float(low), 2)}–{number(float(high), 2)} mm", grade.tolist()))
    return stacked_bars(rows, names, "Minerals by volume, of all particles and by size")


def _curves(frame: Frame, names: Sequence[str], columns: tuple[str, str], words: tuple[str, str, str]) -> Markup:
    x, y = columns
    series = []
    for k, name in enumerate(names):
        own = frame["mineral"] == name
        ends = frame[f"{y}_low"][own], frame[f"{y}_high"][own]
        series.append(Series(name, k, frame[x][own] * 100, frame[y][own], *ends, points=True))
    low, high = (float(end) for end in (series[0].x.min(), series[0].x.max()))
    return line_plot(series, Axis(words[0], low, high), words[1], words[2])


def _composition(frame: Frame) -> list[tuple[str, list[tuple[str, str]]]]:
    kinds = [kind for kind in ("volume_share", "mass_share") if kind in frame]
    rows = []
    for kind in kinds:
        cells = [
            (percent(float(found)), f"{percent(float(low))} – {percent(float(high))}")
            for found, low, high in zip(frame[kind], frame[f"{kind}_low"], frame[f"{kind}_high"], strict=True)
        ]
        rows.append((kind.replace("_", " ").capitalize(), cells))
    return rows


def _touching(frame: Frame, names: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Row by row what is touched, column by column the minerals."""
    rows = []
    for other in ("surface", "void", *names):
        cells = []
        for name in names:
            own = (frame["mineral"] == name) & (frame["touches"] == other)
            value = float(frame["boundary_share"][own][0]) if own.any() else np.nan
            cells.append(percent(value) if np.isfinite(value) else ABSENT)
        rows.append((other, cells))
    return rows


def _particles(table: MineralTable, pictures: MineralPictures) -> list[dict[str, str]]:
    rows = []
    shares = np.nan_to_num(table.shares)
    for label, picture in pictures.items():
        row = int(np.searchsorted(table.label, label))
        held = sorted(zip(shares[row].tolist(), table.phases.names, strict=True), reverse=True)
        words = ", ".join(f"{name} {percent(share)}" for share, name in held if share > 0.005)
        rows.append({"label": count(label), "picture": png_data_uri(picture), "words": words})
    return rows

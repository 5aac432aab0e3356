"""Put the page together: facts, table and pictures in, one string of HTML out."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from ps3d_rt.core.distribution import DETECTION_LIMIT_VOXELS, SHARES, size_facts
from ps3d_rt.core.grid import Zyx
from ps3d_rt.core.sample_table import SampleTable
from ps3d_rt.report.classes import classes_table, fits_table
from ps3d_rt.report.distribution import NUMBER_COLOUR, VOLUME_COLOUR, Curve, curves, size_plot
from ps3d_rt.report.figures import slices_section
from ps3d_rt.report.formatting import ABSENT, MICROMETRE, LengthUnit, count, moment, number, percent, unit_for
from ps3d_rt.report.highlights import Thumbnails, highlighted, particle_table
from ps3d_rt.report.pictures import Pictures
from ps3d_rt.report.run_facts import mapping, run_section, voxels
from ps3d_rt.report.shapes import shape_section
from ps3d_rt.report.templates import note, render
from ps3d_rt.report.warnings import find_warnings


def write_report(path: Path, facts: Mapping[str, Any], table: SampleTable, pictures: Pictures) -> None:
    """Write :func:`render_report` to ``path``, UTF-8; an existing file is replaced."""
    path.write_text(render_report(facts, table, pictures), encoding="utf-8", newline="\n")


def render_report(facts: Mapping[str, Any], table: SampleTable, pictures: Pictures) -> str:
    """Render one self-contained HTML page; its arguments are those of :func:`draw_report`."""
    return add_run(draw_report(facts, table, pictures), facts)


def add_run(page: str, facts: Mapping[str, Any]) -> str:
    """Say on a page what ran and for how long, which is known when all else is drawn."""
    return page.replace(_RUN, run_section(facts), 1)


_RUN = "<!-- what ran -->"


def draw_report(facts: Mapping[str, Any], table: SampleTable, pictures: Pictures) -> str:
    """Draw all of the page but what ran; :func:`add_run` completes it.

    Args:
        facts: the content of ``run.json``; every key is optional, ``warnings`` is a list of sentences. The size
            distribution is shown as ``size_distribution`` has it; without it, of all particles as they are.
        table: one row a particle; may be empty.
        pictures: from :func:`ps3d_rt.report.take_pictures`; what is missing is left out.
    """
    scan, versions = mapping(facts, "scan"), mapping(facts, "versions")
    sizes = mapping(facts, "size_distribution") or size_facts(table)
    both = curves(table, sizes, _shape(scan)) if sizes["particles"] else None
    unit = unit_for(both[1].marks_mm[1]) if both else MICROMETRE
    byline = [moment(facts.get("date")), f"ps3d-rt {versions['ps3d-rt']}" if "ps3d-rt" in versions else None]
    page = render(
        "page.html",
        name=scan.get("name") or "Sample",
        byline=" · ".join(["Particle report", *filter(None, byline)]),
        warnings=find_warnings(facts, table, sizes),
        tiles=_tiles(facts, table, both, unit),
        slices=slices_section(pictures.slices, scan, gray=pictures.gray),
        sizes=_sizes(table, sizes, both, unit),
        classes=classes_table(table, sizes, _shape(scan), unit) if both else Markup(),
        shapes=shape_section(table),
        minerals=pictures.minerals,
        particles=_particles(table, pictures.thumbnails, unit),
        run=Markup(_RUN),
        number_colour=NUMBER_COLOUR,
        volume_colour=VOLUME_COLOUR,
    )
    return str(page)  # whoever goes on with it replaces text, not HTML


def _shape(scan: Mapping[str, Any]) -> Zyx | None:
    shape = scan.get("shape")
    return None if not shape else (int(shape[0]), int(shape[1]), int(shape[2]))


class Tile(NamedTuple):
    """A key figure."""

    name: str
    value: str
    under: str
    """Smaller, below the value."""
    unit: str = ""


def _tiles(
    facts: Mapping[str, Any], table: SampleTable, both: tuple[Curve, Curve] | None, unit: LengthUnit
) -> list[Tile]:
    particles, scanned = len(table), voxels(facts)
    mean = float(table.equivalent_diameter_mm.mean()) if particles else 0.0
    at_edge = int(np.count_nonzero(table.touches_edge))
    share = percent(int(table.volume_voxels.sum()) / scanned) if scanned else ABSENT
    return [
        Tile("Particles", count(particles), f"mean diameter {unit.show(mean)}" if particles else ""),
        *_middle_tiles(both, unit),
        Tile("Foreground", share, "of the volume is particle"),
        *_dropped_tile(mapping(facts, "dropped")),
        Tile("Touch the boundary", count(at_edge), f"{percent(at_edge / particles)} of them" if particles else ""),
        *_confidence_tile(table),
    ]


def _middle_tiles(both: tuple[Curve, Curve] | None, unit: LengthUnit) -> list[Tile]:
    if both is None:
        return [Tile("D50 by number", ABSENT, ""), Tile("D50 by volume", ABSENT, ""), Tile("P80", ABSENT, "")]
    tiles = []
    for curve in both:
        d10, d50, _, d90 = (number(d * unit.per_mm) for d in curve.marks_mm)
        tiles.append(Tile(f"D50 by {curve.name}", d50, f"D10 {d10} · D90 {d90}", unit.name))
    p80, ends = both[1].marks_mm[2], both[1].intervals_mm[2]
    under = "D80 by volume" if isnan(ends[0]) else " to ".join(number(end * unit.per_mm) for end in ends)
    return [*tiles, Tile("P80", number(p80 * unit.per_mm), under, unit.name)]


def _dropped_tile(dropped: Mapping[str, Any]) -> list[Tile]:
    if not dropped:
        return []
    share = percent(dropped["volume_share"])
    return [Tile("Dropped", count(dropped["particles"]), f"particles, {share} of the foreground")]


def _confidence_tile(table: SampleTable) -> list[Tile]:
    confidence = table.confidence
    if confidence is None or not len(confidence):
        return []
    return [Tile("Confidence", f"{confidence.mean():.2f}", f"least {confidence.min():.2f}")]


def _sizes(table: SampleTable, sizes: Mapping[str, Any], both: tuple[Curve, Curve] | None, unit: LengthUnit) -> Markup:
    if both is None:
        return note(ALL_CUT if len(table) else NO_PARTICLES)
    return render(
        "measured.html",
        plot=size_plot(*both, unit, sizes),
        heads=[f"by {curve.name}" for curve in both],
        rows=_marks(both, unit),
        more=fits_table(sizes, unit),
        note=f"{DIAMETERS[sizes['diameter']]} {DEFINITIONS} {_basis(table, sizes, unit)}",
    )


def _marks(both: tuple[Curve, Curve], unit: LengthUnit) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """D10, D50, D80 and D90, each by number and by volume with its interval."""
    rows = []
    for at, share in enumerate(SHARES):
        cells = []
        for curve in both:
            low, high = (number(end * unit.per_mm) for end in curve.intervals_mm[at])
            cells.append((number(curve.marks_mm[at] * unit.per_mm), "" if low == ABSENT else f"{low}–{high}"))
        rows.append((f"D{100 * share:.0f}, {unit.name}", "", cells))
    return rows


def _basis(table: SampleTable, sizes: Mapping[str, Any], unit: LengthUnit) -> str:
    """Say which particles the distribution is made of, and how many may be missing from it."""
    left_out = len(table) - sizes["particles"]
    basis = (
        f"{count(left_out)} particles that touch the boundary of the volume are left out; the larger one of the others "
        "is, the more it counts for them."
        if sizes["edge_correction"]
        else "Particles that the boundary of the volume cuts are included as they are."
    )
    limit = unit.show(sizes["detection_limit_mm"])
    few = count(sizes["below_limit"]) if sizes["below_limit"] else "No"
    return f"{basis} {few} particles are below the detection limit, {DETECTION_LIMIT_VOXELS} voxels or {limit}."


NO_PARTICLES = "No particles were found, so there is no size distribution."
ALL_CUT = "Every particle touches the boundary of the volume, so the size of none is known."
DIAMETERS = {
    "equivalent": "Equivalent diameter: that of a ball with the particle’s volume.",
    "sieve": "Sieve diameter: the smallest square hole that the particle passes, as an ellipsoid.",
}
DEFINITIONS = (
    "D50 by number: half of the particles are at most this large. D50 by volume: particles up to this diameter make up "
    "half of the particle volume; D80 by volume is P80. Below each value, and as bars in the plot: its 95 % interval."
)


def _particles(table: SampleTable, thumbnails: Thumbnails, unit: LengthUnit) -> list[tuple[str, Markup]]:
    return [(heading, particle_table(table, rows, thumbnails, unit)) for heading, rows in highlighted(table).items()]

"""Put the page together: facts, table and pictures in, one string of HTML out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from ps3d_rt.core.distribution import DETECTION_LIMIT_VOXELS, size_facts
from ps3d_rt.core.grid import Zyx
from ps3d_rt.core.sample_table import SampleTable
from ps3d_rt.report.distribution import NUMBER_COLOUR, VOLUME_COLOUR, Curve, curves, size_plot
from ps3d_rt.report.figures import slices_section
from ps3d_rt.report.formatting import ABSENT, MICROMETRE, LengthUnit, count, moment, number, percent, text, unit_for
from ps3d_rt.report.highlights import Thumbnails, largest, least_confident, particle_table
from ps3d_rt.report.pictures import Pictures
from ps3d_rt.report.run_facts import mapping, run_section, voxels
from ps3d_rt.report.shapes import shape_section
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
    template = Template(files("ps3d_rt.report").joinpath("report.html").read_text(encoding="utf-8"))
    return template.substitute(
        name=text(scan.get("name") or "Sample"),
        byline=" · ".join(["Particle report", *(text(b) for b in byline if b)]),
        warnings=_warnings(find_warnings(facts, table, sizes)),
        figures=_key_figures(facts, table, both, unit),
        slices=slices_section(pictures.slices, scan, gray=pictures.gray),
        sizes=_sizes(table, sizes, both, unit),
        shapes=shape_section(table),
        particles=_particles(table, pictures.thumbnails, unit),
        run=_RUN,
        number_colour=NUMBER_COLOUR,
        volume_colour=VOLUME_COLOUR,
    )


def _shape(scan: Mapping[str, Any]) -> Zyx | None:
    shape = scan.get("shape")
    return None if not shape else (int(shape[0]), int(shape[1]), int(shape[2]))


def _warnings(sentences: Sequence[str]) -> str:
    if not sentences:
        return ""
    items = "".join(f"<li>{text(s)}</li>" for s in sentences)
    return f'<section class="warnings"><h2>Please note</h2><ul>{items}</ul></section>'


def _key_figures(
    facts: Mapping[str, Any], table: SampleTable, both: tuple[Curve, Curve] | None, unit: LengthUnit
) -> str:
    particles, scanned = len(table), voxels(facts)
    mean = float(table.equivalent_diameter_mm.mean()) if particles else 0.0
    at_edge = int(np.count_nonzero(table.touches_edge))
    share = percent(int(table.volume_voxels.sum()) / scanned) if scanned else ABSENT
    tiles = [
        ("Particles", count(particles), f"mean diameter {unit.show(mean)}" if particles else ""),
        *_middle_tiles(both, unit),
        ("Foreground", share, "of the volume is particle"),
        *_dropped_tile(mapping(facts, "dropped")),
        ("At the faces", count(at_edge), f"{percent(at_edge / particles)} of the particles" if particles else ""),
        *_confidence_tile(table),
    ]
    return "".join(f'<div><dt>{a}</dt><dd>{b}</dd><dd class="under">{c}</dd></div>' for a, b, c in tiles)


def _middle_tiles(both: tuple[Curve, Curve] | None, unit: LengthUnit) -> list[tuple[str, str, str]]:
    if both is None:
        return [("D50 by number", ABSENT, ""), ("D50 by volume", ABSENT, "")]
    tiles = []
    for curve in both:
        d10, d50, d90 = (number(d * unit.per_mm) for d in curve.marks_mm)
        tiles.append((f"D50 by {curve.name}", f"{d50} <small>{unit.name}</small>", f"D10 {d10} · D90 {d90}"))
    return tiles


def _dropped_tile(dropped: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    if not dropped:
        return []
    share = percent(dropped["volume_share"])
    return [("Dropped", count(dropped["particles"]), f"particles, {share} of the foreground")]


def _confidence_tile(table: SampleTable) -> list[tuple[str, str, str]]:
    confidence = table.confidence
    if confidence is None or not len(confidence):
        return []
    return [("Confidence", f"{confidence.mean():.2f}", f"least {confidence.min():.2f}")]


def _sizes(table: SampleTable, sizes: Mapping[str, Any], both: tuple[Curve, Curve] | None, unit: LengthUnit) -> str:
    if both is None:
        return f'<p class="note">{ALL_CUT if len(table) else NO_PARTICLES}</p>'
    heads = "".join(f'<th scope="col">D{p}, {unit.name}</th>' for p in (10, 50, 90))
    rows = "".join(_size_row(curve, unit) for curve in both)
    return (
        f'<figure class="plot">{size_plot(*both, unit, sizes)}</figure>'
        f"<div><table><thead><tr><td></td>{heads}</tr></thead><tbody>{rows}</tbody></table>"
        f'<p class="note">{DIAMETERS[sizes["diameter"]]} {DEFINITIONS} {_basis(table, sizes, unit)}</p></div>'
    )


def _size_row(curve: Curve, unit: LengthUnit) -> str:
    cells = []
    for mark, ends in zip(curve.marks_mm, curve.intervals_mm, strict=True):
        low, high = (number(end * unit.per_mm) for end in ends)
        cells.append(f"<td>{number(mark * unit.per_mm)}<small>{low}–{high}</small></td>")
    return f'<tr><th scope="row" class="{curve.name}">by {curve.name}</th>{"".join(cells)}</tr>'


def _basis(table: SampleTable, sizes: Mapping[str, Any], unit: LengthUnit) -> str:
    """Say which particles the distribution is made of, and how many may be missing from it."""
    left_out = len(table) - sizes["particles"]
    basis = (
        f"{count(left_out)} particles at the faces of the volume are left out; the larger one of the others is, the "
        "more it counts for them."
        if sizes["edge_correction"]
        else "Particles that a face of the volume cuts are included as they are."
    )
    limit = unit.show(sizes["detection_limit_mm"])
    few = count(sizes["below_limit"]) if sizes["below_limit"] else "No"
    return f"{basis} {few} particles are below the detection limit, {DETECTION_LIMIT_VOXELS} voxels or {limit}."


NO_PARTICLES = "No particles were found, so there is no size distribution."
ALL_CUT = "Every particle touches a face of the volume, so the size of none is known."
DIAMETERS = {
    "equivalent": "Equivalent diameter: that of a ball with the particle’s volume.",
    "sieve": "Sieve diameter: the smallest square hole that the particle passes, as an ellipsoid.",
}
DEFINITIONS = (
    "D50 by number: half of the particles are at most this large. D50 by volume: particles up to this diameter make up "
    "half of the particle volume. Below each value, and as bars in the plot: its 95 % interval."
)


def _particles(table: SampleTable, thumbnails: Thumbnails, unit: LengthUnit) -> str:
    if not len(table):
        return '<p class="note">There are none.</p>'
    found = [f"<div><h3>Largest</h3>{particle_table(table, largest(table), thumbnails, unit)}</div>"]
    doubtful = least_confident(table)
    if len(doubtful):
        rows = particle_table(table, doubtful, thumbnails, unit)
        found.append(f"<div><h3>Least confident</h3>{rows}</div>")
    return "".join(found)

"""Put the page together: facts, table and slices in, one string of HTML out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from math import floor, log10, prod
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from ps3d_rt.core.measure import ParticleTable, size_distribution
from ps3d_rt.report.cautions import cautions
from ps3d_rt.report.distribution import NUMBER_COLOUR, VOLUME_COLOUR, curves, size_plot
from ps3d_rt.report.slices import Slice, pictures, png_data_uri
from ps3d_rt.report.wording import (
    ABSENT,
    MICROMETRE,
    LengthUnit,
    count,
    duration,
    fact,
    moment,
    number,
    percent,
    rate,
    text,
    title,
    unit_for,
)

AXES = "zyx"


def write_report(path: Path, facts: Mapping[str, Any], table: ParticleTable, slices: Sequence[Slice]) -> None:
    """Write :func:`render_report` to ``path``, UTF-8; an existing file is replaced."""
    path.write_text(render_report(facts, table, slices), encoding="utf-8", newline="\n")


def render_report(facts: Mapping[str, Any], table: ParticleTable, slices: Sequence[Slice]) -> str:
    """Render one self-contained HTML page.

    Args:
        facts: the content of ``run.json``; every key is optional, ``warnings`` is a list of sentences.
        table: one row a particle; may be empty.
        slices: from :func:`take_slices`; none leaves the section out.
    """
    scan, versions = _mapping(facts, "scan"), _mapping(facts, "versions")
    unit = _unit(table)
    byline = [moment(facts.get("date")), f"ps3d-rt {versions['ps3d-rt']}" if "ps3d-rt" in versions else None]
    template = Template(files("ps3d_rt.report").joinpath("report.html").read_text(encoding="utf-8"))
    return template.substitute(
        name=text(scan.get("name") or "Sample"),
        byline=" · ".join(["Particle report", *(text(b) for b in byline if b)]),
        cautions=_cautions(cautions(facts, table)),
        figures=_key_figures(table, scan, unit),
        slices=_slices(slices, scan),
        sizes=_sizes(table, unit),
        run=_run(facts),
        number_colour=NUMBER_COLOUR,
        volume_colour=VOLUME_COLOUR,
    )


def _mapping(facts: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = facts.get(key)
    return value if isinstance(value, Mapping) else {}


def _unit(table: ParticleTable) -> LengthUnit:
    """Take the unit that suits the middle of the volume."""
    return unit_for(size_distribution(table).d50_by_volume_mm) if len(table) else MICROMETRE


def _voxels(scan: Mapping[str, Any]) -> int | None:
    shape = scan.get("shape")
    return prod(int(n) for n in shape) if shape else None


def _cautions(sentences: Sequence[str]) -> str:
    if not sentences:
        return ""
    items = "".join(f"<li>{text(s)}</li>" for s in sentences)
    return f'<section class="cautions"><h2>Please note</h2><ul>{items}</ul></section>'


def _key_figures(table: ParticleTable, scan: Mapping[str, Any], unit: LengthUnit) -> str:
    particles, voxels = len(table), _voxels(scan)
    mean = float(table.equivalent_diameter_mm.mean()) if particles else 0.0
    at_edge = int(np.count_nonzero(table.touches_edge))
    share = percent(int(table.volume_voxels.sum()) / voxels) if voxels else ABSENT
    tiles = [
        ("Particles", count(particles), f"mean diameter {unit.show(mean)}" if particles else ""),
        *_middle_tiles(table, unit),
        ("Foreground", share, "of the volume is particle"),
        ("Touching the edge", count(at_edge), f"{percent(at_edge / particles)} of the particles" if particles else ""),
    ]
    return "".join(f'<div><dt>{a}</dt><dd>{b}</dd><dd class="under">{c}</dd></div>' for a, b, c in tiles)


def _middle_tiles(table: ParticleTable, unit: LengthUnit) -> list[tuple[str, str, str]]:
    if not len(table):
        return [("D50 by number", ABSENT, ""), ("D50 by volume", ABSENT, "")]
    tiles = []
    for curve in curves(table):
        d10, d50, d90 = (number(d * unit.per_mm) for d in curve.marks_mm)
        tiles.append((f"D50 by {curve.name}", f"{d50} <small>{unit.name}</small>", f"D10 {d10} · D90 {d90}"))
    return tiles


def _slices(slices: Sequence[Slice], scan: Mapping[str, Any]) -> str:
    if not slices:
        return ""
    spacing = _spacing_mm(scan)
    figures = [_figure(s, png_data_uri(p), spacing) for s, p in zip(slices, pictures(slices), strict=True)]
    note = "Three planes through the middle of the sample. One colour a particle, the same in all three."
    head = f'<h2>Slices</h2><p class="note">{note} <span class="hint">Click one to enlarge it.</span></p>'
    return f'<section id="slices">{head}<div class="slices">{"".join(figures)}</div></section>'


def _spacing_mm(scan: Mapping[str, Any]) -> tuple[float, float, float] | None:
    spacing = scan.get("spacing_mm")
    if not spacing:
        return None
    z, y, x = (float(s) for s in (spacing if isinstance(spacing, Sequence) else [spacing] * 3))
    return z, y, x


def _figure(cut: Slice, source: str, spacing_mm: tuple[float, float, float] | None) -> str:
    """One plane at its physical proportions, so that all planes of a row share one scale."""
    rows, columns = (AXES[a] for a in range(3) if a != cut.axis)
    step_y, step_x = (s for a, s in enumerate(spacing_mm or (1.0, 1.0, 1.0)) if a != cut.axis)
    height, width = cut.gray.shape[0] * step_y, cut.gray.shape[1] * step_x
    axis = AXES[cut.axis]
    bar = _scale_bar(width) if spacing_mm else ""
    alt = f"Slice {axis} = {cut.index} with particle outlines"
    place = f"<b>{axis} = {count(cut.index)}</b> of {count(cut.length)}"
    return (
        f'<figure id="slice-{axis}" style="--wide:{width:.6g};--ratio:{width / height:.6g}">'
        f'<a class="frame" href="#slice-{axis}" title="Enlarge"><img alt="{alt}" src="{source}"></a>'
        f"<figcaption><span>{place}</span>{bar}<span>{columns} → · {rows} ↓</span></figcaption>"
        f'<a class="close" href="#slices" title="Back to the page">×</a></figure>'
    )


def _scale_bar(width_mm: float) -> str:
    """Draw a round length of at most a third of the picture."""
    most = width_mm / 3 * (1 + 1e-9)
    power = 10.0 ** floor(log10(most))
    length = max(digit * power for digit in (1, 2, 5) if digit * power <= most)
    unit = unit_for(length)
    shown = f"{length * unit.per_mm:.6g} {unit.name}"
    return f'<span class="bar" style="width:{length / width_mm * 100:.4g}%">{shown}</span>'


def _sizes(table: ParticleTable, unit: LengthUnit) -> str:
    if not len(table):
        return '<p class="note">No particles were found, so there is no size distribution.</p>'
    by_number, by_volume = curves(table)
    rows = []
    for curve in (by_number, by_volume):
        cells = "".join(f"<td>{number(d * unit.per_mm)}</td>" for d in curve.marks_mm)
        rows.append(f'<tr><th scope="row" class="{curve.name}">by {curve.name}</th>{cells}</tr>')
    heads = "".join(f'<th scope="col">D{p}, {unit.name}</th>' for p in (10, 50, 90))
    return (
        f'<figure class="plot">{size_plot(by_number, by_volume, unit)}</figure>'
        f"<div><table><thead><tr><td></td>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        f'<p class="note">{DEFINITIONS}</p></div>'
    )


DEFINITIONS = (
    "Equivalent diameter: that of a ball with the particle’s volume. D50 by number: half of the particles are at most "
    "this large. D50 by volume: particles up to this diameter make up half of the particle volume. "
    "Particles cut by the edge of the volume are included as they are."
)


def _run(facts: Mapping[str, Any]) -> str:
    shown = []
    for key in ("scan", "parameters", "engine", "model", "patches", "versions"):
        if values := _mapping(facts, key):
            rows = _rows(values, as_written=key == "versions")
            shown.append(f"<div><h3>{key.capitalize()}</h3><dl>{rows}</dl></div>")
    seconds = _mapping(facts, "seconds")
    if seconds:
        shown.append(_time(seconds, _voxels(_mapping(facts, "scan"))))
    return "".join(shown) or '<p class="note">Nothing was recorded about this run.</p>'


def _rows(values: Mapping[str, Any], *, as_written: bool) -> str:
    rows = []
    for key, value in values.items():
        name, unit = (str(key), "") if as_written else title(str(key))
        css = ' class="code"' if "sha256" in str(key) else ""
        rows.append(f"<dt>{text(name)}</dt><dd{css}>{fact(value, unit)}</dd>")
    return "".join(rows)


def _time(seconds: Mapping[str, Any], voxels: int | None) -> str:
    """Seconds a stage with a bar for its share; ``total`` is taken from the facts where they have it."""
    stages = {str(k): float(v) for k, v in seconds.items() if k != "total" and isinstance(v, int | float)}
    total = float(seconds.get("total", sum(stages.values())))
    rows = []
    for stage, spent in stages.items():
        share = 100 * spent / total if total > 0 else 0.0
        bar = f'<span class="share" style="width:{share:.3g}%"></span>'
        rows.append(f"<tr><th scope='row'>{text(title(stage)[0])}</th><td>{duration(spent)}</td><td>{bar}</td></tr>")
    speed = rate(voxels / total) if voxels and total > 0 else ""
    last = f'<tr class="total"><th scope="row">Total</th><td>{duration(total)}</td><td>{speed}</td></tr>'
    return f'<div class="time"><h3>Time</h3><table>{"".join(rows)}{last}</table></div>'

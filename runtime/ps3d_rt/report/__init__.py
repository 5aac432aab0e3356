"""``report.html``: what was found in one sample, on one page that needs nothing but itself.

facts (run.json) + table + pictures ──▶ page.render_report ──▶ str

    pictures.py       all pictures of a sample
    templates.py      HTML from templates/, where everything is escaped
    slices.py         planes along every axis, as JPEG; figures.py: with sliders on the page

    highlights.py     the largest and the least confident particles, with thumbnails
    drawing.py        outlines over gray values
    distribution.py   cumulative size distributions, as SVG
    shapes.py         elongation over flatness, as SVG; svg.py: what both are drawn with
    warnings.py       what a reader must know before using the numbers
    run_facts.py      what ran
    formatting.py     numbers, units and names as text
"""

from ps3d_rt.report.drawing import overlay
from ps3d_rt.report.page import add_run, draw_report, render_report, write_report
from ps3d_rt.report.pictures import Pictures, take_pictures
from ps3d_rt.report.slices import preview, take_slices

__all__ = [
    "Pictures",
    "add_run",
    "draw_report",
    "overlay",
    "preview",
    "render_report",
    "take_pictures",
    "take_slices",
    "write_report",
]

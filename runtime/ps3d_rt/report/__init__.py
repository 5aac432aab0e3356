"""``report.html``: what was found in one sample, on one page that needs nothing but itself.

facts (run.json) + table + slices ──▶ page.render_report ──▶ str
                                         │
    slices.py         three planes with coloured outlines, as PNG
    distribution.py   cumulative size distributions, as SVG
    cautions.py       what a reader must know before using the numbers
    wording.py        numbers, units and names as text; everything is escaped here
"""

from ps3d_rt.report.page import render_report, write_report
from ps3d_rt.report.slices import Slice, overlay, take_slices

__all__ = ["Slice", "overlay", "render_report", "take_slices", "write_report"]

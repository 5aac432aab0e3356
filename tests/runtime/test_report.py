"""The report: one self-contained page that is right, readable and safe for any input."""

from __future__ import annotations

import doctest
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from math import log

import numpy as np
import pytest

from ps3d_rt.core.distribution import SHARES, size_distribution, size_facts
from ps3d_rt.core.measure import measure
from ps3d_rt.core.psd import size_classes
from ps3d_rt.report import Pictures, formatting, render_report, take_pictures, write_report
from ps3d_rt.report.distribution import (
    CURVE_BOTTOM,
    CURVE_TOP,
    LEFT,
    NUMBER_COLOUR,
    RIGHT,
    VOLUME_COLOUR,
    LogAxis,
    curves,
    size_plot,
)
from ps3d_rt.report.formatting import MICROMETRE
from ps3d_rt.report.shapes import shape_plot, shape_section
from ps3d_rt.report.warnings import find_warnings

SPACING_MM = (0.01, 0.01, 0.01)
VOID = {"meta", "img", "br", "hr", "link", "input", "line", "circle", "rect", "polyline"}


def boxes(*sides, shape=(24, 48, 48)):
    """Cubes of the given sides, voxels, along x; labels 1, 2, …"""
    labels = np.zeros(shape, np.uint32)
    x = 1
    for label, side in enumerate(sides, start=1):
        labels[12 - side // 2 : 12 - side // 2 + side, 20 : 20 + side, x : x + side] = label
        x += side + 1
    return labels


def facts(**more):
    return {
        "date": "2025-06-02T14:31:05+00:00",
        "scan": {"name": "ore", "shape": (24, 48, 48), "dtype": "uint16", "spacing_mm": SPACING_MM},
        "engine": {"name": "openvino", "device": "cpu", "precision": "bf16"},
        "model": {"name": "default", "sha256": "ab" * 32},
        "parameters": {"particle_size_mm": 0.06, "zoom": (2.0, 2.0, 2.0), "overlap": 0.25},
        "seconds": {"read": 1.0, "network": 3.0},
        "patches": {"planned": 10, "computed": 8, "skipped": 2},
        "versions": {"ps3d-rt": "0.1.0", "numpy": "2.4.6"},
    } | more


def pictures_of(labels):
    image = labels.astype(np.uint16) * 100 + np.arange(labels.shape[2], dtype=np.uint16)
    table = measure(labels, SPACING_MM)
    return take_pictures(lambda box: image[box.slices], lambda box: labels[box.slices], labels.shape, table)


def sure(labels, spacing_mm=SPACING_MM, confidence=0.95):
    table = measure(labels, spacing_mm)
    return replace(table, confidence=np.full(len(table), confidence))


def page(labels, **more):
    return render_report(facts(**more), sure(labels), pictures_of(labels))


class Balance(HTMLParser):
    """Fails on a tag that is closed in the wrong place or twice, and collects text and references."""

    def __init__(self):
        super().__init__()
        self.open, self.references, self.tags, self.words = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.references += [value for name, value in attrs if name in ("src", "href", "xlink:href", "data", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def parsed(html):
    parser = Balance()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser


@pytest.mark.parametrize(
    "html",
    [
        page(boxes(6, 8, 10)),
        page(boxes(6)),
        page(boxes()),
        render_report({}, measure(boxes(6), SPACING_MM), Pictures()),
        render_report({}, measure(boxes(), SPACING_MM), pictures_of(boxes())),
    ],
    ids=["three", "one", "none", "no facts", "nothing"],
)
def test_page_is_balanced_and_refers_to_nothing_outside(html):
    found = parsed(html)
    assert not {"link", "iframe", "object"} & set(found.tags)
    assert found.tags.count("script") == 1
    assert all(r.startswith(("data:image/png;base64,", "data:image/jpeg;base64,", "#")) for r in found.references)
    assert not re.search(r"https?:|//[a-z]|url\(|@import|fetch|import", re.sub(r"base64,[^\"]+", "", html))


def test_page_names_what_ran():
    words = " ".join(parsed(page(boxes(6, 8, 10))).words)
    expected = [
        "ore",
        "openvino",
        "cpu",
        "bf16",
        "ab" * 32,
        "Particle size",
        "0.06",
        "Skipped",
        "4.0",
        "numpy",
        "2.4.6",
    ]
    assert [e for e in expected if e not in words] == []
    assert "2025-06-02 14:31 UTC" in words
    assert "13\u202f824\u202fvoxels/s" in words  # 24·48·48 voxels in 4 s


def test_key_figures():
    labels = boxes(6, 8, 10)
    labels[0, 0, 0] = 4
    html = page(labels)
    tiles = dict(re.findall(r"<dt>([^<]+)</dt><dd>(.*?)</dd><dd", html))
    d = size_distribution(measure(labels, SPACING_MM))
    assert tiles["Particles"] == "4"
    assert tiles["Touch the boundary"] == "1"
    assert tiles["P80"] == f"{formatting.number(d.d80_by_volume_mm * 1000)} <small>µm</small>"
    assert tiles["Confidence"] == "0.95"
    assert tiles["Foreground"] == f"{100 * (216 + 512 + 1000 + 1) / (24 * 48 * 48):.1f}\u202f%"
    assert tiles["D50 by number"].startswith(f"{d.d50_by_number_mm * 1000:.1f} ")
    assert tiles["D50 by volume"] == f"{d.d50_by_volume_mm * 1000:.0f} <small>µm</small>"


def test_no_particles_is_said():
    html = page(boxes())
    assert "No particle was found" in html
    assert "there is no size distribution" in html
    assert html.count("<img") == 3 * 15
    assert "<svg" not in html


def test_the_distribution_is_the_one_that_the_run_recorded():
    labels = boxes(6, 8, 10)
    labels[0, 0, 0] = 4
    table = measure(labels, SPACING_MM)
    for given in (size_facts(table), size_facts(table, labels.shape), size_facts(table, labels.shape, sieve=True)):
        html = page(labels, size_distribution=given)
        for mark in ("d10", "d50", "d80", "d90"):
            for kind in ("number", "volume"):
                value, (low, high) = given[f"{mark}_by_{kind}_mm"], given[f"{mark}_by_{kind}_interval_mm"]
                digits = [formatting.number(mm * 1000) for mm in (value, low, high)]
                assert "<td>{}<small>{}–{}</small></td>".format(*digits) in html
        assert f"{given['diameter']} diameter, µm" in html
        left_out = "1 particles that touch the boundary of the volume are left out" in html
        assert left_out == given["edge_correction"]
        assert ("1 particles are below" if not given["edge_correction"] else "No particles are below") in html


def test_particles_that_all_touch_a_face_have_no_distribution():
    labels = np.ones((6, 6, 6), np.uint8)
    table = measure(labels, SPACING_MM)
    html = render_report(facts(size_distribution=size_facts(table, labels.shape)), table, Pictures())
    assert "the size of none is known" in html
    assert "No particle is whole" in html


def test_everything_from_outside_is_escaped():
    evil = '"><script>alert(1)</script>$name'
    labels = boxes(6)
    given = facts(
        scan={"name": evil, "shape": labels.shape, "spacing_mm": SPACING_MM, evil: [evil, evil]},
        parameters={evil: {evil: evil}},
        versions={"ps3d-rt": evil, evil: evil},
        seconds={evil: 1.0},
        warnings=[evil],
        date=evil,
    )
    html = render_report(given, measure(labels, SPACING_MM), pictures_of(labels))
    assert html.count("<script") == 1, "ours"
    assert evil not in html
    assert '"><script' not in html
    assert parsed(html).tags.count("script") == 1
    assert html.count("&lt;script&gt;") >= 12


def test_every_plane_has_its_place_on_a_slider_and_the_middle_one_is_shown_and_printed():
    html = page(boxes(6, 8, 10))
    figures = re.findall(r'<figure id="slice-([zyx])".*?</figure>', html, re.DOTALL)
    assert figures == ["z", "y", "x"]
    for axis, length in zip("zyx", (24, 48, 48), strict=True):
        figure = re.search(rf'<figure id="slice-{axis}".*?</figure>', html, re.DOTALL)[0]
        indices = [int(i) for i in re.findall(r'data-index="(\d+)"', figure)]
        assert indices == sorted(set(indices))
        assert f'max="{len(indices) - 1}" value="{len(indices) // 2}"' in figure
        assert re.findall(r'class="middle shown" data-index="(\d+)"', figure) == [str(length // 2)]
        assert f"of {length}" in figure


def test_without_the_scan_the_page_says_so():
    labels = boxes(6)
    pictures = take_pictures(None, lambda box: labels[box.slices], labels.shape, measure(labels, SPACING_MM))
    assert "particles are white" in render_report(facts(), measure(labels, SPACING_MM), pictures)
    assert "particles are white" not in page(labels)


def test_the_time_of_all_stages_is_the_total_and_the_rest_is_named():
    html = page(boxes(6), seconds={"network": 3.0, "table": 1.0, "all": 5.0})
    rows = re.findall(
        r'<th scope="row">(\w+)</th><td>([\d.]+)', html.partition('class="time"')[2].partition("Total")[0]
    )
    assert rows == [("Network", "3.0"), ("Table", "1.0"), ("Rest", "1.0")]
    assert "<td>5.0\u202fs</td>" in html


def test_slices_share_one_physical_scale():
    labels = boxes(6, shape=(24, 30, 48))
    scan = {"shape": labels.shape, "spacing_mm": (0.02, 0.01, 0.01)}
    html = page(labels, scan=scan)
    wide = [float(w) for w in re.findall(r"--wide:([\d.]+)", html)]
    ratio = [float(r) for r in re.findall(r"--ratio:([\d.]+)", html)]
    assert wide == pytest.approx([0.48, 0.48, 0.30])
    assert ratio == pytest.approx([0.48 / 0.30, 0.48 / 0.48, 0.30 / 0.48], rel=1e-5)
    bars = [(float(w), text) for w, text in re.findall(r'class="bar" style="width:([\d.]+)%">([^<]+)', html)]
    assert bars == [(pytest.approx(20.83, abs=0.01), "100 µm")] * 2 + [(pytest.approx(33.33, abs=0.01), "100 µm")]


def plotted(table):
    sizes = size_facts(table)
    return size_plot(*curves(table, sizes), MICROMETRE, sizes)


def marks(svg, colour):
    return [
        (float(x), float(y)) for x, y in re.findall(rf'<circle cx="([\d.]+)" cy="([\d.]+)" r="4" fill="{colour}"', svg)
    ]


def test_marks_lie_at_the_percentiles():
    table = measure(boxes(2, 4, 6, 8, 10), SPACING_MM)
    svg = plotted(table)
    d = size_distribution(table)
    low, high = table.equivalent_diameter_mm.min() * 1000, table.equivalent_diameter_mm.max() * 1000
    axis = LogAxis.around(low, high)
    expected = {
        NUMBER_COLOUR: (d.d10_by_number_mm, d.d50_by_number_mm, d.d80_by_number_mm, d.d90_by_number_mm),
        VOLUME_COLOUR: (d.d10_by_volume_mm, d.d50_by_volume_mm, d.d80_by_volume_mm, d.d90_by_volume_mm),
    }
    for colour, diameters in expected.items():
        for (x, y), diameter, share in zip(marks(svg, colour), diameters, SHARES, strict=True):
            share_of_width = log(diameter * 1000 / axis.low) / log(axis.high / axis.low)
            assert x == pytest.approx(LEFT + (RIGHT - LEFT) * share_of_width, abs=0.06)
            assert y == pytest.approx(CURVE_BOTTOM - (CURVE_BOTTOM - CURVE_TOP) * share, abs=0.06)
    assert f"D50 {d.d50_by_number_mm * 1000:.1f}" in svg  # 74.4: three digits
    assert "equivalent diameter, µm" in svg


def test_curves_pass_through_their_marks_and_end_at_all():
    table = measure(boxes(2, 4, 6, 8, 10), SPACING_MM)
    svg = plotted(table)
    for colour in (NUMBER_COLOUR, VOLUME_COLOUR):
        line = re.search(rf'<polyline points="([^"]+)" fill="none" stroke="{colour}"', svg)[1]
        points = [tuple(float(v) for v in p.split(",")) for p in line.split()]
        assert [points[0], points[-1]] == [(LEFT, CURVE_BOTTOM), (RIGHT, CURVE_TOP)]
        assert all(a[1] >= b[1] for a, b in pairwise(points))
        for x, y in marks(svg, colour):
            before = next(p for p in reversed(points) if p[0] < x)
            after = next(p for p in points if p[0] >= x)
            assert after[1] - 0.1 <= y <= before[1] + 0.1


def test_volume_curve_weighs_by_volume():
    table = measure(boxes(2, 4), SPACING_MM)
    by_number, by_volume = curves(table, size_facts(table))
    assert by_number.shares.tolist() == [0.5, 1.0]
    assert by_volume.shares.tolist() == [8 / 72, 1.0]
    assert by_number.up_to(by_number.diameters_mm).tolist() == [0.5, 1.0]
    assert by_number.up_to(by_number.diameters_mm * 0.999).tolist() == [0.0, 0.5]


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (10.0, 100.0), (0.3, 0.7), (3.3, 4.4), (7.0, 7e6)])
def test_size_classes_hold_every_particle(low, high):
    edges = size_classes(low, high)
    assert edges[0] < low <= high <= edges[-1]
    steps = np.diff(np.log(edges))
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)


def test_bars_of_a_kind_sum_to_all():
    table = measure(boxes(2, 4, 6, 8, 10), SPACING_MM)
    svg = plotted(table)
    for colour in (NUMBER_COLOUR, VOLUME_COLOUR):
        heights = [float(h) for h in re.findall(rf'height="([\d.]+)" fill="{colour}"', svg)]
        top = float(re.findall(r'text-anchor="end" font-weight="400">([\d.]+)</text>', svg)[9]) / 100
        assert sum(heights) * top / 106 == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("span", [1.0, 1.1, 2.0, 9.0, 50.0, 1e4])
@pytest.mark.parametrize("low", [0.013, 1.06, 2.75, 5.0, 99.9])
def test_axis_always_has_numbers(low, span):
    axis = LogAxis.around(low, low * span)
    numbered = [tick for tick, shown in axis.ticks() if shown]
    assert 2 <= len(numbered) <= 12
    # room for the labels beside the curves
    assert LEFT + 90 < axis.x(low) <= axis.x(low * span) < RIGHT - 90


@pytest.mark.parametrize(("spacing", "unit"), [(0.01, "µm"), (1.0, "mm")])
def test_unit_follows_the_size(spacing, unit):
    labels = boxes(6, 8)
    html = render_report({}, measure(labels, (spacing,) * 3), Pictures())
    assert f"equivalent diameter, {unit}" in html
    assert f"D50, {unit}" in html


def many(side, count=125, step=12):
    labels = np.zeros((5 * step,) * 3, np.uint32)
    for i in range(count):
        z, y, x = (int(c) * step + 1 for c in np.unravel_index(i, (5, 5, 5)))
        labels[z : z + side, y : y + side, x : x + side] = i + 1
    return measure(labels, SPACING_MM)


def warnings_of(table, shape=None, **facts):
    return find_warnings(facts, table, size_facts(table, shape))


def test_a_sound_run_has_no_warnings():
    sound = {"parameters": {"particle_size_mm": 0.08}}
    table = replace(many(10), confidence=np.full(125, 0.9))
    assert warnings_of(table, **sound) == []
    assert "Please note" not in render_report(sound, table, Pictures())


def unsure():
    return replace(many(8), confidence=np.full(125, 0.82))


@pytest.mark.parametrize(
    ("facts", "table", "expected"),
    [
        ({}, measure(boxes(6), SPACING_MM), "Only 1 whole particle lies"),
        ({}, measure(np.ones((6, 6, 6), np.uint32), SPACING_MM), "touch the boundary"),
        ({}, many(2), "100% of the particles are less than 3 voxels across, 30 µm"),
        ({}, unsure(), "mean confidence is 0.82"),
        ({"parameters": {"particle_size_mm": 0.2}}, many(8), "run again with --particle-size 0.0993"),
        ({"parameters": {"particle_size_mm": 0.045}}, many(8), "run again with --particle-size 0.0993"),
        ({"warnings": ["the disk is slow"]}, many(8), "the disk is slow"),
    ],
)
def test_warnings(facts, table, expected):
    assert any(expected in sentence.replace("\u202f", " ") for sentence in warnings_of(table, **facts))


def test_a_caution_of_the_run_is_not_said_twice():
    table = measure(np.ones((6, 6, 6), np.uint32), SPACING_MM)
    found = warnings_of(table)
    assert warnings_of(table, (6, 6, 6), warnings=found[::-1]) == found


def test_intervals_and_the_detection_limit_are_drawn():
    table = measure(boxes(2, 4, 6, 8, 10), SPACING_MM)
    svg = plotted(table)
    low, high = (float(table.equivalent_diameter_mm[k]) * 1000 for k in (0, -1))
    axis, sizes = LogAxis.around(low, high), size_facts(table)
    for kind, colour in (("number", NUMBER_COLOUR), ("volume", VOLUME_COLOUR)):
        found = re.findall(rf'<line x1="([\d.]+)" y1="[\d.]+" x2="([\d.]+)" y2="[\d.]+" stroke="{colour}"', svg)
        for ends, mark in zip(found, ("d10", "d50", "d80", "d90"), strict=True):
            expected = [axis.x(mm * 1000) for mm in sizes[f"{mark}_by_{kind}_interval_mm"]]
            assert [float(end) for end in ends] == pytest.approx(expected, abs=0.06)
    assert "3 voxels" in svg
    assert "3 voxels" not in plotted(measure(boxes(8, 10), SPACING_MM))


def test_the_shape_plot_shares_out_whole_particles_of_some_size():
    labels = np.zeros((40, 40, 90), np.uint8)
    labels[2:12, 2:12, 2:12] = 1  # a spheroid
    labels[2:12, 20:30, 2:5] = 2  # a disc
    labels[20:30, 2:6, 2:6] = 3  # a rod
    labels[20:30, 20:25, 2:4] = 4  # a blade
    labels[0:10, 2:12, 40:50] = 5  # at a face
    labels[20:22, 20:22, 40:42] = 6  # too small
    table = measure(labels, (1, 1, 1))
    html = shape_section(table)
    shares = re.findall(r">(discs|spheroids|blades|rods)\u202f([\d.]+)\u202f%<", html)
    assert shares == [(name, "25") for name in ("discs", "spheroids", "blades", "rods")]
    assert html.count("<circle") == 4
    disc = next(p for p in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', html) if float(p[0]) < 200 and float(p[1]) < 20)
    assert disc == ("176.8", "14.0"), "b/a = 1 at the top, c/b = 0.3"
    assert re.findall(r'row">elongation</th><td>([\d.]+)</td><td>([\d.]+)', html) == [("0.43", "0.75")]


def test_the_shape_plot_draws_a_bounded_number_of_points():
    shape = np.random.default_rng(0).uniform(0, 1, (2, 9_999))
    assert 1_000 < shape_plot(*shape).count("<circle") <= 2_000


def test_wording_examples():
    failed, attempted = doctest.testmod(formatting)
    assert (failed, attempted >= 10) == (0, True)


def test_written_file_is_the_page(tmp_path):
    table, pictures = measure(boxes(6, 8), SPACING_MM), pictures_of(boxes(6, 8))
    write_report(tmp_path / "report.html", facts(), table, pictures)
    assert (tmp_path / "report.html").read_bytes().decode("utf-8") == render_report(facts(), table, pictures)

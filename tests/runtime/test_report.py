"""The report: one self-contained page that is right, readable and safe for any input."""

from __future__ import annotations

import doctest
import re
from base64 import b64decode
from functools import partial
from html.parser import HTMLParser
from itertools import pairwise
from math import log

import imagecodecs
import numpy as np
import pytest

from ps3d_rt.core.grid import Box
from ps3d_rt.core.measure import measure, size_distribution
from ps3d_rt.errors import InputError
from ps3d_rt.report import Slice, overlay, render_report, take_slices, wording, write_report
from ps3d_rt.report.cautions import cautions
from ps3d_rt.report.distribution import (
    CURVE_BOTTOM,
    CURVE_TOP,
    LEFT,
    NUMBER_COLOUR,
    RIGHT,
    VOLUME_COLOUR,
    LogAxis,
    curves,
    size_classes,
    size_plot,
)
from ps3d_rt.report.slices import label_colours, pictures
from ps3d_rt.report.wording import MICROMETRE

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


def slices_of(labels):
    image = labels.astype(np.uint16) * 100 + np.arange(labels.shape[2], dtype=np.uint16)
    return take_slices(lambda box: image[box.slices], lambda box: labels[box.slices], labels.shape)


def page(labels, **more):
    return render_report(facts(**more), measure(labels, SPACING_MM), slices_of(labels))


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
        render_report({}, measure(boxes(6), SPACING_MM), []),
        render_report({}, measure(boxes(), SPACING_MM), slices_of(boxes())),
    ],
    ids=["three", "one", "none", "no facts", "nothing"],
)
def test_page_is_balanced_and_refers_to_nothing_outside(html):
    found = parsed(html)
    assert not {"script", "link", "iframe", "object"} & set(found.tags)
    assert all(r.startswith(("data:image/png;base64,", "#")) for r in found.references)
    assert not re.search(r"https?:|//[a-z]|url\(|@import", re.sub(r"base64,[^\"]+", "", html))


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
    assert tiles["Touching the edge"] == "1"
    assert tiles["Foreground"] == f"{100 * (216 + 512 + 1000 + 1) / (24 * 48 * 48):.1f}\u202f%"
    assert tiles["D50 by number"].startswith(f"{d.d50_by_number_mm * 1000:.1f} ")
    assert tiles["D50 by volume"] == f"{d.d50_by_volume_mm * 1000:.0f} <small>µm</small>"


def test_no_particles_is_said():
    html = page(boxes())
    assert "No particle was found" in html
    assert "there is no size distribution" in html
    assert html.count("<img") == 3
    assert "<svg" not in html


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
    html = render_report(given, measure(labels, SPACING_MM), slices_of(labels))
    assert "<script" not in html
    assert '">&' not in html.replace('"&gt;', "")
    assert "script" not in parsed(html).tags
    assert html.count("&lt;script&gt;") >= 12


def test_slices_are_the_middle_planes():
    labels = np.arange(3 * 4 * 5, dtype=np.uint32).reshape(3, 4, 5)
    asked = []

    def read(factor, box: Box):
        asked.append(box.shape)
        return labels[box.slices] * factor

    z, y, x = take_slices(partial(read, 2), partial(read, 1), labels.shape)
    assert asked == [(1, 4, 5)] * 2 + [(3, 1, 5)] * 2 + [(3, 4, 1)] * 2  # no more than the planes
    np.testing.assert_array_equal(z.labels, labels[1])
    np.testing.assert_array_equal(y.labels, labels[:, 2])
    np.testing.assert_array_equal(x.gray, labels[:, :, 2] * 2)
    assert [(s.axis, s.index, s.length) for s in (z, y, x)] == [(0, 1, 3), (1, 2, 4), (2, 2, 5)]


def coloured(rgb):
    return (rgb != rgb[..., :1]).any(axis=-1)


def test_outline_lies_on_label_boundaries_only():
    labels = np.zeros((7, 8), np.uint32)
    labels[1:6, 1:5] = 1
    labels[1:6, 5:] = 2  # touches 1 and the edge of the picture
    expected = [
        "........",
        ".#######",
        ".#..##..",
        ".#..##..",
        ".#..##..",
        ".#######",
        "........",
    ]
    outline = coloured(overlay(np.arange(56).reshape(7, 8), labels))
    assert ["".join(".#"[int(v)] for v in row) for row in outline] == expected


def test_outline_is_one_pixel_on_an_enlarged_picture():
    labels = np.zeros((3, 3), np.uint32)
    labels[1, 1] = 5
    gray = np.arange(9.0).reshape(3, 3)
    rgb = overlay(gray, labels, scale=4)
    ring = np.ones((4, 4), bool)
    ring[1:-1, 1:-1] = False
    np.testing.assert_array_equal(coloured(rgb)[4:8, 4:8], ring)
    assert coloured(rgb).sum() == 12
    np.testing.assert_array_equal(rgb[~coloured(rgb)], overlay(gray, labels * 0, scale=4)[~coloured(rgb)])


def test_outline_has_the_colour_of_the_label():
    labels = np.array([[3, 3, 70_000, 70_000]], np.uint32)
    rgb = overlay(np.zeros((1, 4)), labels)
    colours = label_colours(np.array([3, 70_000]))
    np.testing.assert_array_equal(rgb[0, 1:3], colours)


def test_gray_values_are_stretched_between_percentiles():
    gray = np.arange(10_001).reshape(1, -1)
    gray[0, -1] = 10**6  # one hot voxel must not darken the rest
    rgb = overlay(gray, np.zeros(gray.shape, np.uint32))[0, :, 0]
    assert rgb[[0, 50, 2525, 5000, 9950]].tolist() == [0, 0, 64, 128, 255]


@pytest.mark.parametrize("gray", [np.full((4, 4), 7), np.full((4, 4), np.nan), np.zeros((4, 4), bool)])
def test_gray_values_without_contrast_are_mid_gray(gray):
    assert (overlay(gray, np.zeros((4, 4), np.uint32)) == 128).all()


@pytest.mark.parametrize(
    ("gray", "labels", "scale", "message"),
    [((3, 3), (3, 4), 1, "one 2-D shape"), ((3,), (3,), 1, "one 2-D shape"), ((3, 3), (3, 3), 0, "at least 1")],
)
def test_overlay_refuses(gray, labels, scale, message):
    with pytest.raises(InputError, match=message):
        overlay(np.zeros(gray), np.zeros(labels, np.uint32), scale)


def test_colours_are_stable_vivid_and_apart():
    ids = np.arange(1, 2001, dtype=np.uint64)
    colours = label_colours(ids).astype(int)
    np.testing.assert_array_equal(label_colours(ids[[999, 3]]), colours[[999, 3]])
    assert np.ptp(colours, axis=1).min() > 60  # never taken for gray
    for step in range(1, 13):
        assert np.linalg.norm(colours[step:] - colours[:-step], axis=1).min() > 20


@pytest.mark.parametrize(
    ("side", "expected"), [(10, 800), (200, 800), (500, 1000), (1200, 1200), (1201, 600), (2500, 833)]
)
def test_pictures_have_a_useful_size(side, expected):
    gray, labels = np.zeros((2, side)), np.zeros((2, side), np.uint32)
    assert pictures([Slice(0, 0, 1, gray, labels)])[0].shape[1] == expected


def test_shrunk_picture_keeps_means_and_labels_aligned():
    gray = np.zeros((2402, 4))
    gray[1201:] = 8  # within the voxels 1200, 1201, 1202 of pixel 400: the middle one decides
    labels = (gray > 0).astype(np.uint32)
    picture = pictures([Slice(2, 0, 1, gray, labels)])[0]
    assert picture.shape == (800, 1, 3)  # 3 × 3 voxels a pixel
    assert coloured(picture)[:, 0].nonzero()[0].tolist() == [400, 401]
    assert picture[[0, 399, 402, 799], 0, 0].tolist() == [0, 0, 255, 255]


def test_embedded_pngs_are_the_pictures():
    slices = slices_of(boxes(6, 8, 10))
    html = render_report(facts(), measure(boxes(6, 8, 10), SPACING_MM), slices)
    pngs = [imagecodecs.png_decode(b64decode(p)) for p in re.findall(r"base64,([^\"]+)", html)]
    for png, picture in zip(pngs, pictures(slices), strict=True):
        np.testing.assert_array_equal(png, picture)


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


def marks(svg, colour):
    return [
        (float(x), float(y)) for x, y in re.findall(rf'<circle cx="([\d.]+)" cy="([\d.]+)" r="4" fill="{colour}"', svg)
    ]


def test_marks_lie_at_the_percentiles():
    table = measure(boxes(2, 4, 6, 8, 10), SPACING_MM)
    svg = size_plot(*curves(table), MICROMETRE)
    d = size_distribution(table)
    low, high = table.equivalent_diameter_mm.min() * 1000, table.equivalent_diameter_mm.max() * 1000
    axis = LogAxis.around(low, high)
    expected = {
        NUMBER_COLOUR: (d.d10_by_number_mm, d.d50_by_number_mm, d.d90_by_number_mm),
        VOLUME_COLOUR: (d.d10_by_volume_mm, d.d50_by_volume_mm, d.d90_by_volume_mm),
    }
    for colour, diameters in expected.items():
        for (x, y), diameter, share in zip(marks(svg, colour), diameters, (0.1, 0.5, 0.9), strict=True):
            share_of_width = log(diameter * 1000 / axis.low) / log(axis.high / axis.low)
            assert x == pytest.approx(LEFT + (RIGHT - LEFT) * share_of_width, abs=0.06)
            assert y == pytest.approx(CURVE_BOTTOM - (CURVE_BOTTOM - CURVE_TOP) * share, abs=0.06)
    assert f"D50 {d.d50_by_number_mm * 1000:.1f}" in svg  # 74.4: three digits
    assert "equivalent diameter, µm" in svg


def test_curves_pass_through_their_marks_and_end_at_all():
    table = measure(boxes(2, 4, 6, 8, 10), SPACING_MM)
    svg = size_plot(*curves(table), MICROMETRE)
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
    by_number, by_volume = curves(measure(boxes(2, 4), SPACING_MM))
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
    svg = size_plot(*curves(table), MICROMETRE)
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
    html = render_report({}, measure(labels, (spacing,) * 3), [])
    assert f"equivalent diameter, {unit}" in html
    assert f"D50, {unit}" in html


def many(side, count=125, step=12):
    labels = np.zeros((5 * step,) * 3, np.uint32)
    for i in range(count):
        z, y, x = (int(c) * step + 1 for c in np.unravel_index(i, (5, 5, 5)))
        labels[z : z + side, y : y + side, x : x + side] = i + 1
    return measure(labels, SPACING_MM)


def test_a_sound_run_has_no_cautions():
    assert cautions({"parameters": {"particle_size_mm": 0.08}}, many(8)) == []
    assert "Please note" not in render_report({"parameters": {"particle_size_mm": 0.08}}, many(8), [])


@pytest.mark.parametrize(
    ("facts", "table", "expected"),
    [
        ({}, measure(boxes(6), SPACING_MM), "Only 1 particle was found"),
        ({}, measure(np.ones((6, 6, 6), np.uint32), SPACING_MM), "touch the edge"),
        ({}, many(2), "D10 by number is below 3 voxels"),
        ({"parameters": {"particle_size_mm": 0.3}}, many(8), "run again with --particle-size 0.0993"),
        ({"parameters": {"particle_size_mm": 0.05}}, many(8), "run again with --particle-size 0.0993"),
        ({"warnings": ["the disk is slow"]}, many(8), "the disk is slow"),
    ],
)
def test_cautions(facts, table, expected):
    assert any(expected in sentence for sentence in cautions(facts, table))


def test_wording_examples():
    failed, attempted = doctest.testmod(wording)
    assert (failed, attempted > 10) == (0, True)


def test_written_file_is_the_page(tmp_path):
    table, slices = measure(boxes(6, 8), SPACING_MM), slices_of(boxes(6, 8))
    write_report(tmp_path / "report.html", facts(), table, slices)
    assert (tmp_path / "report.html").read_bytes().decode("utf-8") == render_report(facts(), table, slices)

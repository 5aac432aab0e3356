"""What a report shows of a scan: planes with outlines, and particles alone."""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import replace
from functools import partial

import imagecodecs
import numpy as np
import pytest

from ps3d_rt.core.grid import Box
from ps3d_rt.core.measure import measure
from ps3d_rt.core.planes import shrink_gray, shrink_labels
from ps3d_rt.errors import InputError
from ps3d_rt.report import highlights, overlay, slices, take_pictures, take_slices
from ps3d_rt.report.drawing import label_colours
from ps3d_rt.report.formatting import MICROMETRE
from ps3d_rt.report.highlights import largest, least_confident, particle_table, place
from ps3d_rt.report.slices import jpegs


def coloured(rgb):
    return (rgb != rgb[..., :1]).any(axis=-1)


def test_slices_are_evenly_spread_planes_and_every_voxel_is_read_once(monkeypatch):
    monkeypatch.setattr(slices, "READ", (4, 5, 6))
    labels = np.random.default_rng(0).integers(0, 9, (9, 11, 13)).astype(np.uint32)
    asked = np.zeros(labels.shape, int)

    def read(factor, box: Box):
        asked[box.slices] += 1
        return labels[box.slices] * factor

    z, y, x = take_slices(partial(read, 2), partial(read, 1), labels.shape, planes=3)
    assert asked.max() == 2, "once the image, once the labels"
    assert [s.indices for s in (z, y, x)] == [(1, 4, 7), (1, 5, 9), (2, 6, 10)]
    np.testing.assert_array_equal(z.labels, labels[[1, 4, 7]])
    np.testing.assert_array_equal(y.labels, labels[:, [1, 5, 9]].swapaxes(0, 1))
    np.testing.assert_array_equal(x.gray, labels[:, :, [2, 6, 10]].transpose(2, 0, 1) * 2)
    assert [(s.axis, s.shape, s.middle) for s in (z, y, x)] == [(a, labels.shape, 1) for a in range(3)]


def test_parts_without_a_plane_are_not_read(monkeypatch):
    monkeypatch.setattr(slices, "READ", (4, 4, 4))
    asked = []

    def read(box: Box):
        asked.append(box.start)
        return np.zeros(box.shape, np.uint8)

    take_slices(read, read, (12, 12, 12), planes=1)
    assert (0, 0, 0) not in asked
    assert len(asked) == 2 * 19, "of 27 parts those that hold a middle plane"


@pytest.mark.parametrize("shape", [(7, 40, 23), (16, 33, 5), (1, 40, 40)])
def test_large_samples_are_shrunk_by_means_and_middle_labels_however_they_are_read(monkeypatch, shape):
    monkeypatch.setattr(slices, "READ", (8, 16, 8))
    rng = np.random.default_rng(1)
    labels, image = rng.integers(0, 9, shape).astype(np.uint32), rng.integers(0, 999, shape).astype(np.uint16)
    found = take_slices(lambda box: image[box.slices], lambda box: labels[box.slices], shape, most_pixels=10)
    for axis, s in enumerate(found):
        for k, index in enumerate(s.indices):
            np.testing.assert_allclose(s.gray[k], shrink_gray(image.take(index, axis), 4), rtol=1e-6)
            np.testing.assert_array_equal(s.labels[k], shrink_labels(labels.take(index, axis), 4))


def test_shrinking_keeps_means_and_labels_aligned_and_what_is_left_over_at_the_end():
    gray = np.array([[1, 3, 5, 7, 10], [1, 3, 5, 7, 20], [0, 4, 0, 4, 9]])
    assert shrink_gray(gray, 2).tolist() == [[2, 6, 15], [2, 2, 9]]
    assert shrink_labels(gray, 2).tolist() == [[3, 7, 20], [4, 4, 9]]
    assert shrink_gray(gray, 1) is gray


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


def test_gray_values_are_stretched_between_percentiles_or_as_told():
    gray = np.arange(10_001).reshape(1, -1)
    gray[0, -1] = 10**6  # one hot voxel must not darken the rest
    nothing = np.zeros(gray.shape, np.uint32)
    assert overlay(gray, nothing)[0, [0, 50, 2525, 5000, 9950], 0].tolist() == [0, 0, 64, 128, 255]
    assert overlay(gray, nothing, shades=(0, 1000))[0, [0, 500, 5000], 0].tolist() == [0, 128, 255]


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


def decoded(uri):
    return imagecodecs.jpeg8_decode(b64decode(re.fullmatch(r"data:image/jpeg;base64,(.+)", uri)[1]))


def test_pictures_show_the_planes_in_shades_that_do_not_change_from_plane_to_plane():
    gray = np.repeat(np.array([0, 100, 200], np.uint8), 16 * 16).reshape(3, 16, 16)
    planes = take_slices(lambda box: gray[box.slices], lambda box: np.zeros(box.shape, np.uint8), gray.shape)
    z, y, _ = jpegs(planes)
    assert [round(float(decoded(uri).mean())) for uri in z] == [0, 128, 255]
    assert decoded(z[0]).shape == (512, 512, 3)
    assert decoded(y[0]).shape == (96, 512, 3)


def test_pictures_stay_small_in_noise(monkeypatch):
    monkeypatch.setattr(slices, "MOST_BYTES", 60_000)
    gray = np.random.default_rng(0).integers(0, 255, (9, 64, 64)).astype(np.uint8)
    planes = take_slices(lambda box: gray[box.slices], lambda box: np.zeros(box.shape, np.uint8), gray.shape)
    monkeypatch.setattr(slices, "PIXELS", 64)
    texts = [uri for uris in jpegs(planes) for uri in uris]
    assert len(texts) == 9 + 15 + 15
    assert 30_000 < sum(map(len, texts)) < 60_000 * 4 / 3 + 100 * len(texts)


def grains():
    labels = np.zeros((12, 60, 60), np.uint32)
    labels[2:7, 14:20, 24:30] = 3  # 180 voxels, against the large one
    labels[2:10, 20:40, 20:40] = 7  # 3200 voxels
    labels[1:3, 50:60, 50:54] = 8  # 80 voxels, at a face
    return labels, np.where(labels > 0, 200, 10).astype(np.uint8)


def table_of(labels, confidence=None, margin=None):
    scores = {"confidence": confidence, "contact_margin": margin}
    known = {name: np.array(column) for name, column in scores.items() if column is not None}
    return replace(measure(labels, (0.01, 0.02, 0.01)), **known)


def test_the_largest_and_the_least_confident_are_worth_a_look(monkeypatch):
    labels, _ = grains()
    table = table_of(labels, [0.9, 0.99, 0.7])
    assert table.label[largest(table)].tolist() == [7, 3, 8]
    assert table.label[least_confident(table)].tolist() == [8, 3, 7]
    assert len(least_confident(table_of(labels))) == 0
    monkeypatch.setattr(highlights, "ROWS", 1)
    assert table.label[least_confident(table)].tolist() == [8]


def test_thumbnails_show_one_particle_each_and_alone_outlined():
    labels, image = grains()
    table = table_of(labels, [0.9, 0.99, 0.7])
    pictures = take_pictures(lambda b: image[b.slices], lambda b: labels[b.slices], labels.shape, table)
    assert sorted(pictures.thumbnails) == [3, 7, 8]
    for label, picture in pictures.thumbnails.items():
        assert 48 <= max(picture.shape[:2]) <= 144
        outline = coloured(picture)
        assert outline.any(), label
        inside = picture[outline.any(1)][:, outline.any(0)]
        assert (inside[inside.shape[0] // 2, inside.shape[1] // 2] == 255).all(), "bright in the middle"
    assert coloured(pictures.thumbnails[7]).any(1).sum() == 20 * 4, "its own height at 4 pixels a voxel"
    assert place(table, 1) == (6, 30, 30)


def test_without_the_scan_particles_are_white():
    labels, _ = grains()
    pictures = take_pictures(None, lambda b: labels[b.slices], labels.shape, table_of(labels))
    assert not pictures.gray
    for s in pictures.slices:
        np.testing.assert_array_equal(s.gray, s.labels > 0)


def test_the_table_of_particles_names_and_shows_them():
    labels, image = grains()
    table = table_of(labels, [0.9, 0.99, 0.7], [-0.304, np.nan, 0.85])
    pictures = take_pictures(lambda b: image[b.slices], lambda b: labels[b.slices], labels.shape, table)
    html = particle_table(table, largest(table), pictures.thumbnails, MICROMETRE)
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in html.split("<tr>")[2:]]
    assert [row[1] for row in rows] == ["7", "3", "8"]
    assert [row[5:] for row in rows] == [
        ["0.99", "–", "6, 30, 30", "no"],
        ["0.90", "-0.30", "4, 17, 27", "no"],
        ["0.70", "0.85", "2, 55, 52", "yes"],
    ]
    assert all(row[0].startswith('<img alt="Particle') for row in rows)
    assert "<img" not in particle_table(table, largest(table), {}, MICROMETRE)

"""Shapes whose measures are known, and real grains against scikit-image."""

import zipfile
from math import pi
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import label as label_components
from scipy.spatial.transform import Rotation
from skimage.measure import regionprops_table

from ps3d_rt.core.feret import DIRECTIONS
from ps3d_rt.core.measure import measure
from ps3d_rt.core.surface import STEPS, direction_shares

GRAINS = Path(__file__).parents[3] / "shared/data/grains/grains.npy.zip"


def ellipsoids(semi_axes, count: int, seed: int = 0):
    """Labels of ellipsoids in random places and turns, side by side along x."""
    rng = np.random.default_rng(seed)
    reach = int(max(semi_axes)) + 2
    grid = np.stack(np.mgrid[-reach : reach + 1, -reach : reach + 1, -reach : reach + 1], axis=-1)
    parts = []
    for label, turn in enumerate(Rotation.random(count, rng=rng).as_matrix(), start=1):
        inside = (((grid - rng.uniform(-0.5, 0.5, 3)) @ turn / semi_axes) ** 2).sum(axis=-1) <= 1
        parts.append(inside * np.uint16(label))
    return np.concatenate(parts, axis=2)


def surface_of_ellipsoid(a: float, b: float, c: float) -> float:
    theta = (np.arange(400) + 0.5) * pi / 400
    phi = (np.arange(400) + 0.5) * 2 * pi / 400
    t, p = np.meshgrid(theta, phi)
    x, y, z = b * c * np.sin(t) * np.cos(p), a * c * np.sin(t) * np.sin(p), a * b * np.cos(t)
    return float((np.sin(t) * np.sqrt(x**2 + y**2 + z**2)).sum() * 2 * pi**2 / 400**2)


@pytest.mark.parametrize(("radius", "count"), [(3, 40), (5, 30), (8, 12), (13, 4), (25, 2), (40, 1)])
def test_balls(radius, count):
    table = measure(ellipsoids((radius,) * 3, count), (0.1, 0.1, 0.1))
    r = 0.1 * radius
    assert table.surface_mm2.mean() == pytest.approx(4 * pi * r**2, rel=0.01)
    assert table.sphericity.mean() == pytest.approx(1, abs=0.01)
    assert table.elongation.mean() == pytest.approx(1, abs=0.25 / radius)
    for axis in (table.axis_major_mm, table.axis_middle_mm, table.axis_minor_mm):
        assert axis.mean() == pytest.approx(2 * r, abs=0.05)
    assert np.all(abs(table.feret_max_mm - 2 * r) < 0.13)
    assert np.all(abs(table.feret_min_mm - 2 * r) < 0.13)


@pytest.mark.parametrize("semi_axes", [(4, 4, 8), (3, 6, 6), (5, 10, 15), (4, 12, 12)])
def test_ellipsoids(semi_axes):
    table = measure(ellipsoids(semi_axes, 12), (1, 1, 1))
    a, b, c = sorted(semi_axes)
    assert table.surface_mm2.mean() == pytest.approx(surface_of_ellipsoid(a, b, c), rel=0.01)
    assert table.axis_minor_mm.mean() == pytest.approx(2 * a, rel=0.1 / a)
    assert table.axis_middle_mm.mean() == pytest.approx(2 * b, rel=0.1 / b)
    assert table.axis_major_mm.mean() == pytest.approx(2 * c, rel=0.02)
    assert table.elongation.mean() == pytest.approx(b / c, abs=0.03)
    assert table.flatness.mean() == pytest.approx(a / b, abs=0.03)
    assert table.feret_max_mm.mean() == pytest.approx(2 * c, abs=0.8)
    assert np.all(table.feret_min_mm > 2 * a - 0.8)
    assert table.feret_min_mm.mean() < 2 * a * 1.15


def test_voxels_that_are_no_cubes_give_the_surface_and_axes_of_the_ball():
    spacing = np.array([0.2, 0.1, 0.15])
    grid = np.stack(np.mgrid[-8:9, -16:17, -11:12], axis=-1) * spacing
    table = measure((((grid - 0.03) ** 2).sum(axis=-1) <= 1.5**2).astype(np.uint8), tuple(spacing))
    assert table.surface_mm2[0] == pytest.approx(4 * pi * 1.5**2, rel=0.01)
    assert table.sphericity[0] == pytest.approx(1, abs=0.01)
    assert [table.axis_major_mm[0], table.axis_minor_mm[0]] == pytest.approx([3, 3], rel=0.02)
    assert [table.feret_max_mm[0], table.feret_min_mm[0]] == pytest.approx([3, 3], rel=0.06)


def test_axes_point_along_a_turned_rod():
    turn = Rotation.from_euler("zyx", (0.4, 0.7, 0.2)).as_matrix()
    grid = np.stack(np.mgrid[-20:21, -20:21, -20:21], axis=-1) @ turn
    table = measure((abs(grid) <= (3, 6, 16)).all(axis=-1).astype(np.uint8), (1, 1, 1))
    for name, axis in (("major", turn[:, 2]), ("minor", turn[:, 0])):
        found = np.array([getattr(table, f"axis_{name}_{i}")[0] for i in "zyx"])
        assert abs(found @ axis) == pytest.approx(1, abs=1e-3)
        assert found[2] > 0


def test_an_upright_box_is_seen_as_documented():
    table = measure(np.ones((30, 40, 60), np.uint8), (1, 1, 1))
    assert table.volume_voxels[0] == 72_000
    # Flat faces along the voxels are the worst case of 13 directions.
    assert table.surface_mm2[0] / (2 * (30 * 40 + 30 * 60 + 40 * 60)) == pytest.approx(1 - 0.073, abs=0.015)
    assert table.feret_min_mm[0] == 30
    assert table.feret_max_mm[0] == pytest.approx(np.sqrt(30**2 + 40**2 + 60**2), rel=0.03)
    assert table.elongation[0] == pytest.approx(40 / 60)
    assert table.flatness[0] == pytest.approx(30 / 40)


def test_planes_of_any_turn_keep_their_area_on_average():
    normals = np.random.default_rng(0).normal(size=(20_000, 3))
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    steps = STEPS / np.linalg.norm(STEPS, axis=1)[:, None]
    seen = 2 * abs(normals @ steps.T) @ direction_shares(steps)
    assert seen.mean() == pytest.approx(1, abs=0.001)
    assert (seen.min(), seen.max()) == (pytest.approx(0.927, abs=0.003), pytest.approx(1.023, abs=0.003))


def test_no_direction_is_farther_than_documented_from_one_that_is_measured():
    some = np.random.default_rng(0).normal(size=(50_000, 3))
    units = DIRECTIONS / np.linalg.norm(DIRECTIONS, axis=1)[:, None]
    nearest = abs(some / np.linalg.norm(some, axis=1)[:, None] @ units.T).max(axis=1)
    assert len(units) == 81
    assert 10 < np.degrees(np.arccos(nearest.min())) < 10.9
    assert (DIRECTIONS[:, 2] >= 0).all()


def agrees_with_scikit_image(labels, image, spacing=(0.3, 0.2, 0.1)):
    """What both define alike; scikit-image takes voxels as points, and their axes from other moments."""
    names = ["label", "num_pixels", "bbox", "centroid", "intensity_mean", "intensity_std", "intensity_max"]
    theirs = regionprops_table(labels, image, properties=[*names, "moments_central"], spacing=spacing)
    ours = measure(labels, spacing, image)
    assert ours.label.tolist() == theirs["label"].tolist()
    assert ours.volume_voxels.tolist() == theirs["num_pixels"].tolist()
    for axis, name in enumerate("zyx"):
        assert getattr(ours, f"box_{name}_start_voxels").tolist() == theirs[f"bbox-{axis}"].tolist()
        assert getattr(ours, f"box_{name}_stop_voxels").tolist() == theirs[f"bbox-{axis + 3}"].tolist()
        centre = theirs[f"centroid-{axis}"] + spacing[axis] / 2
        np.testing.assert_allclose(getattr(ours, f"centroid_{name}_mm"), centre, rtol=1e-9)
    np.testing.assert_allclose(ours.gray_mean, theirs["intensity_mean"], rtol=1e-9)
    np.testing.assert_allclose(ours.gray_std, theirs["intensity_std"], rtol=1e-6, atol=1e-6)
    assert ours.gray_max.tolist() == theirs["intensity_max"].tolist()
    squares = np.array(
        [
            [theirs[f"moments_central-{'-'.join(str((i == a) + (i == b)) for i in range(3))}"] for b in range(3)]
            for a in range(3)
        ]
    )
    covariance = np.moveaxis(squares / theirs["moments_central-0-0-0"], -1, 0) + np.diag(np.square(spacing)) / 12
    lengths = 2 * np.sqrt(5 * np.linalg.eigvalsh(covariance))
    np.testing.assert_allclose(ours.axis_minor_mm, lengths[:, 0], rtol=1e-6)
    np.testing.assert_allclose(ours.axis_middle_mm, lengths[:, 1], rtol=1e-6)
    np.testing.assert_allclose(ours.axis_major_mm, lengths[:, 2], rtol=1e-6)
    return ours


def test_scikit_image_agrees_on_made_up_particles():
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 6, (6, 7, 8)).repeat(3, 0).repeat(2, 1).repeat(4, 2)
    agrees_with_scikit_image(labels, rng.integers(0, 65_536, labels.shape, np.uint16))


@pytest.mark.skipif(not GRAINS.exists(), reason="needs real grains in the shared data folder")
def test_scikit_image_agrees_on_real_grains():
    with zipfile.ZipFile(GRAINS) as archive, archive.open(archive.namelist()[0]) as file:
        grains = np.load(file)
    labels = label_components(grains[150:290, 150:290, 150:270] > 0)[0]
    ours = agrees_with_scikit_image(labels, labels.astype(np.uint16), (1, 1, 1))
    inside = np.flatnonzero(~ours.touches_edge & (ours.volume_voxels > 500))[:12]
    whole = np.where(np.isin(labels, ours.label[inside]), labels, 0)
    theirs = regionprops_table(whole, properties=["feret_diameter_max"])["feret_diameter_max"]
    np.testing.assert_allclose(ours.feret_max_mm[inside], theirs, rtol=0.02)
    assert len(inside) == 3
    assert 0.6 < ours.sphericity[inside].min() < ours.sphericity[inside].max() < 1

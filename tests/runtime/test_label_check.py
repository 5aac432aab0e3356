"""Labels that are no labels are doubted with numbers; components are those of the whole volume, whatever the slabs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet
from scipy import ndimage
from typer.testing import CliRunner

import ps3d_rt
from ps3d_rt.cli import build_app
from ps3d_rt.core import label_components
from ps3d_rt.core.arrays import Array
from ps3d_rt.core.label_check import LabelCheck
from ps3d_rt.core.label_components import ComponentsBySlab
from ps3d_rt.core.runs import z_slabs
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import ArrayVolume
from ps3d_rt.stages.label_slabs import split_slabs


def boxes(*sides: int) -> Array:
    """Cubes in a row, ids 1, 2, 3 …"""
    labels = np.zeros((max(sides) + 2, max(sides) + 2, sum(sides) + 2 * len(sides)), np.uint16)
    x = 1
    for label, side in enumerate(sides, start=1):
        labels[1 : 1 + side, 1 : 1 + side, x : x + side] = label
        x += side + 2
    return labels


def warnings_of(labels: Array, planes: int = 10**6) -> list[str]:
    check = LabelCheck("it", labels.dtype)
    for start in range(0, len(labels), planes):
        check.add(labels[start : start + planes])
    return check.warnings()


@pytest.mark.parametrize("planes", [1, 3, 100])
def test_one_id_a_particle_is_not_doubted(planes: int) -> None:
    labels = boxes(5, 9, 3)
    assert warnings_of(labels, planes) == []
    labels[0, 0, 0] = 2  # a crumb of one voxel
    assert warnings_of(labels, planes) == []
    assert warnings_of(np.zeros((3, 4, 5), np.uint8), planes) == []
    assert warnings_of(labels.astype(np.float64), planes) == [], "published labels are floats"


@pytest.mark.parametrize("planes", [1, 4, 100])
@pytest.mark.parametrize(("value", "dtype"), [(255, "u1"), (1, "u1"), (True, "?"), (7, "f4")])
def test_a_mask_is_said_to_be_one(value: Any, dtype: str, planes: int) -> None:
    (said,) = warnings_of(((boxes(5, 9, 6) > 0) * value).astype(dtype), planes)
    assert f"it: the labels hold one id only, {int(value)}, in 3 pieces" in said
    assert "a mask" in said


def test_a_mask_in_one_piece_is_known_by_its_value_or_type() -> None:
    one = boxes(9) > 0
    assert "in one piece" in warnings_of(one)[0]
    assert "in one piece" in warnings_of(one * np.uint8(255))[0]
    assert warnings_of(one.astype(np.uint16)) == [], "a volume with one particle"


def test_a_mask_of_a_packing_is_known_although_most_of_it_hangs_together() -> None:
    mask = boxes(30, *[3] * 9) > 0
    assert "in 10 pieces" in warnings_of(mask.astype(np.uint8))[0]
    labels = boxes(30, *[3] * 9, 12)
    phases = np.where(labels == 11, 2, labels > 0)
    assert "1 of 2 ids lie in several pieces that do not touch, id 1 in 10" in warnings_of(phases)[0]


@pytest.mark.parametrize("planes", [1, 2, 100])
def test_ids_in_several_pieces_are_counted(planes: int) -> None:
    labels = boxes(5, 6, 7, 6, 5)
    labels[labels == 4] = 2
    labels[labels == 5] = 2
    (said,) = warnings_of(labels, planes)
    assert "1 of 3 ids lie in several pieces that do not touch, id 2 in 3" in said
    assert "cc3d" in said


@pytest.mark.parametrize(("piece", "voxels"), [((2, 2, 3), 729), ((1, 1, 4), 6)])
def test_crumbs_and_what_is_small_beside_its_particle_are_no_pieces(piece: tuple[int, int, int], voxels: int) -> None:
    labels = np.zeros((12, 12, 40), np.uint16)
    labels[:9, :9, :9] = 1 if voxels == 729 else 2
    if voxels == 6:
        labels[0, 0, 20:26] = 1
    labels[: piece[0], : piece[1], 30 : 30 + piece[2]] = 1
    assert warnings_of(labels) == []


def test_the_id_in_most_pieces_is_named() -> None:
    labels = boxes(5, 5, 5, 5, 5, 6)
    for label, other in ((2, 1), (4, 3), (5, 3)):
        labels[labels == label] = other
    assert "2 of 3 ids lie in several pieces that do not touch, id 3 in 3" in warnings_of(labels)[0]


def test_many_pieces_that_are_no_specks_are_a_mask_and_no_gray_values() -> None:
    assert "in 12 pieces that do not touch: a mask" in warnings_of((boxes(*[4] * 12) > 0).astype(np.uint8))[0]


def test_one_of_two_particles_may_fill_most_of_the_volume() -> None:
    labels = np.ones((10, 10, 10), np.uint16)
    labels[:3] = 2
    assert warnings_of(labels) == []
    labels[0] = 3
    assert "id 1 holds 70% of the volume" in warnings_of(labels)[0]


@pytest.mark.parametrize("planes", [1, 5, 100])
def test_gray_values_are_no_labels(planes: int) -> None:
    noise = np.random.default_rng(0).integers(0, 200, (20, 20, 20)).astype(np.uint8)
    (said,) = warnings_of(noise, planes)
    assert "look like gray values" in said
    assert "for 199 values" in said


def test_gray_values_end_the_count_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_components, "MOST", 100)
    noise = np.random.default_rng(0).integers(0, 200, (20, 20, 20)).astype(np.uint8)
    assert "look like gray values" in warnings_of(noise, 2)[0]
    with pytest.raises(InputError, match="look like gray values"):
        next(split_slabs(ArrayVolume(noise), 800))


def test_a_background_with_an_id_is_doubted() -> None:
    labels = boxes(5, 6, 7) + np.uint16(1)
    (said,) = warnings_of(labels)
    assert f"id 1 holds {(labels == 1).mean():.0%} of the volume" in said


def test_floats_that_round_ids_are_doubted() -> None:
    labels = boxes(5, 6, 7).astype(np.float32)
    labels[labels == 3] = 2**24
    assert warnings_of(labels) == []
    labels[labels == 2**24] = 2**24 + 2
    assert "float32, in which ids above 16777216 are rounded, and go up to 16777218" in warnings_of(labels)[0]
    assert "above 2048" in warnings_of(np.where(labels > 2, 2050, labels).astype(np.float16))[0]


@pytest.mark.parametrize("seed", range(6))
def test_components_are_those_of_the_whole_volume_in_raster_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = (rng.integers(0, 4, (9, 8, 7)) * (rng.random((9, 8, 7)) < 0.35)).astype(np.uint8)
    want, count = np.zeros(labels.shape, np.intp), 0
    for label in (1, 2, 3):
        found, more = ndimage.label(labels == label, np.ones((3, 3, 3)))
        want[found > 0] = found[found > 0] + count
        count += more
    first_index = [np.flatnonzero(want == k)[0] for k in range(1, count + 1)]
    numbers = np.zeros(count + 1, np.intp)
    numbers[1:][np.argsort(first_index)] = np.arange(1, count + 1)
    want = numbers[want]
    for voxels in (1, 60, 120, 10**6):
        found = np.zeros(labels.shape, np.intp)
        for box, around in split_slabs(ArrayVolume(labels), voxels):
            skip = int(box.start[0] > 0)
            found[box.slices] = around[skip : skip + box.shape[0]]
            grown = want[box.start[0] - skip : box.stop[0] + 1]
            assert np.array_equal(around, grown), "the planes around it are there too"
        assert np.array_equal(found, want)
        parts = ComponentsBySlab()
        for box in z_slabs(labels.shape, voxels):
            parts.add(labels[box.slices])
        found_here = parts.finish()
        assert found_here.voxels.tolist() == np.bincount(want.ravel())[1:].tolist()
        assert found_here.ids.tolist() == [labels[want == k][0] for k in range(1, count + 1)]
        assert parts.background == np.count_nonzero(labels == 0)


def test_measure_warns_and_split_makes_particles_of_pieces(tmp_path: Path) -> None:
    labels = boxes(5, 6, 7)
    np.save(tmp_path / "labels.npy", ((labels > 0) * 255).astype(np.uint8))
    commands = CliRunner()
    common = ["measure", str(tmp_path / "labels.npy"), str(tmp_path / "out"), "--spacing", "0.01"]
    plain = commands.invoke(build_app(), common)
    assert json.loads(plain.stdout)["particles"] == 1
    assert "in 3 pieces that do not touch" in plain.stderr
    assert "--split" in plain.stderr
    split = commands.invoke(build_app(), [*common, "--split", "--overwrite"])
    assert json.loads(split.stdout)["particles"] == 3
    assert "pieces" not in split.stderr
    assert parquet.read_table(tmp_path / "out" / "particles.parquet")["volume_voxels"].to_pylist() == [125, 216, 343]


def test_evaluate_says_which_of_the_two_is_doubtful(tmp_path: Path) -> None:
    np.save(tmp_path / "good.npy", boxes(5, 6, 7))
    np.save(tmp_path / "mask.npy", boxes(5, 6, 7) > 0)
    done = CliRunner().invoke(build_app(), ["evaluate", str(tmp_path / "good.npy"), str(tmp_path / "mask.npy")])
    assert json.loads(done.stdout)["predicted"] == 3
    # A slow machine says how far it is, too.
    (said,) = [line for line in done.stderr.splitlines() if "the labels hold" in line]
    assert "mask.npy: the labels hold one id only" in said


PHASES = [
    (boxes(5, 6, 7) > 0, "one id only, 1, in 3 pieces"),
    (np.where(boxes(5, 6, 7) > 2, 1, boxes(5, 6, 7)), "id 1 in 2"),
]
NOISE = np.random.default_rng(0).integers(0, 200, (20, 20, 20)).astype(np.uint8)


@pytest.mark.parametrize(("labels", "said"), [*PHASES, (NOISE, "look like gray values")])
def test_measure_in_python_warns_whoever_called_it(labels: Array, said: str) -> None:
    with pytest.warns(UserWarning, match=f"^labels: .*{said}") as heard:
        table = ps3d_rt.measure(labels, spacing=0.01)
    assert table.volume_voxels.sum() == np.count_nonzero(labels)
    assert [(one.filename, len(heard)) for one in heard] == [(__file__, 1)]


def test_evaluate_in_python_says_which_of_the_two_is_doubtful() -> None:
    good = boxes(5, 6, 7)
    assert ps3d_rt.evaluate(good, good).f1_instance == 1, "and no word"
    with pytest.warns(UserWarning, match="^reference: the labels hold one id only") as heard:
        ps3d_rt.evaluate(good, good > 0)
    with pytest.warns(UserWarning, match="^prediction: the labels hold one id only") as also:
        ps3d_rt.evaluate(good > 0, good)
    assert [one.filename for one in [*heard, *also]] == [__file__] * 2


def test_a_slab_in_which_nearly_every_voxel_begins_a_run_is_counted_whole() -> None:
    labels = (np.indices((3, 5, 40)).sum(0) % 2).astype(np.uint16)
    labels[0, 0, :] = np.arange(1, 41)
    parts = ComponentsBySlab()
    parts.add(labels)
    assert parts.finish().voxels.sum() == np.count_nonzero(labels)

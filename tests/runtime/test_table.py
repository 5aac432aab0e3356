import csv
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from ps3d_rt.core.gray import GrayBins
from ps3d_rt.core.measure import measure
from ps3d_rt.errors import InputError
from ps3d_rt.io import table as table_module
from ps3d_rt.io.table import read_table, write_table

LABELS = np.array([[[1, 1, 0, 2**32 - 1]]], np.uint32)
IMAGE = np.array([[[10, 11, 0, 7]]], np.uint16)
TOUCHING = np.array([[[9, 9, 4, 4], [1, 9, 9, 0]]], np.uint32)


@pytest.mark.parametrize("bins", [None, GrayBins(0.1, 1 / 3)])
@pytest.mark.parametrize("image", [None, IMAGE])
@pytest.mark.parametrize("labels", [LABELS, np.zeros((1, 1, 4), np.uint8), TOUCHING])
@pytest.mark.parametrize("sure", [True, False])
def test_a_table_comes_back_as_written(tmp_path, labels, image, bins, sure):
    image = None if image is None else image.repeat(labels.shape[1], axis=1)
    table = measure(labels, (0.1, 0.2, 0.3), image, bins)
    if sure:
        margin = np.where(table.contacts > 0, np.linspace(-0.1, 1, len(table)), np.nan)
        table = replace(table, confidence=np.linspace(0.8, 1, len(table)), contact_margin=margin)
    parquet_path, _ = write_table(table, tmp_path / "made" / "out")
    for path in (parquet_path, parquet_path.parent):
        back = read_table(path)
        assert list(back.columns()) == list(table.columns())
        for name, column in table.columns().items():
            assert back.columns()[name].dtype == column.dtype
            np.testing.assert_array_equal(back.columns()[name], column)
        assert np.array_equal(back.contact_pairs.labels, table.contact_pairs.labels)
        assert np.array_equal(back.contact_pairs.faces, table.contact_pairs.faces)
        assert back.gray_bins == table.gray_bins
        assert (back.gray_histogram is None) == (table.gray_histogram is None)
        assert back.gray_histogram is None or np.array_equal(back.gray_histogram, table.gray_histogram)


def test_parquet_lists_what_a_particle_touches(tmp_path):
    path, _ = write_table(measure(TOUCHING, (1, 1, 1)), tmp_path)
    rows = parquet.read_table(path)
    assert rows["contact_label"].to_pylist() == [[9], [9], [1, 4]]
    assert rows["contact_label_faces"].to_pylist() == [[2], [2], [2, 2]]


def test_the_csv_has_the_same_columns_and_numbers(tmp_path):
    table = measure(LABELS, (0.1, 0.2, 0.3), IMAGE)
    _, path = write_table(table, tmp_path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(table.columns())
    assert rows[1]["label"] == str(2**32 - 1)
    assert [float(row["centroid_x_mm"]) for row in rows] == table.centroid_x_mm.tolist()
    assert [row["touches_edge"] for row in rows] == ["true", "true"]


def test_what_a_particle_has_not_is_null_in_parquet_and_empty_in_csv(tmp_path):
    table = replace(measure(LABELS, (1, 1, 1)), core_confidence=np.array([np.nan, 0.5]))
    parquet_path, csv_path = write_table(table, tmp_path)
    assert parquet.read_table(parquet_path)["core_confidence"].to_pylist() == [None, 0.5]
    with csv_path.open(newline="") as file:
        assert [row["core_confidence"] for row in csv.DictReader(file)] == ["", "0.5"]


def test_nothing_is_overwritten_unless_asked(tmp_path):
    first, second = measure(LABELS, (1, 1, 1)), measure(LABELS[..., :2], (1, 1, 1))
    write_table(first, tmp_path)
    (tmp_path / "particles.parquet").unlink()
    with pytest.raises(InputError, match=r"particles.csv exists .* --overwrite"):
        write_table(second, tmp_path)
    write_table(second, tmp_path, overwrite=True)
    assert len(read_table(tmp_path)) == 1


def test_a_write_that_fails_leaves_no_file_behind(tmp_path, monkeypatch):
    def fail(writer, rows):
        raise OSError("disk full")

    monkeypatch.setattr(table_module.parquet.ParquetWriter, "write_table", fail)
    with pytest.raises(OSError, match="disk full"):
        write_table(measure(LABELS, (1, 1, 1)), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="is a file"):
        write_table(measure(LABELS, (1, 1, 1)), tmp_path / "out")


def test_missing_broken_and_foreign_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"particles.parquet does not exist"):
        read_table(tmp_path)
    path, _ = write_table(measure(LABELS, (1, 1, 1)), tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"particles.parquet cannot be read as parquet"):
        read_table(path)
    parquet.write_table(pa.table({"label": [1]}), path)
    with pytest.raises(InputError, match=r"lacks the columns axis_major_mm, .*volume_voxels, which"):
        read_table(path)


def test_columns_of_later_versions_are_ignored(tmp_path):
    table = measure(LABELS, (1, 1, 1))
    path, _ = write_table(table, tmp_path)
    parquet.write_table(parquet.read_table(path).append_column("colour", pa.array(["red", "blue"])), path)
    assert len(read_table(path)) == 2

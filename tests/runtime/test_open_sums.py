"""Rows that leave as soon as they are complete are those of the whole table, in memory and by way of the disk."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ps3d_rt.core.arrays import Array
from ps3d_rt.core.chunks import ChunkGrid
from ps3d_rt.core.confidence import ParticleConfidence
from ps3d_rt.core.gray import GrayBins
from ps3d_rt.core.grid import Box
from ps3d_rt.core.measure import PartialSums, ParticleTable, look_in, measure, partial_sums
from ps3d_rt.core.open_sums import OpenSums
from ps3d_rt.errors import Ps3dError
from ps3d_rt.io import spilled_rows
from ps3d_rt.io.spilled_rows import SpilledRows
from ps3d_rt.io.stored_table import StoredTable
from ps3d_rt.io.table import read_table, write_table
from ps3d_rt.stages.storage import RowsInMemory
from ps3d_rt.stages.table import stream_rows

BINS = GrayBins(0.0, 4.0)
SPACING = (0.1, 0.2, 0.4)


def volume(seed: int, shape: tuple[int, int, int]) -> tuple[Array, Array]:
    """Blocky labels with gaps between the ids, in no order, and gray values (simulated)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 9, tuple(-(-n // 2) for n in shape)) * rng.integers(1, 3)
    labels = coarse.repeat(2, 0).repeat(2, 1).repeat(2, 2)[: shape[0], : shape[1], : shape[2]]
    return labels.astype(np.uint32), rng.integers(0, 256, shape, np.uint16)


def parts_of(labels: Array, image: Array, side: int) -> tuple[list[PartialSums], Array]:
    """Sums box by box, and the last box of every id."""
    whole, last = Box.of_shape(labels.shape), np.full(int(labels.max()) + 1, -1, np.int32)
    parts = []
    for number, box in enumerate(ChunkGrid(labels.shape, (side, side, side)).boxes):
        last[np.unique(labels[box.slices])] = number
        around = labels[box.grow(1, whole).slices]
        parts.append(partial_sums(around, image[box.slices], box=box, shape=labels.shape, bins=BINS))
    last[0] = -1
    return parts, last


def scores(count: int) -> ParticleConfidence:
    return ParticleConfidence(*np.linspace(0, 1, 3 * count).reshape(3, count))


def same(found: ParticleTable, want: ParticleTable) -> None:
    for name, column in want.columns().items():
        assert (getattr(found, name).dtype, getattr(found, name).tobytes()) == (column.dtype, column.tobytes()), name
    assert np.array_equal(found.gray_histogram, want.gray_histogram)
    assert np.array_equal(found.contact_pairs.labels, want.contact_pairs.labels)
    assert np.array_equal(found.contact_pairs.faces, want.contact_pairs.faces)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), shape=st.tuples(*[st.integers(1, 9)] * 3), side=st.integers(1, 6))
def test_streamed_rows_are_those_of_the_renumbered_labels(seed: int, shape: tuple[int, int, int], side: int) -> None:
    labels, image = volume(seed, shape)
    parts, last = parts_of(labels, image, side)
    rows, confidence = RowsInMemory(), scores(last.size - 1)
    id_map = stream_rows(parts, last, labels.shape, SPACING, confidence, rows)
    whole = [(Box.of_shape(shape), lambda: id_map[labels])]
    found = rows.finish(id_map, look_in(whole))
    want = measure(id_map[labels], SPACING, image, BINS)
    assert want.label.tolist() == list(range(1, len(want) + 1))
    ids, first_index = np.unique(id_map[labels], return_index=True)
    assert np.all(np.diff(first_index[ids > 0]) > 0), "raster order"
    same(found, want)
    olds = np.array([np.flatnonzero(id_map == k)[0] for k in want.label.astype(int)], int)
    assert found.confidence.tolist() == confidence.confidence[olds - 1].tolist()


def test_a_row_leaves_after_its_last_part_and_its_room_is_used_again() -> None:
    labels = np.arange(1, 41, dtype=np.uint32).repeat(2)[:, None, None]
    parts, last = parts_of(labels, labels.astype(np.uint16), 4)
    sums, left = OpenSums(last), []
    for part in parts:
        left.append(sums.add(part).label.tolist())
        assert len(sums._columns["voxels"]) <= 4, "two particles a part"
        assert len(sums._contacts.faces) <= 2
    assert left == [[2 * k + 1, 2 * k + 2] for k in range(20)]


def test_a_particle_that_comes_back_after_its_end_is_no_silent_mistake() -> None:
    labels = np.array([[[1, 0, 1]]], np.uint32)
    parts, last = parts_of(labels, labels.astype(np.uint16), 1)
    last[1] = 0
    sums = OpenSums(last)
    sums.add(parts[0])
    sums.add(parts[1])
    with pytest.raises(Ps3dError, match="part 2 holds a particle that ended before"):
        sums.add(parts[2])


@pytest.mark.parametrize("rows_a_file", [2**16, 3])
def test_rows_by_way_of_the_disk_are_the_same_files(tmp_path: Any, monkeypatch: Any, rows_a_file: int) -> None:
    monkeypatch.setattr(spilled_rows, "ROWS_PER_FILE", rows_a_file)
    labels, image = volume(3, (24, 8, 9))
    labels = np.where(labels > 0, labels + 20 * (np.arange(24) // 6)[:, None, None].astype(np.uint32), 0)
    parts, last = parts_of(labels, image, 5)
    in_memory, confidence = RowsInMemory(), scores(last.size - 1)
    spilled = SpilledRows(tmp_path / "rows", tmp_path / "out", labels.shape, last.size - 1)
    want = in_memory.finish(stream_rows(parts, last, labels.shape, SPACING, confidence, in_memory))
    stored = spilled.finish(stream_rows(parts, last, labels.shape, SPACING, confidence, spilled))
    assert len(stored) == len(want) > 20
    same(read_table(tmp_path / "out"), want)
    assert not (tmp_path / "rows").exists()
    parquet, lines = write_table(want, tmp_path / "at-once")
    assert (tmp_path / "out" / lines.name).read_bytes() == lines.read_bytes()
    if rows_a_file > len(want):
        assert (tmp_path / "out" / parquet.name).read_bytes() == parquet.read_bytes()


def test_a_stored_table_gives_columns_and_rows(tmp_path: Any) -> None:
    labels, image = volume(8, (12, 8, 9))
    want = measure(labels, SPACING, image, BINS)
    write_table(want, tmp_path)
    stored = StoredTable(tmp_path)
    assert stored.volume_voxels.tolist() == want.volume_voxels.tolist()
    assert stored.touches_edge.dtype == np.bool_
    assert stored.confidence is None
    with pytest.raises(AttributeError, match="colour"):
        _ = stored.colour
    chosen = stored.take(np.array([4, 0, 2]))
    assert chosen.label.tolist() == want.label[[4, 0, 2]].tolist()
    assert chosen.gray_p50.tolist() == want.gray_p50[[4, 0, 2]].tolist()
    assert len(stored.take(np.arange(0))) == 0


def test_no_particles_are_an_empty_table(tmp_path: Any) -> None:
    labels = np.zeros((4, 4, 4), np.uint32)
    parts, last = parts_of(labels, labels.astype(np.uint16), 2)
    spilled = SpilledRows(tmp_path / "rows", tmp_path / "out", labels.shape, 0)
    stored = spilled.finish(stream_rows(parts, last, labels.shape, SPACING, scores(0), spilled))
    assert len(stored) == 0
    assert len(read_table(tmp_path / "out")) == 0


def test_memory_hardly_grows_with_the_particles(tmp_path: Any) -> None:
    """A particle between its sums and its row holds a few numbers; its sums take more than 1,200 bytes."""
    cells = np.arange(2048, dtype=np.uint32).reshape(2, 32, 32).repeat(2, 0).repeat(2, 1).repeat(2, 2) + 1
    sums = partial_sums(cells, cells.astype(np.uint16), bins=BINS)

    def layers(count: int) -> Any:
        for k in range(count):
            contacts = replace(sums.contacts, labels=sums.contacts.labels + np.uint64(2048 * k))
            first = sums.first + cells.size * k
            yield replace(sums, label=sums.label + np.uint64(2048 * k), contacts=contacts, first=first)

    def peak(count: int) -> int:
        last = np.append(-1, np.arange(count).repeat(2048)).astype(np.int32)
        rows = SpilledRows(tmp_path / "rows", tmp_path / "out", (4 * count, 64, 64), last.size - 1)
        confidence = scores(last.size - 1)
        tracemalloc.start()
        id_map = stream_rows(layers(count), last, (4 * count, 64, 64), SPACING, confidence, rows)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert int(id_map.max()) == 2048 * count
        return found

    few = peak(4)
    assert peak(24) - few < 20 * 2048 * 100

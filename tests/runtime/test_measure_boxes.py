"""The stage that measures particles of the normalized grid on the source grid, box by box."""

from functools import partial

import numpy as np
import pytest

import ps3d_rt.stages.boxes
from ps3d_rt.core.chunks import ChunkGrid
from ps3d_rt.core.confidence import ParticleConfidence, to_confidence
from ps3d_rt.core.grid import Box
from ps3d_rt.core.measure import look_in, measure
from ps3d_rt.core.normalize import normalized_shape
from ps3d_rt.io.base import ArrayVolume
from ps3d_rt.stages.boxes import SourceGrid, box_tasks
from ps3d_rt.stages.confidence import add_up_scores, score_tasks
from ps3d_rt.stages.labels import write_box, write_tasks
from ps3d_rt.stages.particles import to_particles
from ps3d_rt.stages.storage import BORDER_CORE, CORE_SCORE, FOREGROUND_SCORE, MemoryStore, RowsInMemory
from ps3d_rt.stages.table import last_boxes, measure_box, stream_rows

SOURCE = (20, 26, 31)


class Target:
    def __init__(self):
        self.labels = np.zeros(SOURCE, np.uint32)

    def write(self, box: Box, labels):
        self.labels[box.slices] = labels


def packed_cells(shape, seed: int):
    """Border-core map of cells that touch, some of which fill whole chunks and some of which end at their faces."""
    rng = np.random.default_rng(seed)
    seeds = rng.uniform(0, shape, (25, 3))
    grid = np.stack(np.indices(shape), axis=-1)[..., None, :] + 0.5
    distances = np.sort(np.linalg.norm(grid - seeds, axis=-1), axis=-1)
    inside = distances[..., 0] < 9
    core = inside & (distances[..., 1] - distances[..., 0] > 1.5)
    return np.where(core, 1, np.where(inside, 2, 0)).astype(np.uint8)


@pytest.mark.parametrize("zoom", [(1.0, 1.0, 1.0), (1.6, 0.8, 1.1)])
@pytest.mark.parametrize(("side", "read_voxels"), [(40, 2**25), (8, 2**25), (7, 50)])
def test_the_table_of_boxes_is_that_of_the_labels_they_write(monkeypatch, zoom, side, read_voxels):
    monkeypatch.setattr(ps3d_rt.stages.boxes, "_READ_VOXELS", read_voxels)
    shape, chunk = normalized_shape(SOURCE, zoom), (9, 10, 8)
    store, target = MemoryStore(shape), Target()
    store.create(BORDER_CORE, np.uint8)
    cells = packed_cells(shape, 0)
    store.write(BORDER_CORE, Box.of_shape(shape), cells)
    percent = np.random.default_rng(2).integers(40, 101, shape, np.uint8)
    store.arrays[FOREGROUND_SCORE] = np.where(cells > 0, percent, 0)
    store.arrays[CORE_SCORE] = store.arrays[FOREGROUND_SCORE] // 2
    parts, count, _ = to_particles(store, shape, chunk)
    image = np.random.default_rng(1).integers(0, 65_536, SOURCE, np.uint16)
    stage = SourceGrid(volume=ArrayVolume(image), store=store, grid=ChunkGrid(shape, chunk), zoom=zoom)
    boxes = ChunkGrid(SOURCE, (side, side, side)).boxes

    tasks, rows = box_tasks(stage, parts, boxes), RowsInMemory()
    _, stops = to_confidence(map(partial(add_up_scores, store), score_tasks(stage.grid, parts)), count)
    unsure = ParticleConfidence(*np.zeros((3, count)))
    sums = (measure_box(stage, task).sums for task in tasks)
    id_map = stream_rows(sums, last_boxes(stage, tasks, stops), SOURCE, (1, 2, 3), unsure, rows)
    for task in write_tasks(stage, parts, boxes, id_map):
        write_box(stage, target, task)
    written = [(box, partial(target.labels.__getitem__, box.slices)) for box in boxes]
    found = rows.finish(id_map, look_in(written))
    expected = measure(target.labels, (1, 2, 3), image)

    # Between two particles a voxel goes to the one that the table has counted it for, whatever their final ids.
    largest, backwards = int(id_map.max()), Target()
    for task in write_tasks(stage, parts, boxes, np.where(id_map > 0, largest + 1 - id_map, 0)):
        write_box(stage, backwards, task)
    assert np.array_equal(backwards.labels, np.where(target.labels > 0, largest + 1 - target.labels, 0))

    assert len(found) > 10
    assert expected.contacts.sum() > 20
    for name, column in expected.columns().items():
        assert np.array_equal(found.columns()[name], column), name
    assert np.array_equal(found.contact_pairs.labels, expected.contact_pairs.labels)

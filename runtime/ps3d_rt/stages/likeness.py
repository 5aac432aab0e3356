"""What a scan looks like, beside what the model was trained on: some thin tiles of it, on the network's grid.

The tiles are read once more, about one plane in a hundred of a large scan; their labels lie in the store. They belong
to the volume: neither chunks nor workers change the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np

from ps3d_rt.core.chunks import ChunkLabels, chunks_in
from ps3d_rt.core.grid import Box
from ps3d_rt.core.likeness import TrainingCloud, likeness_facts
from ps3d_rt.core.normalize import network_input
from ps3d_rt.core.resample import PlaneStream
from ps3d_rt.core.sample_table import SampleTable
from ps3d_rt.core.scan_statistics import AROUND, TileSums, measure_tile, tiles_of, to_statistics
from ps3d_rt.stages.particles import Particles
from ps3d_rt.stages.prediction import Prediction
from ps3d_rt.stages.run import Run
from ps3d_rt.stages.storage import Store, read_ids


@dataclass(frozen=True)
class TileTask:
    """Tiles that are read together, and the labels in and around them."""

    region: Box
    """Of the normalized grid: holds the tiles."""
    tiles: tuple[Box, ...]
    chunk_labels: tuple[ChunkLabels, ...]


def look_at_tiles(run: Run, particles: Particles) -> list[TileSums]:
    """Measure the tiles of the scan; none if the model does not know its training samples."""
    prediction, plan = run.prediction, run.prediction.plan
    if not prediction.model.training_statistics:
        return []
    whole = Box.of_shape(plan.shape)
    tasks = [
        TileTask(region, tiles, chunks_in(plan.chunks, particles.chunk_labels, region.grow(AROUND, whole)))
        for region, tiles in _regions(prediction)
    ]
    with run.stage("likeness", len(tasks), at_once=plan.memory.chunks_at_once(plan.particles)) as stage:
        found = stage.map(partial(look_at, prediction, run.storage.store), tasks)
        return [tile for tiles in found for tile in tiles]


def _regions(prediction: Prediction) -> list[tuple[Box, tuple[Box, ...]]]:
    """Read the tiles of a layer together where a file is decoded in planes, or each plane would be decoded for each."""
    volume, tiles = prediction.volume, tiles_of(prediction.plan.shape)
    if volume.chunk[1:] != volume.shape[1:]:
        return [(tile, (tile,)) for tile in tiles]
    layers = [tuple(layer) for _, layer in groupby(tiles, key=lambda tile: tile.start[0])]
    return [(Box(layer[0].start, layer[-1].stop), layer) for layer in layers]


def look_at(prediction: Prediction, store: Store, task: TileTask) -> list[TileSums]:
    """Measure the tiles of a task, on the gray scale that the network is shown."""
    plan, volume = prediction.plan, prediction.volume
    planes = PlaneStream(
        volume.read,
        task.region,
        (plan.source, plan.shape),
        zoom=plan.zoom,
        lowpass=prediction.model.lowpass,
        planes_per_read=volume.planes_per_read,
    ).take(task.region.shape[0])
    image = network_input(planes, prediction.gray.scale)
    found = []
    for tile in task.tiles:
        around = tile.grow(AROUND, Box.of_shape(plan.shape))
        labels = read_ids(store, task.chunk_labels, around, np.uint32)
        found.append(measure_tile(image[tile.relative_to(task.region).slices], labels, tile.relative_to(around)))
    return found


def training_likeness(prediction: Prediction, tiles: Sequence[TileSums], table: SampleTable) -> dict[str, Any] | None:
    """Compare a scan with the training samples, for ``run.json``; None where there is nothing to compare.

    Args:
        prediction: of the scan.
        tiles: from :func:`look_at_tiles`.
        table: its particles.
    """
    if not tiles or not len(table):
        return None
    per_mm = prediction.model.target_size_voxels / (prediction.config.particle_size_mm or 1.0)
    diameters = np.asarray(table.equivalent_diameter_mm, np.float64)[~np.asarray(table.touches_edge, bool)] * per_mm
    cloud = TrainingCloud.from_json(prediction.model.training_statistics)
    return likeness_facts(to_statistics(tiles, diameters), cloud)

from functools import partial

import numpy as np
import pytest

from ps3d_rt.core.border_core import to_border_core
from ps3d_rt.core.chunks import ChunkGrid
from ps3d_rt.core.confidence import to_confidence
from ps3d_rt.core.grid import Box
from ps3d_rt.core.particle_filter import ParticleFilter
from ps3d_rt.stages.confidence import add_up_scores, score_tasks
from ps3d_rt.stages.particles import to_particles
from ps3d_rt.stages.storage import BORDER_CORE, CORE_SCORE, FOREGROUND_SCORE, MemoryStore, read_ids


def confident(border_core, percent, chunk, **options):
    store = MemoryStore(border_core.shape)
    store.arrays |= {BORDER_CORE: border_core, FOREGROUND_SCORE: percent, CORE_SCORE: np.zeros_like(percent)}
    found = to_particles(store, store.shape, chunk, rules=ParticleFilter(**options))
    tasks = score_tasks(ChunkGrid(store.shape, chunk), found.chunk_labels)
    confidence, _ = to_confidence(map(partial(add_up_scores, store), tasks), found.largest)
    labels = read_ids(store, [part for part in found.chunk_labels if part.ids.size > 1], Box.of_shape(store.shape))
    return found.largest, labels, confidence.confidence


@pytest.mark.parametrize("chunk", [(40, 12, 12), (7, 5, 12), (3, 3, 3)])
def test_particles_that_the_network_is_unsure_of_are_dropped(chunk):
    instances = np.zeros((40, 12, 12), np.uint32)
    for k in range(4):
        instances[1 + 10 * k : 9 + 10 * k, 2:10, 2:10] = k + 1
    border_core = to_border_core(instances, 1.5)
    percent = np.select([instances == k for k in range(1, 5)], [81, 80, 79, 95], 0).astype(np.uint8)
    percent[11, 5, 5] -= 1  # the second one's mean is now below 80 by a five-hundredth
    number_of, found, confidence = confident(border_core, percent, chunk, min_confidence=0.8)
    assert number_of == 2
    assert confidence.tolist() == [0.81, 0.95]
    assert np.array_equal(found, np.select([instances == 1, instances == 4], [1, 2], 0))
    percent[11, 5, 5] += 1
    assert confident(border_core, percent, chunk, min_confidence=0.8)[0] == 3


def test_unsure_particles_do_not_count_in_the_mean_volume():
    instances = np.zeros((12, 12, 40), np.uint32)
    instances[1:11, 1:11, 1:31] = 1
    instances[4:8, 4:8, 34:38] = 2
    percent = np.where(instances == 1, 50, 99).astype(np.uint8)
    options = {"chunk": (12, 12, 12), "min_relative_volume": 0.5, "largest_dropped": 1e4}
    border_core = to_border_core(instances, 1.0)
    number_of, _, confidence = confident(border_core, percent, min_confidence=0.0, **options)
    assert (number_of, confidence.tolist()) == (1, [0.5]), "the small one is under half of the mean"
    number_of, found, _ = confident(border_core, percent, min_confidence=0.8, **options)
    assert number_of == 1
    assert np.array_equal(found > 0, instances == 2), "it is the mean now"


def test_without_scores_no_particle_is_unsure():
    instances = np.zeros((8, 8, 8), np.uint32)
    instances[1:7, 1:7, 1:7] = 1
    store = MemoryStore(instances.shape)
    store.arrays[BORDER_CORE] = to_border_core(instances, 1.0)
    assert to_particles(store, store.shape, (8, 8, 8)).largest == 1

"""Working arrays on disk: what is written whole, in any order, by threads and processes, and what a kill leaves."""

import errno
import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from ps3d_rt.core.chunks import ChunkGrid
from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.io.zarr_store import ZarrStore, remove_unfinished
from ps3d_rt.stages.particles import to_instances, to_instances_chunked
from ps3d_rt.stages.storage import BORDER_CORE, INSTANCES

SHAPE, SHARD = (70, 100, 130), (64, 64, 128)
VALUES = np.random.default_rng(0).integers(0, 2**32, SHAPE, dtype=np.uint32)
BOXES = ChunkGrid(SHAPE, SHARD).boxes


def store_in(folder):
    store = ZarrStore(folder, SHAPE, SHARD)
    store.create("labels", np.uint32)
    return store


def write(store, box):
    store.write("labels", box, VALUES[box.slices])


def files_of(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    store = store_in(tmp_path_factory.mktemp("arrays"))
    for box in BOXES:
        write(store, box)
    return store


@given(st.data())
def test_any_box_reads_what_was_written(written, data):
    sides = [sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n)))) for n in SHAPE]
    box = Box(tuple(a for a, _ in sides), tuple(b for _, b in sides))
    values = written.read("labels", box)
    np.testing.assert_array_equal(values, VALUES[box.slices])
    assert (values.dtype, values.flags.c_contiguous, values.flags.writeable) == (np.uint32, True, True)


@given(st.permutations(BOXES))
@settings(max_examples=5)
def test_any_order_gives_the_same_files(written, tmp_path_factory, boxes):
    store = store_in(tmp_path_factory.mktemp("arrays"))
    for box in boxes:
        write(store, box)
        write(store, boxes[0])  # again, as a run that is resumed may do
    assert files_of(store.folder) == files_of(written.folder)


def test_several_shards_can_be_written_at_once(written, tmp_path):
    store = store_in(tmp_path)
    for box in (Box((0, 0, 0), (64, 100, 130)), Box((64, 0, 0), SHAPE)):
        write(store, box)
    assert files_of(tmp_path) == files_of(written.folder)


def test_many_threads_write_and_read_at_once(written, tmp_path):
    store = store_in(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(partial(write, store), BOXES))
        reads = list(pool.map(partial(store.read, "labels"), BOXES * 4))
    for box, values in zip(BOXES * 4, reads, strict=True):
        np.testing.assert_array_equal(values, VALUES[box.slices])
    assert files_of(tmp_path) == files_of(written.folder)


def test_spawned_processes_share_it_by_pickling(written, tmp_path):
    store = store_in(tmp_path)
    write(store, BOXES[0])  # an array that is open does not travel
    assert len(pickle.dumps(store)) < 500
    assert pickle.loads(pickle.dumps(store)) == store
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(partial(store.write, "labels"), BOXES, [VALUES[box.slices] for box in BOXES]))
    assert files_of(tmp_path) == files_of(written.folder)


def test_what_was_never_written_is_zero(tmp_path):
    store = store_in(tmp_path)
    write(store, BOXES[0])
    values = store.read("labels", Box.of_shape(SHAPE))
    np.testing.assert_array_equal(values[BOXES[0].slices], VALUES[BOXES[0].slices])
    values[BOXES[0].slices] = 0
    assert not values.any()


def test_creating_again_keeps_what_was_written(written):
    before = files_of(written.folder)
    for store in (written, pickle.loads(pickle.dumps(written))):
        store.create("labels", np.uint32)
    assert files_of(written.folder) == before


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        (SHAPE, np.uint8, r"uint32, this run needs \(70, 100, 130\) uint8"),
        ((70, 100, 131), np.uint32, r"this run needs \(70, 100, 131\)"),
    ],
)
def test_an_array_of_another_run_is_refused(written, shape, dtype, message):
    with pytest.raises(InputError, match=message):
        ZarrStore(written.folder, shape, SHARD).create("labels", dtype)


@pytest.mark.parametrize(
    "box",
    [
        Box((0, 0, 0), (64, 64, 64)),
        Box((0, 0, 0), (32, 100, 130)),
        Box((32, 0, 0), (64, 100, 130)),
        Box((0, 1, 0), (64, 65, 128)),
        Box((0, 0, 0), (64, 64, 129)),
        Box((64, 64, 128), (128, 128, 256)),
        Box((-64, 0, 0), (0, 64, 128)),
        Box((0, 0, 0), (0, 64, 128)),
    ],
)
def test_a_box_that_cuts_a_shard_is_refused_and_writes_nothing(tmp_path, box):
    store = store_in(tmp_path)
    before = files_of(tmp_path)
    with pytest.raises(InputError, match=r"labels: a box .* must start at multiples of \(64, 64, 128\)"):
        store.write("labels", box, np.ones(box.shape if min(box.shape) >= 0 else (1, 1, 1), np.uint32))
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("values", [np.zeros((64, 64, 127), np.uint32), np.zeros((64, 64, 128), np.int64), np.zeros(1)])
def test_values_that_do_not_fit_are_refused(tmp_path, values):
    with pytest.raises(InputError, match=r"a box of \(64, 64, 128\) voxels uint32 cannot take"):
        store_in(tmp_path).write("labels", BOXES[0], values)


@pytest.mark.parametrize("box", [Box((0, 0, 0), (71, 1, 1)), Box((-1, 0, 0), (1, 1, 1)), Box((3, 0, 0), (2, 1, 1))])
def test_reading_outside_is_refused(written, box):
    with pytest.raises(InputError, match=r"must lie between \(0, 0, 0\) and \(70, 100, 130\)"):
        written.read("labels", box)


@pytest.mark.parametrize("keep_bytes", [1, 100, -1])
def test_a_damaged_file_is_refused_when_read(tmp_path, keep_bytes):
    store = store_in(tmp_path)
    write(store, BOXES[0])
    file = tmp_path / "labels" / "c" / "0" / "0" / "0"
    file.write_bytes(file.read_bytes()[:keep_bytes])
    with pytest.raises(InputError, match=r"labels: a chunk between .* cannot be read: .*; remove it and run again"):
        store.read("labels", BOXES[0])


def test_a_full_disk_is_an_os_error_and_leaves_what_was_there(tmp_path, monkeypatch):
    store = store_in(tmp_path)
    write(store, BOXES[0])
    before = files_of(tmp_path)

    def full(path, target):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left on device") as error:
        store.write("labels", BOXES[0], VALUES[BOXES[0].slices] + 1)
    assert error.value.errno == errno.ENOSPC
    assert not isinstance(error.value, InputError)
    assert files_of(tmp_path) == before


KILLED_WHILE_WRITING = """
import signal, sys
from pathlib import Path
import numpy as np
from ps3d_rt.core.grid import Box
from ps3d_rt.io.zarr_store import ZarrStore

Path.replace = lambda *_: signal.raise_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
box = Box((0, 0, 0), (64, 64, 128))
ZarrStore(Path(sys.argv[1]), (70, 100, 130), box.shape).write("labels", box, np.ones(box.shape, np.uint32))
"""
"""Dies when its first shard is on disk but does not have its name yet."""


def test_a_killed_writer_leaves_nothing_but_a_file_that_can_be_removed(written, tmp_path):
    store = store_in(tmp_path)
    before = files_of(tmp_path)
    assert subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, tmp_path], check=False).returncode
    assert len(files_of(tmp_path)) == len(before) + 1
    assert not store.read("labels", BOXES[0]).any()
    (tmp_path / "notes.partial").write_text("mine")
    remove_unfinished(tmp_path)
    assert files_of(tmp_path) == before | {"notes.partial": b"mine"}
    for box in BOXES:
        write(store, box)
    (tmp_path / "notes.partial").unlink()
    assert files_of(tmp_path) == files_of(written.folder)


@pytest.mark.parametrize(
    ("shape", "shard", "shards", "chunks"),
    [
        ((300, 300, 300), (64, 256, 256), (64, 256, 256), (64, 64, 64)),
        ((10, 100, 300), (64, 256, 256), (64, 128, 256), (64, 64, 64)),  # no farther beyond the volume than a chunk
        ((200, 200, 200), (96, 100, 97), (96, 100, 97), (48, 50, 97)),
        ((9, 9, 9), (5, 3, 7), (5, 3, 7), (5, 3, 7)),
    ],
)
def test_chunks_divide_shards_and_shards_fit_the_volume(tmp_path, shape, shard, shards, chunks):
    ZarrStore(tmp_path, shape, shard).create("labels", np.uint8)
    array = zarr.open_array(tmp_path / "labels", mode="r")
    assert (array.shards, array.chunks, array.fill_value) == (shards, chunks, 0)


def test_particles_are_the_same_as_in_memory(tmp_path):
    shape, chunk = (40, 33, 50), (16, 16, 24)
    classes = np.random.default_rng(1).choice([0, 1, 2], shape, p=[0.6, 0.25, 0.15]).astype(np.uint8)
    store = ZarrStore(tmp_path, shape, chunk)
    store.create(BORDER_CORE, np.uint8)
    store.write(BORDER_CORE, Box.of_shape(shape), classes)
    count = to_instances_chunked(store, shape, chunk, min_relative_volume=0.005)
    expected = to_instances(classes, min_relative_volume=0.005)
    np.testing.assert_array_equal(store.read(INSTANCES, Box.of_shape(shape)), expected)
    assert count == expected.max()

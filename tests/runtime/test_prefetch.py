import gc
import threading
import time
import weakref

import pytest

from ps3d_rt.errors import InputError
from ps3d_rt.prefetch import prefetch
from ps3d_rt.workers import Workers, report_progress


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("ps3d-prefetch")]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    assert not threads()
    yield
    assert not threads()


@pytest.mark.parametrize("depth", [1, 2, 7])
def test_the_items_are_the_same_in_the_same_order(depth):
    assert list(prefetch(iter(range(20)), depth)) == list(range(20))
    assert list(prefetch(iter([]), depth)) == []
    assert list(prefetch(iter([None, StopIteration]), depth)) == [None, StopIteration]


def test_the_next_item_is_made_while_this_one_is_used():
    made = [threading.Event() for _ in range(3)]

    def items():
        for event in made:
            event.set()
            yield threading.current_thread()

    results = prefetch(items())
    assert next(results) is not threading.current_thread()
    assert made[1].wait(timeout=5)
    assert len(list(results)) == 2


@pytest.mark.parametrize("depth", [1, 3])
def test_no_more_than_depth_items_wait(depth):
    made = []
    for taken, _ in enumerate(prefetch((made.append(k) for k in range(12)), depth), start=1):
        time.sleep(0.01)
        assert len(made) == min(taken + depth, 12)


def test_an_item_that_was_used_leaves_the_memory_before_the_next_one_is_awaited():
    class Chunk:
        pass

    alive, counts = weakref.WeakSet(), []

    def items():
        for _ in range(5):
            time.sleep(0.03)
            counts.append(len(alive))
            chunk = Chunk()
            alive.add(chunk)
            yield chunk
            del chunk

    for chunk in prefetch(items()):
        del chunk
    assert counts == [0] * 5


def test_an_error_comes_where_its_item_would():
    def items():
        yield from range(3)
        raise InputError("item 3")

    taken = []
    with pytest.raises(InputError, match="item 3"):
        taken.extend(prefetch(items(), depth=2))
    results = prefetch(items(), depth=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    time.sleep(0.05)  # the error waits by now
    with pytest.raises(InputError, match="item 3"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_even_an_exit_is_passed_on():
    def items():
        yield 0
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        list(prefetch(items()))


def test_a_consumer_that_stops_ends_the_thread_and_the_generator():
    made, closed = [], threading.Event()

    def items():
        try:
            for k in range(1000):
                made.append(k)
                time.sleep(0.05)
                yield k
        finally:
            closed.set()

    source = items()
    results = prefetch(source, depth=5)
    assert next(results) == 0
    start = time.monotonic()
    results.close()
    assert time.monotonic() - start < 0.5
    assert closed.is_set()
    assert not threads()
    assert len(made) <= 3, "only the item in work is finished"


def test_a_loop_that_breaks_ends_the_thread():
    for k in prefetch(iter(range(1000)), depth=3):
        if k == 2:
            break
    gc.collect()
    assert not threads()


def test_nothing_runs_before_the_first_item_is_asked_for():
    made = []
    results = prefetch(made.append(k) for k in range(3))
    time.sleep(0.02)
    assert made == []
    assert not threads()
    assert len(list(results)) == 3


def test_a_task_can_report_from_its_items():
    def items():
        for k in range(3):
            report_progress(k)
            yield k

    heard = []
    with Workers(threads=1) as workers:
        assert list(workers.map(lambda _: sum(prefetch(items())), [0], on_progress=heard.append)) == [3]
    assert heard == [0, 1, 2]


def test_a_depth_below_1_is_refused():
    with pytest.raises(InputError, match="1 or more"):
        prefetch(iter([]), depth=0)

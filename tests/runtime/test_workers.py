import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from functools import partial

import numpy as np
import pytest

import worker_tasks as tasks
from ps3d_rt.errors import CapabilityError, InputError, InterruptedRun, Ps3dError
from ps3d_rt.workers import Workers, check_stop, report_progress


@pytest.fixture
def processes():
    with Workers(processes=2) as workers:
        yield workers


@pytest.fixture(params=["threads", "processes"])
def workers(request):
    if request.param == "processes":
        yield request.getfixturevalue("processes")
    else:
        with Workers(threads=2) as workers:
            yield workers


def pids_in(folder):
    return [int(path.name.removeprefix("pid-")) for path in folder.glob("pid-*")]


def test_results_come_in_the_order_of_the_items(workers):
    assert list(workers.map(tasks.slow_first, range(9))) == list(range(9))
    assert list(workers.map(tasks.square, [])) == []
    assert list(workers.map(tasks.square, [7])) == [49]


def test_two_maps_can_be_taken_in_turns(workers):
    pairs = zip(workers.map(tasks.square, range(20)), workers.map(tasks.slow_first, range(20)), strict=True)
    assert list(pairs) == [(k * k, k) for k in range(20)]


def test_work_is_done_side_by_side_in_other_processes(processes):
    pids = set(processes.map(tasks.where, range(6)))
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_one_process_means_threads_of_this_one():
    meet = threading.Barrier(3)  # three at a time, or it breaks
    with Workers(threads=3) as workers:
        found = list(workers.map(lambda k: (meet.wait(timeout=5), k, os.getpid())[1:], range(3)))
    assert found == [(k, os.getpid()) for k in range(3)]


def test_a_process_is_started_for_a_task_only():
    with Workers(processes=8) as workers:
        assert list(workers.map(tasks.square, [])) == []
        assert not workers._hired
        assert list(workers.map(tasks.square, [2])) == [4]
        assert len(workers._hired) == 1


def test_items_are_taken_no_further_than_twice_the_workers_ahead():
    taken = []
    items = (taken.append(k) or k for k in range(50))
    with Workers(threads=3) as workers:
        results = workers.map(lambda k: k, items)
        assert taken == []
        for k in range(10):
            assert next(results) == k
            time.sleep(0.01)
            assert len(taken) <= k + 1 + 6
        assert list(results) == list(range(10, 50))


def test_a_result_that_was_taken_leaves_the_memory_before_the_next_one_is_awaited():
    taken, alive = [], []

    def task(item):
        time.sleep(0.03)
        report_progress(item)
        return np.ones(9)

    def look(_):
        alive.extend(item for item, result in enumerate(taken) if result() is not None)

    with Workers(threads=1) as workers:
        results = workers.map(task, range(5), on_progress=look)
        while len(taken) < 5:
            taken.append(weakref.ref(next(results)))
    assert alive == []


def test_reports_arrive_before_the_result_in_the_thread_that_takes_it(workers):
    heard = []
    results = workers.map(
        tasks.count_to, [3, 0, 2], on_progress=lambda value: heard.append((value, threading.get_ident()))
    )
    found = [(result, [value for value, _ in heard if value[0] == result]) for result in results]
    assert found == [(3, [(3, 0), (3, 1), (3, 2)]), (0, []), (2, [(2, 0), (2, 1)])]
    assert {thread for _, thread in heard} == {threading.get_ident()}


def test_reports_are_heard_while_the_task_runs():
    heard = threading.Event()

    def task(_):
        report_progress("now")
        return heard.wait(timeout=5)

    with Workers(threads=1) as workers:
        assert list(workers.map(task, [0], on_progress=lambda _: heard.set())) == [True]


def test_a_report_without_a_listener_is_no_error(workers):
    report_progress("outside any task")
    assert list(workers.map(tasks.count_to, [2])) == [2]


def test_a_listener_that_fails_ends_the_map(workers):
    with pytest.raises(ZeroDivisionError):
        list(workers.map(tasks.count_to, [2, 2], on_progress=lambda _: 1 / 0))
    assert list(workers.map(tasks.square, [2])) == [4]


def test_an_error_comes_as_it_was_raised_and_the_workers_go_on(workers):
    with pytest.raises(CapabilityError) as caught:
        list(workers.map(tasks.fail_at_3, range(50)))
    assert type(caught.value) is CapabilityError
    assert str(caught.value) == "no such device"
    assert list(workers.map(tasks.square, range(4))) == [0, 1, 4, 9]


def test_an_error_in_a_process_says_where(processes):
    with pytest.raises(CapabilityError) as caught:
        list(processes.map(tasks.fail_at_3, [3]))
    assert "in fail_at_3" in caught.value.__notes__[0]


def test_what_cannot_travel_is_an_error_and_no_hang(processes):
    with pytest.raises(Ps3dError, match="AwkwardError: 1 and 2"):
        list(processes.map(tasks.fail_awkwardly, [1]))
    with pytest.raises((AttributeError, TypeError), match="pickle"):
        list(processes.map(tasks.in_pieces, [1]))
    with pytest.raises((AttributeError, TypeError), match="pickle"):
        list(processes.map(lambda k: k, [1]))
    assert list(processes.map(tasks.square, [3])) == [9]


def test_after_an_error_what_runs_ends_and_what_waits_is_cancelled(workers, tmp_path):
    list(workers.map(tasks.where, range(4)))  # both workers are there now
    with pytest.raises(ValueError, match="item 0"):
        list(workers.map(partial(tasks.note_end, tmp_path), range(50)))
    at_the_end = set(tmp_path.iterdir())
    assert 1 <= len(at_the_end) <= 3
    time.sleep(0.3)
    assert set(tmp_path.iterdir()) == at_the_end


def test_an_error_stops_the_map_before_the_earlier_tasks_are_done():
    ran = []

    def task(item):
        ran.append(item)
        if item == 1:
            raise ValueError("item 1")
        time.sleep(0.5 if item == 0 else 0.1)

    with Workers(threads=2) as workers, pytest.raises(ValueError, match="item 1"):
        next(workers.map(task, range(4)))
    assert 3 not in ran


def test_a_map_that_is_given_up_leaves_no_task_running():
    ended = []

    def task(item):
        time.sleep(0.05)
        ended.append(item)

    with Workers(threads=2) as workers:
        results = workers.map(task, range(20))
        next(results)
        results.close()
        count = len(ended)
        assert count <= 4
        time.sleep(0.2)
        assert len(ended) == count


def test_a_worker_that_dies_interrupts_the_run(processes):
    with pytest.raises(InterruptedRun, match=r"exit code 9.*start the same command again") as caught:
        list(processes.map(tasks.die, range(10)))
    assert caught.value.exit_code == 4


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_worker_that_is_killed_interrupts_the_run(processes, tmp_path):
    def kill_one():
        tasks.wait_until(lambda: len(pids_in(tmp_path)) == 2, 10)
        for pid in pids_in(tmp_path):
            os.kill(pid, signal.SIGKILL)

    threading.Thread(target=kill_one).start()
    with pytest.raises(InterruptedRun, match="exit code -9"):
        list(processes.map(partial(tasks.note_pid_and_hang, tmp_path), range(1, 5)))


def test_an_error_of_the_caller_ends_the_processes_at_once(tmp_path):
    def use():
        with Workers(processes=2) as workers:
            results = workers.map(partial(tasks.note_pid_and_hang, tmp_path), range(3))
            next(results)
            tasks.wait_until(lambda: len(pids_in(tmp_path)) == 2)
            raise KeyError("the caller's")

    start = time.monotonic()
    with pytest.raises(KeyError, match="the caller's"):
        use()
    assert time.monotonic() - start < 10
    assert not [pid for pid in pids_in(tmp_path) if tasks.alive(pid)]


@pytest.mark.skipif(sys.platform == "win32", reason="a signal to one process")
def test_ctrl_c_is_for_the_parent_to_act_on(processes):
    results = processes.map(tasks.report_pid_and_wait, [1, 2], on_progress=lambda pid: os.kill(pid, signal.SIGINT))
    assert list(results) == [1, 2]


SCRIPT = """
import signal, sys
from functools import partial
from pathlib import Path
from worker_tasks import note_pid_and_hang
from ps3d_rt.workers import Workers
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores Ctrl-C
    with Workers(processes=2) as workers:
        try:
            list(workers.map(partial(note_pid_and_hang, Path(sys.argv[1])), range(1, 9)))
        except KeyboardInterrupt:
            print("KeyboardInterrupt", flush=True)
            raise
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals to a process group")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_is_stopped_leaves_no_process(tmp_path, how):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    child = subprocess.Popen(
        [sys.executable, script, tmp_path],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    tasks.wait_until(lambda: len(pids_in(tmp_path)) == 2, 30)
    if how == signal.SIGINT:
        os.killpg(child.pid, how)  # as a terminal sends Ctrl-C: to all processes
    else:
        child.send_signal(how)
    out, err = child.communicate(timeout=60)  # a loaded machine takes its time
    tasks.wait_until(lambda: not any(map(tasks.alive, pids_in(tmp_path))), 30)
    assert child.returncode == -how
    if how == signal.SIGINT:
        assert out.strip() == "KeyboardInterrupt"
        assert err.count("Traceback") == 1, "the workers say nothing about it"


@pytest.mark.parametrize("numbers", [{"processes": 0}, {"threads": 0}])
def test_numbers_below_1_are_refused(numbers):
    with pytest.raises(InputError, match="1 or more"):
        Workers(**numbers)


@pytest.mark.parametrize("kind", [Ps3dError, InputError, CapabilityError, InterruptedRun])
def test_our_errors_travel(processes, kind):
    with pytest.raises(kind) as caught:
        list(processes.map(tasks.throw, [kind("what, allowed, cure")]))
    assert type(caught.value) is kind
    assert str(caught.value) == "what, allowed, cure"


def test_no_more_tasks_run_at_a_time_than_memory_allows() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def task(item: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1
        return item

    with Workers(threads=6) as workers:
        assert list(workers.map(task, range(30), at_once=2)) == list(range(30))
        assert most == 2
        assert list(workers.map(task, range(30))) == list(range(30))
        assert most > 2


def test_a_task_that_waits_for_its_turn_does_not_begin_when_the_map_has_ended() -> None:
    begun: list[int] = []
    second = threading.Event()

    def task(item: int) -> int:
        begun.append(item)
        if len(begun) > 1:
            second.set()
            while True:
                check_stop()
                time.sleep(0.001)
        return item

    with Workers(threads=4) as workers:
        results = workers.map(task, range(9), at_once=1)
        assert next(results) == begun[0]
        second.wait()
        results.close()
    assert len(begun) == 2

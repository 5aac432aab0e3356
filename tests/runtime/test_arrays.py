import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import array_api_strict
import numpy as np
import pytest

from ps3d_rt.core.arrays import array_namespace, compiled, is_cupy_array
from ps3d_rt.errors import InputError


class FakeCupyArray:
    """Stands in for an array of a library that is not installed here."""


FakeCupyArray.__module__ = "cupy._core.core"


@pytest.mark.parametrize("xp", [np, array_api_strict])
def test_an_array_names_its_library(xp):
    assert array_namespace(xp.zeros(2)) is xp


def test_a_list_is_not_an_array_and_the_advice_works():
    with pytest.raises(InputError, match=r"got a list.*numpy\.asarray"):
        array_namespace([1, 2])
    assert array_namespace(np.asarray([1, 2])) is np


def test_cupy_is_known_by_its_module_and_nothing_else_is():
    assert is_cupy_array(FakeCupyArray())
    assert not is_cupy_array(np.zeros(2))
    assert not is_cupy_array(array_api_strict.zeros(2))


@compiled
def _sum_below(limit: int) -> int:
    total = 0
    for i in range(limit):
        total += i
    return total


def test_a_compiled_loop_gives_what_the_loop_gives():
    assert _sum_below.__name__ == "_sum_below"
    assert _sum_below(100) == _sum_below.__wrapped__(100) == 4950


def test_threads_may_call_a_new_kernel_at_the_same_time(tmp_path):
    code = """
import threading, numpy, ps3d_rt.core.arrays as arrays

def plus_one(x):
    for i in range(x.size):
        x[i] += 1

kernel = arrays.compiled(plus_one)
start, rows = threading.Barrier(4), [numpy.zeros(9) for _ in range(4)]

def work(row):
    start.wait()
    kernel(row)

threads = [threading.Thread(target=work, args=[row]) for row in rows]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
raise SystemExit(any((row != 1).any() for row in rows))
"""
    file = tmp_path / "first_calls.py"  # numba keeps its cache beside the file
    file.write_text(code)
    assert subprocess.run([sys.executable, file], check=False).returncode == 0


@compiled
def _sees_a_change(values: np.ndarray, looks: int) -> bool:
    for i in range(looks):  # noqa: SIM110 — numba knows no generators here
        if values[i % 1000] != 0:
            return True
    return False


def test_other_threads_run_while_a_kernel_does():
    values = np.zeros(1000)
    assert not _sees_a_change(values, 1000)
    with ThreadPoolExecutor(1) as pool:
        seen = pool.submit(_sees_a_change, values, 10**9)
        time.sleep(0.05)
        assert not seen.done()
        values[:] = 1
        assert seen.result()


def test_numba_loads_at_the_first_call_only():
    code = "import sys, ps3d_rt.core.border_core; raise SystemExit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_kernel_runs_where_nothing_can_be_kept(monkeypatch):
    from numba.core import caching  # noqa: PLC0415

    monkeypatch.setattr(caching.CompileResultCacheImpl, "_locator_classes", [])
    assert compiled(_sum_below.__wrapped__)(5) == 10

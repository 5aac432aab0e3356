import subprocess
import sys

import array_api_strict
import numpy as np
import pytest
import scipy.ndimage

from ps3d_rt.core.arrays import array_namespace, compiled, is_cupy_array, ndimage_of
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


def test_ndimage_goes_with_the_array():
    assert ndimage_of(np.zeros(2)) is scipy.ndimage


@compiled
def _sum_below(limit: int) -> int:
    total = 0
    for i in range(limit):
        total += i
    return total


def test_a_compiled_loop_gives_what_the_loop_gives():
    assert _sum_below.__name__ == "_sum_below"
    assert _sum_below(100) == _sum_below.__wrapped__(100) == 4950


def test_numba_loads_at_the_first_call_only():
    code = "import sys, ps3d_rt.core.border_core; raise SystemExit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""GPUs as a driver describes them; the driver is a stand-in with the functions of the real library."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ps3d_rt.devices import gpus
from ps3d_rt.devices.gpus import Gpu, find_gpu, find_gpus, load_cupy
from ps3d_rt.errors import CapabilityError, InputError

H200 = Gpu(0, "NVIDIA H200", (9, 0), 139 * 2**30, (13, 1))
RTX = Gpu(1, "NVIDIA RTX A2000", (8, 6), 12 * 2**30, (13, 1))


class Driver:
    """Writes its answers to the places it is given, as the library does."""

    def __init__(self, *there: Gpu, init: int = 0) -> None:
        self.there, self.init = there, init

    def cuInit(self, _flags: int) -> int:  # noqa: N802
        return self.init

    def _answer(self, place: Any, value: int) -> int:
        place._obj.value = value
        return 0

    def cuDeviceGetCount(self, place: Any) -> int:  # noqa: N802
        return self._answer(place, len(self.there))

    def cuDriverGetVersion(self, place: Any) -> int:  # noqa: N802
        return self._answer(place, 13010)

    def cuDeviceGet(self, place: Any, index: int) -> int:  # noqa: N802
        return self._answer(place, 70 + index)

    def cuDeviceGetName(self, buffer: Any, size: int, handle: int) -> int:  # noqa: N802
        assert size == len(buffer)
        buffer.value = self.there[handle - 70].name.encode()
        return 0

    def cuDeviceGetAttribute(self, place: Any, attribute: int, handle: int) -> int:  # noqa: N802
        return self._answer(place, self.there[handle - 70].capability[{75: 0, 76: 1}[attribute]])

    def cuDeviceTotalMem_v2(self, place: Any, handle: int) -> int:  # noqa: N802
        return self._answer(place, self.there[handle - 70].memory_bytes)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "_load_driver", lambda: Driver(H200, RTX))


@pytest.mark.usefixtures("two_gpus")
def test_gpus_are_what_the_driver_says() -> None:
    assert find_gpus() == (H200, RTX)
    assert [gpu.device for gpu in find_gpus()] == ["cuda:0", "cuda:1"]
    assert RTX.identity == "NVIDIA RTX A2000 8.6"


@pytest.mark.usefixtures("two_gpus")
def test_a_device_is_found_by_number() -> None:
    assert find_gpu("auto") == find_gpu("cuda:0") == H200
    assert find_gpu("cuda:1") == RTX
    with pytest.raises(CapabilityError, match=r"cuda:2 is not there.*cuda:0 \(NVIDIA H200\), cuda:1"):
        find_gpu("cuda:2")


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:x", "gpu"])
def test_what_names_no_gpu_is_a_wrong_input(device: str) -> None:
    with pytest.raises(InputError, match=device):
        find_gpu(device)


@pytest.mark.parametrize(
    ("driver", "says"),
    [
        (Driver(), "shows no GPU.*CUDA_VISIBLE_DEVICES"),
        (Driver(H200, init=100), "shows no GPU"),
        (Driver(H200, init=999), "cuInit returns error 999"),
    ],
)
def test_a_driver_without_gpus_says_so(monkeypatch: pytest.MonkeyPatch, driver: Driver, says: str) -> None:
    monkeypatch.setattr(gpus, "_load_driver", lambda: driver)
    with pytest.raises(CapabilityError, match=f"cuda:0 is not there.*{says}"):
        find_gpu("auto")


def test_without_a_driver_it_ends_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "_LIBRARY", "libno_such_driver.so.1")
    with pytest.raises(CapabilityError, match=r"no NVIDIA driver.*libno_such_driver"):
        find_gpus()


def test_cupy_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(CapabilityError, match=r"CuPy does not load.*ps3d-rt\[gpu\]"):
        load_cupy(H200)


def test_cupy_that_cannot_use_the_gpu_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_index: int) -> None:
        raise RuntimeError("cudaErrorInsufficientDriver")

    cupy = ModuleType("cupy")
    cupy.__dict__.update(__version__="14", cuda=SimpleNamespace(Device=refuse))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    with pytest.raises(CapabilityError, match=r"CuPy 14 cannot use cuda:0.*CUDA 13\.1.*InsufficientDriver"):
        load_cupy(H200)

"""Arrays of other libraries go in without a copy, and labels come out where they are wanted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import array_api_strict
import numpy as np
import pytest
import torch

import ps3d_rt
from ps3d_rt import api
from ps3d_rt.api import as_volume
from ps3d_rt.core.arrays import asnumpy, borrowed, is_cupy_array
from ps3d_rt.core.grid import Box
from ps3d_rt.devices import gpus
from ps3d_rt.devices.gpu_volume import GpuVolume
from ps3d_rt.errors import CapabilityError, InputError
from ps3d_rt.model import ModelBundle
from ps3d_rt.pipeline import RunResult

GPU = gpus.Gpu(0, "H200", (9, 0), 139 * 2**30, (13, 0))


def voxels() -> Any:
    return np.arange(24, dtype=np.uint16).reshape(2, 3, 4)


@pytest.mark.parametrize("wrap", [torch.from_numpy, array_api_strict.asarray, np.asarray, lambda a: a[:, ::-1]])
def test_on_the_cpu_nothing_is_copied(wrap: Any) -> None:
    array = voxels()
    ours = borrowed(wrap(array))
    assert isinstance(ours, np.ndarray)
    assert np.shares_memory(ours, array)
    np.testing.assert_array_equal(np.sort(ours, axis=None), np.arange(24))
    assert ours.dtype == np.uint16


def test_what_only_knows_shape_and_dtype_is_read_piece_by_piece() -> None:
    lazy = SimpleNamespace(shape=(2, 3, 4), dtype=np.dtype(np.uint8))
    assert borrowed(lazy) is lazy


@pytest.mark.parametrize(
    ("array", "says"),
    [
        ([[[1]]], "got a list"),
        (torch.zeros((2, 2, 2), requires_grad=True), "does not hand out its memory"),
        (torch.zeros((2, 2, 2), dtype=torch.bfloat16), "does not hand out its memory"),
    ],
)
def test_what_hands_out_no_memory_is_refused(array: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        borrowed(array)


def test_an_array_on_a_gpu_needs_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cupy", None)
    for array in (like_pycuda(voxels()), like_torch_on_a_gpu(voxels())):
        with pytest.raises(CapabilityError, match=r"ps3d-rt\[gpu\]"):
            borrowed(array)


def like_pycuda(array: Any) -> Any:
    """An array with the CUDA array interface and nothing else, on memory of the host."""
    interface = {"shape": array.shape, "typestr": array.dtype.str, "data": (array.ctypes.data, False), "version": 3}
    return SimpleNamespace(__cuda_array_interface__=interface)


def like_torch_on_a_gpu(array: Any) -> Any:
    return SimpleNamespace(__dlpack__=lambda **_: array, __dlpack_device__=lambda: (2, 0), shape=array.shape)


def on_a_gpu(cupy: Any) -> dict[str, tuple[Any, int]]:
    """Arrays of several libraries on a GPU, and the address of the memory of each."""
    if cupy.__version__ == "0":  # the stand-in, whose GPU is the host
        arrays = [voxels(), voxels()]
        wrapped = {"pycuda": like_pycuda(arrays[0]), "torch": like_torch_on_a_gpu(arrays[1])}
        return {name: (x, a.ctypes.data) for (name, x), a in zip(wrapped.items(), arrays, strict=True)}
    found = {}
    if torch.cuda.is_available():
        tensor = torch.from_numpy(voxels().astype(np.int16)).cuda()
        found["torch"] = (tensor, tensor.data_ptr())
    array = cupy.asarray(voxels())
    found["interface"] = (SimpleNamespace(__cuda_array_interface__=array.__cuda_array_interface__), array.data.ptr)
    return found | {"cupy": (array, array.data.ptr)}


def address(array: Any) -> int:
    return int(array._host.ctypes.data if hasattr(array, "_host") else array.data.ptr)


def test_on_a_gpu_nothing_is_copied(cupy: Any) -> None:
    for name, (array, place) in on_a_gpu(cupy).items():
        ours = borrowed(array)
        assert is_cupy_array(ours), name
        assert address(ours) == place, name
        np.testing.assert_array_equal(asnumpy(ours), voxels(), err_msg=name)


def test_a_volume_on_a_gpu_is_read_there_and_from_the_host(cupy: Any) -> None:
    array = cupy.asarray(voxels())
    volume = as_volume(array, 0.01)
    assert isinstance(volume, GpuVolume)
    assert (volume.shape, volume.dtype, volume.device) == ((2, 3, 4), np.uint16, "cuda:0")
    box = Box((0, 1, 1), (2, 3, 2))
    there = volume.read_in_place(box)
    assert is_cupy_array(there)
    assert address(volume.read_in_place(Box.of_shape(volume.shape))) == address(array)
    np.testing.assert_array_equal(asnumpy(there), voxels()[box.slices])
    np.testing.assert_array_equal(volume.read(box), voxels()[box.slices])


def test_a_run_stays_where_its_array_is(cupy: Any) -> None:
    volume = as_volume(cupy.asarray(voxels()), 0.01)
    assert [volume.device_for(device) for device in ("auto", "cuda:0", "cpu")] == ["cuda:0", "cuda:0", "cpu"]
    with pytest.raises(InputError, match="the array is on cuda:0, the run on cuda:1"):
        volume.device_for("cuda:1")
    assert as_volume(voxels(), 0.01).device_for("auto") == "auto"


def balls() -> Any:
    grid = np.indices((34, 40, 50))
    image = np.random.default_rng(0).normal(80, 2, grid.shape[1:])
    for center in ((8, 10, 12), (24, 28, 14), (12, 13, 24)):
        image[((grid - np.reshape(center, (3, 1, 1, 1))) ** 2).sum(0) <= 6.5**2] += 150
    return image.astype(np.uint16)


def predict(array: Any, fake_model: Any, **options: Any) -> RunResult:
    model: ModelBundle = fake_model(patch=24, target_size_voxels=13.0)
    return ps3d_rt.predict(array, spacing=0.01, particle_size=0.13, model=model, engine="fake", **options)


def test_a_torch_tensor_gives_the_labels_of_the_numpy_array(fake_model: Any) -> None:
    want = predict(balls(), fake_model)
    assert len(want.particles) > 1
    found = predict(torch.from_numpy(balls()), fake_model)
    assert isinstance(found.labels, np.ndarray)
    np.testing.assert_array_equal(found.labels, want.labels)


def test_labels_come_back_on_the_gpu_if_wanted_there(
    cupy: Any, fake_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if cupy.__version__ == "0":
        monkeypatch.setattr(gpus, "find_gpus", lambda: (GPU,))
    want = predict(balls(), fake_model)
    found = predict(balls(), fake_model, labels_device="cuda:0")
    assert is_cupy_array(found.labels)
    np.testing.assert_array_equal(asnumpy(found.labels), want.labels)
    assert found.run["particles"] == want.run["particles"]


def test_a_place_for_labels_that_is_not_there_is_refused_before_the_run(
    fake_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_gpus() -> tuple[gpus.Gpu, ...]:
        raise CapabilityError("there is no driver here")

    monkeypatch.setattr(gpus, "find_gpus", no_gpus)
    monkeypatch.setattr(api, "predict_volume", lambda *_: pytest.fail("it ran"))
    with pytest.raises(CapabilityError, match="device cuda:0 is not there: there is no driver here"):
        predict(balls(), fake_model, labels_device="cuda:0")

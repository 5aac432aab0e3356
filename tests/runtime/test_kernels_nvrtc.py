"""Every CUDA kernel through NVIDIA's own compiler, to machine code of old and new GPUs; that needs no GPU."""

from __future__ import annotations

import ctypes
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules

import pytest

from ps3d_rt import core
from ps3d_rt.core.arrays import CudaKernel

ARCHITECTURES = ("sm_75", "sm_86", "sm_90", "sm_120")
"""Turing, the oldest that CUDA 13 compiles for; Ampere and Ada workstations; Hopper; Blackwell workstations."""
KERNELS = {
    kernel.name: kernel
    for module in iter_modules(core.__path__, f"{core.__name__}.")
    for kernel in vars(import_module(module.name)).values()
    if isinstance(kernel, CudaKernel)
}


@pytest.fixture(scope="module")
def nvrtc() -> ctypes.CDLL:
    package = find_spec("nvidia")
    folders = [Path(folder) for folder in package.submodule_search_locations or []] if package else []
    found = [file for folder in folders for file in folder.glob("cu*/lib/libnvrtc.so.*")]
    if not found:
        pytest.skip("no nvidia-cuda-nvrtc to compile the kernels with")
    return ctypes.CDLL(str(found[0]))


def compile_to_cubin(nvrtc: ctypes.CDLL, kernel: CudaKernel, architecture: str) -> tuple[int, str]:
    """Give the size of the machine code, 0 if it does not compile, and what the compiler says."""
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    source, name = kernel.source.encode(), kernel.name.encode()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, name, 0, None, None) == 0
    options = (ctypes.c_char_p * 2)(f"--gpu-architecture={architecture}".encode(), b"--std=c++17")
    failed = nvrtc.nvrtcCompileProgram(program, len(options), options)
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    size.value = 0
    if not failed:
        assert nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size)) == 0
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return size.value, log.value.decode()


def test_the_kernels_are_all_here():
    assert len(KERNELS) >= 7


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_compiles_without_a_warning(nvrtc, name, architecture):
    size, log = compile_to_cubin(nvrtc, KERNELS[name], architecture)
    assert log == ""
    assert size > 1000


def test_a_kernel_that_is_wrong_does_not(nvrtc):
    wrong = CudaKernel("__global__ void wrong(long long count, int* at) { at[thread()] = nowhere; }")
    size, log = compile_to_cubin(nvrtc, wrong, "sm_90")
    assert size == 0
    assert '"nowhere" is undefined' in log

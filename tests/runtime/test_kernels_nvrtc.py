"""Every CUDA kernel through NVIDIA's own compiler, to machine code of old and new GPUs; that needs no GPU."""

from __future__ import annotations

import ctypes
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules

import pytest

from ps3d_rt import core
from ps3d_rt.core.arrays import KERNEL_OPTIONS, CudaKernel

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


def compile_to_cubin(nvrtc: ctypes.CDLL, kernel: CudaKernel, architecture: str) -> tuple[bytes, str]:
    """Give the machine code, nothing if it does not compile, and what the compiler says."""
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    source, name = kernel.source.encode(), kernel.name.encode()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, name, 0, None, None) == 0
    options = [f"--gpu-architecture={architecture}", "--std=c++17", *KERNEL_OPTIONS]
    array = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    failed = nvrtc.nvrtcCompileProgram(program, len(options), array)
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    size.value = 0
    if not failed:
        assert nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size)) == 0
    code = ctypes.create_string_buffer(size.value)
    if not failed:
        assert nvrtc.nvrtcGetCUBIN(program, code) == 0
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return code.raw, log.value.decode()


def test_the_kernels_are_all_here():
    assert len(KERNELS) >= 7


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_compiles_without_a_warning(nvrtc, name, architecture):
    code, log = compile_to_cubin(nvrtc, KERNELS[name], architecture)
    assert log == ""
    assert len(code) > 1000


def test_a_kernel_that_is_wrong_does_not(nvrtc):
    wrong = CudaKernel("__global__ void wrong(long long count, int* at) { at[thread()] = nowhere; }")
    code, log = compile_to_cubin(nvrtc, wrong, "sm_90")
    assert code == b""
    assert '"nowhere" is undefined' in log


def test_a_product_and_a_sum_are_rounded_one_by_one(nvrtc):
    def code(result: str) -> bytes:
        source = f"__global__ void step(long long count, float* a) {{ a[0] = {result}; }}"
        return compile_to_cubin(nvrtc, CudaKernel(source), "sm_90")[0]

    plain = code("a[1] * a[2] + a[3]")
    assert plain == code("__fadd_rn(__fmul_rn(a[1], a[2]), a[3])") != b""
    assert plain != code("__fmaf_rn(a[1], a[2], a[3])")

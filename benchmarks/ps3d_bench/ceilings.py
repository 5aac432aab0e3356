"""What a device can do at most: bytes a second copied, operations a second multiplied. By PyTorch, in this very run."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

from ps3d_rt.errors import CapabilityError

REPEATS = 7


def seconds_of(work: Callable[[], object], wait: Callable[[], object], repeats: int = REPEATS) -> float:
    """Return the median time of some work, after a first run that does not count."""
    work()
    wait()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        wait()
        seconds.append(time.perf_counter() - start)
    return median(seconds)


def load_torch(device: str) -> Any:
    """Import PyTorch; it must support the device.

    Raises:
        CapabilityError: if it does not.
    """
    try:
        import torch  # noqa: PLC0415 - heavy
    except ImportError as error:
        raise CapabilityError(f"PyTorch does not load ({error}); it measures what the device can do.") from error
    if device != "cpu" and not torch.cuda.is_available():
        raise CapabilityError(f"PyTorch {torch.__version__} has no CUDA here; install the build for the GPU.")
    return torch


def waiting(torch: Any, device: str) -> Callable[[], object]:
    """Return the function that waits for the device."""
    return (lambda: None) if device == "cpu" else (lambda: torch.cuda.synchronize(device))


def ceilings(device: str, *, quick: bool = False) -> dict[str, float]:
    """Measure a device: GB/s of copies (bytes read and bytes written both count), TFLOP/s of matrix products.

    ``to_device`` and ``to_host`` copy pinned memory, and count a byte once.
    """
    torch = load_torch(device)
    wait = waiting(torch, device)
    count, side = (2**22, 512) if quick else (2**30, 8192) if device != "cpu" else (2**28, 2048)
    found = _copies(torch, device, count, wait)
    found |= {f"{name}_tflop_per_s": _product(torch, device, kind, side, wait) for name, kind in _kinds(torch, device)}
    if device != "cpu":
        torch.cuda.empty_cache()  # what follows looks at the GPU's memory
    return {name: float(f"{value:.4g}") for name, value in found.items()}


def _copies(torch: Any, device: str, count: int, wait: Callable[[], object]) -> dict[str, float]:
    a = torch.zeros(count, dtype=torch.uint8, device=device)
    b = torch.empty_like(a)
    found = {"copy_gb_per_s": 2 * count / seconds_of(lambda: b.copy_(a), wait) / 1e9}
    if device != "cpu":
        host = torch.empty(count, dtype=torch.uint8, pin_memory=True)
        found["to_device_gb_per_s"] = count / seconds_of(lambda: a.copy_(host, non_blocking=True), wait) / 1e9
        found["to_host_gb_per_s"] = count / seconds_of(lambda: host.copy_(a, non_blocking=True), wait) / 1e9
    return found


def _kinds(torch: Any, device: str) -> list[tuple[str, Any]]:
    if device == "cpu":
        return [("fp32", torch.float32), ("bf16", torch.bfloat16)]
    torch.backends.cuda.matmul.allow_tf32 = True
    return [("tf32", torch.float32), ("fp16", torch.float16), ("int8", torch.int8)]


def _product(torch: Any, device: str, kind: Any, side: int, wait: Callable[[], object]) -> float:
    if kind is torch.int8:
        a = torch.ones((side, side), dtype=kind, device=device)
        multiply = torch._int_mm
    else:
        a = torch.randn((side, side), device=device).to(kind)
        multiply = torch.mm
    return 2 * side**3 / seconds_of(lambda: multiply(a, a), wait) / 1e12

"""What of this machine decides how fast a run is, and how large it may be."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from pathlib import Path
from typing import Any

import psutil

FEATURES = {
    "bf16": ("avx512_bf16", "amx_bf16", "bf16"),
    "VNNI (int8)": ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp"),
}
"""What speeds up networks → what Linux calls it, on x86 and on Arm; one of them is enough."""
_LEAST_MEMORY_BYTES = 4 * 2**30


def cpu_name() -> str:
    """Give the name of the CPU as it is sold, as far as the system tells."""
    for line in _cpuinfo():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def cpu_features() -> dict[str, bool] | None:
    """Tell which of :data:`FEATURES` the CPU has; None where the system does not tell."""
    for line in _cpuinfo():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            flags = set(value.split())
            return {name: bool(flags & set(any_of)) for name, any_of in FEATURES.items()}
    return None


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []


def machine_facts() -> list[dict[str, Any]]:
    """List CPU, memory and disk, each with what to expect of it."""
    features, memory = cpu_features(), psutil.virtual_memory()
    has = "unknown" if features is None else ", ".join(name for name, there in features.items() if there) or "neither"
    short = "" if memory.available >= _LEAST_MEMORY_BYTES else "a run takes half of what is free; close other programs"
    rows = [
        {"what": "CPU", "value": f"{cpu_name()}, {os.cpu_count()} cores", "expect": ""},
        {"what": "bf16, VNNI", "value": has, "expect": _expectation(features)},
        {
            "what": "memory",
            "value": f"{memory.total / 2**30:.1f} GiB, {memory.available / 2**30:.1f} free",
            "expect": short,
        },
    ]
    for name, folder in (("disk here", Path.cwd()), ("disk for trials", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(folder).free
        rows.append({"what": name, "value": f"{free / 2**30:.1f} GiB free", "expect": str(folder)})
    return rows


def _expectation(features: dict[str, bool] | None) -> str:
    if features is None:
        return ""
    if features["bf16"]:
        return "the network runs in bf16, 2 to 5 times as fast as in fp32"
    slow = "the network runs in fp32: a CPU with bf16 takes a half to a fifth of the time"
    return f"{slow}; int8 models gain from VNNI" if features["VNNI (int8)"] else slow

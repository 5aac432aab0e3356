"""``ps3d-rt predict`` in parts: stopped when its time is up, resumed by the next call; its memory is watched."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from ps3d_bench.command import installed_command
from ps3d_rt.core.arrays import gpu_index
from ps3d_rt.errors import Ps3dError

INTERRUPTED = 4
"""Exit code of a run that can be resumed."""
SECONDS_TO_STOP = 40
_LOOK_EVERY_SECONDS = 0.25
_CTRL_C: signal.Signals = getattr(signal, "CTRL_C_EVENT", signal.SIGINT)
"""Of Windows, and of all others."""


def run_predict(scan: Path, out: Path, options: list[str], limit_s: float, device: str) -> dict[str, Any] | None:
    """Run it, or resume it.

    Returns:
        ``run`` (the content of run.json), ``seconds`` of all parts, ``parts``, ``peak_rss_mib``, ``peak_gpu_mib`` and
        ``gpu_mib_before`` (all that is taken on the GPU, whoever took it); None if the time was up first.

    Raises:
        Ps3dError: with what the command said, if it fails.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    notes = out.with_suffix(".parts.json")
    if not notes.exists():  # the first part of this measurement
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(out.parent / f".{out.name}.run", ignore_errors=True)
    so_far: dict[str, Any] = {"seconds": 0.0, "parts": 0, "gpu_mib_before": None}
    if notes.exists():
        so_far = json.loads(notes.read_text())
    with tempfile.TemporaryFile() as said:
        before = gpu_mib(device)
        start = time.perf_counter()
        words = [installed_command(), "predict", str(scan), str(out), *options]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=said)
        peaks, code = _watch(process, limit_s, device)
        so_far["seconds"] = round(so_far["seconds"] + time.perf_counter() - start, 3)
        so_far["parts"] += 1
        so_far["gpu_mib_before"] = before if so_far["gpu_mib_before"] is None else so_far["gpu_mib_before"]
        for name, value in peaks.items():
            so_far[name] = value if so_far.get(name) is None else max(value or 0, so_far[name])
        if code == INTERRUPTED or code < 0:
            notes.write_text(json.dumps(so_far))
            return None
        if code:
            said.seek(0)
            raise Ps3dError(f"ps3d-rt predict ended with exit code {code}: {said.read().decode(errors='replace')}")
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    shutil.rmtree(out)
    notes.unlink(missing_ok=True)
    return {"run": run, **so_far}


def _watch(process: subprocess.Popen[bytes], limit_s: float, device: str) -> tuple[dict[str, int | None], int]:
    """Wait for the end, or stop the run when its time is up; return peak memory and the exit code."""
    end = time.perf_counter() + limit_s
    stopping = False
    gpu: int | None = None
    rss = 0
    while process.poll() is None:
        time.sleep(_LOOK_EVERY_SECONDS)
        now = gpu_mib(device)
        gpu = now if gpu is None else max(gpu, now or 0)
        rss = max(rss, _rss_mib(process.pid))
        if time.perf_counter() > end + SECONDS_TO_STOP:
            process.kill()
        elif time.perf_counter() > end and not stopping:
            stopping = True
            process.send_signal(_CTRL_C)
    return {"peak_rss_mib": rss or None, "peak_gpu_mib": gpu}, process.returncode


def _rss_mib(process: int) -> int:
    """Peak resident memory of a process so far; 0 where the system does not tell."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM:")), 0)


def gpu_mib(device: str) -> int | None:
    """Memory used on a GPU by all processes, from nvidia-smi; None on a CPU or without it."""
    gpu, command = gpu_index(device), shutil.which("nvidia-smi")
    if gpu is None or command is None:
        return None
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    which = visible[gpu].strip() if gpu < len(visible) and visible[gpu] else str(gpu)
    query = [command, "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-i", which]
    told = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
    return int(told) if told.isdecimal() else None

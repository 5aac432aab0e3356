"""The installed ``ps3d-rt``, run as a user runs it: a process of its own, its seconds and its peak memory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import tempfile
import time

from ps3d_rt.errors import Ps3dError, not_installed


def installed_command() -> str:
    """Find ``ps3d-rt`` beside this Python.

    Raises:
        CapabilityError: if it is not there.
    """
    command = shutil.which("ps3d-rt", path=sysconfig.get_path("scripts"))
    if command is None:
        raise not_installed("ps3d-rt is not installed beside this Python", "ps3d-rt")
    return command


def run_command(*words: object) -> tuple[float, int | None]:
    """Run ``ps3d-rt`` with these words: wall-clock seconds, and peak memory of the process where it can be told.

    Raises:
        CapabilityError: if the command is not installed.
        Ps3dError: with what the command said, if it fails.
    """
    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        process = subprocess.Popen([installed_command(), *map(str, words)], stdout=subprocess.DEVNULL, stderr=said)
        peak_bytes = _peak_bytes(process)
        seconds = time.perf_counter() - start
        if process.returncode:
            said.seek(0)
            text = said.read().decode(errors="replace").strip()
            raise Ps3dError(f"ps3d-rt {words[0]} ended with exit code {process.returncode}: {text}")
    return seconds, peak_bytes


def _peak_bytes(process: subprocess.Popen[bytes]) -> int | None:
    """Wait for the end of ``process``; its peak resident memory, None where the system does not tell.

    On Linux a process starts with the peak of the one that made it: below that nothing can be seen.
    """
    if not hasattr(os, "wait4"):
        process.wait()
        return None
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sysconfig.get_platform().startswith("macosx") else 1024
    return usage.ru_maxrss * unit

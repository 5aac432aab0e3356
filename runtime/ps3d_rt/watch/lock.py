"""One instance a hot folder, on one machine or on several that share it.

On one machine the system's lock decides, and it goes with the process, however that ends. Between machines, where such
locks may not hold, a heartbeat does: a number that grows. Whoever finds one that grows stays away; clocks are not
compared.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

from filelock import FileLock, Timeout

from ps3d_rt.errors import InputError, cannot_write
from ps3d_rt.io.atomic_write import atomic_write
from ps3d_rt.io.json_text import read_json

LOCK, HEARTBEAT = "watch.lock", "heartbeat.json"
BEAT_SECONDS = 5.0


@contextmanager
def only_instance(
    folder: Path, beat_seconds: float = BEAT_SECONDS, sleep: Callable[[float], object] = time.sleep
) -> Iterator[None]:
    """Be the only one, as long as the block lasts.

    Args:
        folder: of the state.
        beat_seconds: between two beats.
        sleep: waits, to see whether another machine's heart beats.

    Raises:
        InputError: if another instance is there, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, blocking=False)
        lock.acquire()
    except Timeout as error:
        raise _taken(folder, read_heartbeat(folder)) from error
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        _check_other_machine(folder, beat_seconds, sleep)
        with _beating(folder, beat_seconds):
            yield
    finally:
        lock.release()


def read_heartbeat(folder: Path) -> dict[str, Any]:
    """Give the last beat: host, pid, number; empty if there is none."""
    with suppress(OSError, ValueError):
        found = read_json(folder / HEARTBEAT)
        if isinstance(found, dict):
            return found
    return {}


def _check_other_machine(folder: Path, beat_seconds: float, sleep: Callable[[float], object]) -> None:
    before = read_heartbeat(folder)
    if before.get("host") in (None, socket.gethostname()):
        return
    sleep(3 * beat_seconds)
    now = read_heartbeat(folder)
    if now != before:
        raise _taken(folder, now)


def _taken(folder: Path, beat: dict[str, Any]) -> InputError:
    who = f"process {beat['pid']} on {beat['host']}" if {"pid", "host"} <= beat.keys() else "another process"
    return InputError(f"{folder} is in use by {who}; end that one first, or watch with another output.")


@contextmanager
def _beating(folder: Path, beat_seconds: float) -> Iterator[None]:
    ended = Event()
    who = {"host": socket.gethostname(), "pid": os.getpid()}

    def beat() -> None:
        number = 0
        while True:
            number += 1
            with suppress(OSError), atomic_write(folder / HEARTBEAT, overwrite=True) as unfinished:
                unfinished.write_text(json.dumps({**who, "number": number}), encoding="utf-8")
            if ended.wait(beat_seconds):
                return

    heart = Thread(target=beat, daemon=True, name="heartbeat")
    heart.start()
    try:
        yield
    finally:
        ended.set()
        heart.join()
        with suppress(OSError):
            (folder / HEARTBEAT).unlink()

"""Ctrl-C, SIGTERM and, on Windows, Ctrl-Break: the first ends a command in good order, the second at once.

The first is announced and raised as KeyboardInterrupt where the main thread is. That thread may be inside a library
that takes minutes, to build an engine for example, and Python acts on a signal only after it. So a thread of its own
hears of signals too, through a socket: it says at once that the first was heard, and ends the process at the second.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from types import FrameType

from ps3d_rt.cli.logs import LINES
from ps3d_rt.errors import InterruptedRun
from ps3d_rt.workers import STOP_SIGNALS

STOPPING = "stopping ... (once more: at once)"
_SHOW_CURSOR = "\x1b[?25h"
_kept_open: list[socket.socket] = []
"""Python writes a byte a signal into it until the process has ended."""
_announcers: list[Callable[[], object]] = []
"""How to say that a run stops: the last one does. Signals belong to the process, and so does this."""


@contextmanager
def announced_by(announce: Callable[[], object]) -> Iterator[None]:
    """Say in another way than by a plain line that a run stops, as long as the block lasts."""
    _announcers.append(announce)
    try:
        yield
    finally:
        _announcers.remove(announce)


@contextmanager
def stoppable() -> Iterator[None]:
    """Handle signals as this module says, in the main thread; what is ignored already, as by nohup, stays so.

    Raises:
        KeyboardInterrupt: at the first signal.
    """
    near, far = socket.socketpair()
    far.setblocking(False)
    wakeup_before = signal.set_wakeup_fd(far.fileno(), warn_on_full_buffer=False)
    watcher = Thread(target=_watch, args=(near,), daemon=True)
    watcher.start()
    interrupted = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        if interrupted:
            _end_at_once()
        interrupted = True
        raise KeyboardInterrupt

    heard = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in heard}
    try:
        yield
    finally:
        # What was asked to stop is on its way out: another signal still ends it at once, and not with a traceback.
        if not interrupted:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakeup_before)
            far.close()
            watcher.join()
        else:
            _kept_open.append(far)


def _watch(signals: socket.socket) -> None:
    """Act on every signal, a byte each, until the other end is closed."""
    heard = 0
    with signals:
        while byte := signals.recv(1):
            if byte[0] not in STOP_SIGNALS:
                continue
            heard += 1
            if heard > 1:
                _end_at_once()
            with suppress(OSError):
                (_announcers[-1] if _announcers else say_stopping)()


def say_stopping() -> None:
    """Say that the first signal was heard."""
    LINES.say(STOPPING, {"event": "Stopping"})


def _end_at_once() -> None:
    """End without another word of Python's or a library's: threads in the midst of native code crash in a plain exit.

    Nothing is lost by it: what a run has recorded is whole whenever it ends, and worker processes end with this one.
    """
    with suppress(OSError):
        if os.isatty(2):
            os.write(2, _SHOW_CURSOR.encode())
        os.write(2, b"stopped\n")
    os._exit(InterruptedRun.exit_code)

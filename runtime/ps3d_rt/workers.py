"""Tasks on threads of this process, or on processes of their own: one map, the same results in the same order.

Every thread of the pool either runs a task itself or owns one worker process, hands it the task through a pipe and
waits for the answer. So both kinds share one map, no two processes share a lock, and a process that dies is seen at
once as the end of its pipe.

Processes are spawned, as on Windows: tasks, items and results are pickled, and every process imports the script that
was started. A script that uses them therefore does its work under ``if __name__ == "__main__":``.
"""

from __future__ import annotations

import os
import pickle
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import islice
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from threading import Event, Lock, Semaphore, Thread, local
from traceback import format_exception
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from ps3d_rt.errors import InputError, InterruptedRun, Ps3dError

Item = TypeVar("Item")
Found = TypeVar("Found")
OnProgress = Callable[[Any], object]
"""Called with every value that a task reports."""

STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name))
"""What asks a run to stop: Ctrl-C, the end of a session or a batch job, and Ctrl-Break on Windows."""

_SECONDS_TO_END = 5
"""How long an idle process may take to end by itself."""
_SECONDS_DEAF = 0.5
"""Longest wait in the main thread: on Windows, Ctrl-C does not end one, and is heard after it."""


def _nobody(value: object) -> None:
    """Listen to nothing."""


_listener: ContextVar[OnProgress] = ContextVar("listener", default=_nobody)
_map_ended: ContextVar[Ended | None] = ContextVar("map_ended", default=None)
_AGAIN = "the run was stopped; start the same command again."


def report_progress(value: object) -> None:
    """Tell the caller of :meth:`Workers.map`, from inside a task, how far the task is.

    Does nothing outside a task. A task that starts threads which report gives them its context.
    """
    _listener.get()(value)


def check_stop() -> None:
    """End a task on a thread, which nobody can kill, if its map has ended: by Ctrl-C, an error, or its consumer.

    Long tasks call it between steps, before each one that takes a second. Nothing happens outside a task.

    Raises:
        InterruptedRun: if nobody waits for the task any more.
    """
    ended = _map_ended.get()
    if ended is not None and ended.is_set():
        raise InterruptedRun(_AGAIN)


class TaskMap(Protocol):
    """``map``, or the map of a pool: results in the order of the tasks, the work in any order."""

    def __call__(self, task: Callable[[Item], Found], items: Sequence[Item], /) -> Iterable[Found]:
        """Apply ``task`` to every item."""


class Mapper(Protocol):
    """What maps tasks as :meth:`Workers.map` does."""

    def map(
        self,
        task: Callable[[Any], Any],
        items: Iterable[Any],
        on_progress: OnProgress | None = None,
        *,
        at_once: int | None = None,
    ) -> Iterator[Any]:
        """Yield the results in the order of the items."""


class Ended(Protocol):
    """Says whether anybody still waits for a task."""

    def is_set(self) -> bool:
        """Whether nobody does."""


class Workers:
    """Run tasks side by side.

    Args:
        processes: 1: threads of this process, which need nothing pickled and share its memory. More: that many
            spawned processes, one task at a time each.
        threads: threads that run tasks if ``processes`` is 1; default: the cores this process may use. Not used with
            more processes: how many threads a library takes inside a task is for the task to say.
        variables: environment variables of the processes beside those of this one, for each in turn; default: none.

    Raises:
        InputError: if a number is below 1.
    """

    def __init__(
        self, processes: int = 1, threads: int | None = None, variables: Sequence[Mapping[str, str]] = ()
    ) -> None:
        if processes < 1 or (threads is not None and threads < 1):
            raise InputError(f"{processes} processes and {threads} threads; 1 or more of each are needed.")
        self._run: Callable[..., Any] = run_here if processes == 1 else self._run_in_process
        count = processes if processes > 1 else threads or usable_cores()
        self._most = count
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="ps3d-worker")
        self._mine = local()
        self._hiring = Lock()
        self._variables = variables or ({},)
        self._hired: list[_Process] = []
        self._stopped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stop()
        self._pool.shutdown(cancel_futures=True)
        for process in self._hired:
            process.close()

    def map(
        self,
        task: Callable[[Item], Found],
        items: Iterable[Item],
        on_progress: OnProgress | None = None,
        *,
        at_once: int | None = None,
    ) -> Iterator[Found]:
        """Apply ``task`` to every item; lazy, like :func:`map`: work begins when the first result is asked for.

        At most twice as many items as there are workers are started or waiting, the one awaited included, so memory
        stays bounded when results are taken slowly. When the map ends, in whatever way, none of its tasks runs
        on: those on threads end where they next call :func:`check_stop`, and after Ctrl-C processes are killed.

        Args:
            task: what to do; with processes a function of a module, or a partial or frozen dataclass made of such.
            items: taken from as the work goes on.
            on_progress: called with every value that a task reports, in the thread that takes the results. All values
                of a task come before its result.
            at_once: tasks that may run at a time, if that is fewer than there are workers: as many as memory allows.

        Returns:
            The results in the order of the items.

        Raises:
            InterruptedRun: if a worker process died.
            Exception: what a task raised, as soon as it did. Tasks that wait are cancelled, those that run end first.
            KeyboardInterrupt: as soon as no task runs.
        """
        listen = on_progress or _nobody
        left = iter(items)
        pending: deque[Future[Found]] = deque()
        news: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
        """``(value,)`` for a report, ``()`` when a task is done."""
        ended = Event()
        most = self._most if at_once is None else min(at_once, self._most)
        turns = Semaphore(most)

        def run(item: Item, on_progress: OnProgress) -> Found:
            with turns:
                if ended.is_set():  # the turn came too late
                    raise InterruptedRun(_AGAIN)
                found: Found = self._run(task, item, on_progress, ended)
                return found

        def submit(count: int) -> None:
            for item in islice(left, count):
                pending.append(self._pool.submit(run, item, lambda value: news.put((value,))))
                pending[-1].add_done_callback(lambda _: news.put(()))

        try:
            submit(2 * most)
            while pending:
                while not (pending[0].done() or any(map(_failed, pending))):
                    _pass_on(news, listen)
                while not news.empty():
                    _pass_on(news, listen)
                for future in filter(_failed, pending):
                    future.result()
                submit(1)
                # The result gets no name here: it must not stay in memory while the next one is awaited.
                yield pending.popleft().result()
        except KeyboardInterrupt:
            self._stop()
            raise
        finally:
            ended.set()
            running = [future for future in pending if not future.cancel()]
            while wait(running, timeout=_SECONDS_DEAF).not_done:
                pass

    def _run_in_process(
        self, task: Callable[[Item], Found], item: Item, on_progress: OnProgress, ended: Event
    ) -> Found:
        process: _Process | None = getattr(self._mine, "process", None)
        if process is None:
            process = self._mine.process = self._hire()
        found: Found = process.run(task, item, on_progress)
        return found

    def _hire(self) -> _Process:
        with self._hiring:
            if self._stopped:
                raise InterruptedRun(_AGAIN)
            process = _Process(self._variables[len(self._hired) % len(self._variables)])
            self._hired.append(process)
        return process

    def _stop(self) -> None:
        """Kill the processes, whatever they do."""
        with self._hiring:
            self._stopped = True
            for process in self._hired:
                process.kill()


def usable_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _failed(future: Future[Any]) -> bool:
    return future.done() and future.exception() is not None


def _pass_on(news: SimpleQueue[tuple[Any, ...]], on_progress: OnProgress) -> None:
    """Wait for one piece of news, or a moment."""
    try:
        values = news.get(timeout=_SECONDS_DEAF)
    except Empty:
        return
    for value in values:
        on_progress(value)


def run_here(task: Callable[[Item], Found], item: Item, on_progress: OnProgress, ended: Ended) -> Found:
    """Do a task in this thread, for :func:`report_progress` and :func:`check_stop`."""
    _listener.set(on_progress)  # in the context of this thread, which does nothing but tasks
    _map_ended.set(ended)
    return task(item)


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Have a process that is started here not hear of Ctrl-C before :func:`_serve` says what it does then.

    On Windows it does hear; it dies then, as it would a moment later by the hand of its parent.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Process:
    """A worker process and the pipe to it, used by one thread of the parent."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        context = get_context("spawn")
        self._pipe, far_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(far_end, dict(variables)), daemon=True)
        with _signals_held_back():
            self._process.start()
        # With a second holder, the pipe would not end when the process does.
        far_end.close()

    def run(self, task: Callable[[Any], Any], item: Any, on_progress: OnProgress) -> Any:
        """Have the process do one task: its result, or what it raised."""
        order = pickle.dumps((task, item), protocol=5)
        self._reached(lambda: self._pipe.send_bytes(order))
        while True:
            kind, value = pickle.loads(self._reached(self._pipe.recv_bytes))
            if kind == "result":
                return value
            if kind == "error":
                raise value
            on_progress(value)

    def _reached(self, exchange: Callable[[], Any]) -> Any:
        try:
            return exchange()
        except (EOFError, OSError) as error:
            self._process.join(_SECONDS_TO_END)
            raise InterruptedRun(
                f"a worker process died (exit code {self._process.exitcode}) before its task was done; "
                "start the same command again."
            ) from error

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        """End the process, which has nothing to do."""
        self._pipe.close()
        self._process.join(_SECONDS_TO_END)
        self._process.kill()
        self._process.join()
        self._process.close()


def _serve(pipe: Connection[Any, Any], variables: dict[str, str]) -> None:
    """Do what comes through the pipe until it ends: the whole life of a worker process."""
    os.environ.update(variables)  # before the first task imports what looks at them
    # Ctrl-C reaches every process of a terminal, and some systems stop a whole group; the parent decides.
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    Thread(target=_die_with_parent, daemon=True).start()
    sending = Lock()

    def send(message: bytes) -> None:
        with sending:
            pipe.send_bytes(message)

    _listener.set(lambda value: send(pickle.dumps(("report", value), protocol=5)))
    while True:
        try:
            order = pipe.recv_bytes()
        except EOFError:
            return
        send(_answer(order))


def _answer(order: bytes) -> bytes:
    """Do one task; a function of its own, so that an idle process keeps neither the item nor the result."""
    try:
        task, item = pickle.loads(order)
        return pickle.dumps(("result", task(item)), protocol=5)
    except Exception as error:  # noqa: BLE001 - the parent raises it
        return pickle.dumps(("error", portable(error, "In the worker process")), protocol=5)


def portable(error: Exception, where: str) -> Exception:
    """Give an error its traceback as a note; one that cannot be pickled as it is becomes a :class:`Ps3dError`."""
    note = f"{where}:\n" + "".join(format_exception(error))
    error.add_note(note)
    try:
        pickle.loads(pickle.dumps(error, protocol=5))
    except Exception:  # noqa: BLE001 - whatever an error's own pickling raises, the error itself must arrive
        plain = Ps3dError(f"{type(error).__name__}: {error}")
        plain.add_note(note)
        return plain
    return error


def _die_with_parent() -> None:
    """Wait for the end of the parent, by SIGKILL for example, and end at once: a run leaves no process behind.

    A kernel that holds the interpreter delays this to its own end, but nothing is written after it.
    """
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

"""Compute the next items of an iterator in the background while the present one is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar, cast

from ps3d_rt.errors import InputError

T = TypeVar("T")


def prefetch(items: Iterator[T], depth: int = 1) -> Iterator[T]:
    """Run an iterator in a thread of its own, a few items ahead.

    Nothing runs before the first item is asked for. When the consumer stops early, the thread ends after the item it
    is at, and a generator is closed.

    Args:
        items: used by this thread only from now on.
        depth: most items that are finished or in work and not yet taken, at least 1.

    Returns:
        The same items in the same order; what ``items`` raises is raised in its place.

    Raises:
        InputError: if ``depth`` is below 1.

    >>> list(prefetch(iter(range(4)), depth=2))
    [0, 1, 2, 3]
    """
    if depth < 1:
        raise InputError(f"depth {depth} of prefetching; 1 or more are needed.")
    return _prefetch(items, depth)


def _prefetch(items: Iterator[T], depth: int) -> Iterator[T]:
    end = object()
    context = copy_context()

    def step() -> T | object:
        return context.run(next, items, end)

    pool = ThreadPoolExecutor(1, thread_name_prefix="ps3d-prefetch")
    waiting: deque[Future[T | object]] = deque()
    try:
        waiting.extend(pool.submit(step) for _ in range(depth))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(step))
            yield cast("T", item)
            # Chunks are large: a used one must not stay in memory while the next one is awaited.
            del item
    finally:
        pool.shutdown(cancel_futures=True)
        if isinstance(items, Generator):
            items.close()

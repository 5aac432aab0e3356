"""A hot folder from the command line: its log, its lock, its loop."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ps3d_rt.batch.engine_pool import EnginePool
from ps3d_rt.cli.logs import LINES
from ps3d_rt.cli.progress import listening
from ps3d_rt.errors import CapabilityError, InputError, cannot_write
from ps3d_rt.io.names import resolved
from ps3d_rt.watch.config import read_config
from ps3d_rt.watch.lock import only_instance
from ps3d_rt.watch.queue import FILE, Queue
from ps3d_rt.watch.service import Service, state_folder


def watch_folder(folder: Path, out: Path, config_path: Path | None, *, page: str | None = None, once: bool) -> None:
    """Watch a folder until stopped.

    Raises:
        Ps3dError: if the service as a whole cannot go on.
        KeyboardInterrupt: when asked to stop.
    """
    config = read_config(config_path)
    _check(folder, out)
    state = state_folder(out, config)
    options = config.scan.options()
    with only_instance(state), Queue(state) as queue, EnginePool(options) as pool:
        LINES.rotate(state / "watch.log", int(config.log.mib * 2**20), config.log.keep)
        with listening() as on_event, _page(out, queue, page):
            Service(folder, out, config, queue, pool, on_event).run(once=once)


def serve_page(out: Path, page: str, config_path: Path | None) -> None:
    """Show the page of an output until stopped.

    Raises:
        Ps3dError: if there is no queue, or the address cannot be used.
        KeyboardInterrupt: when asked to stop.
    """
    state = state_folder(out, read_config(config_path))
    if not (state / FILE).is_file():
        raise InputError(f"{state} has no queue; give the output of `ps3d-rt watch`.")
    with Queue(state) as queue, _page(out, queue, page):
        while True:
            time.sleep(0.5)  # short: on Windows, Ctrl-C is heard after it


@contextmanager
def _page(out: Path, queue: Queue, page: str | None) -> Iterator[None]:
    """Show the page as long as the block lasts, if one is wanted."""
    if page is None:
        yield
        return
    try:
        from ps3d_rt.serve.run import Address, served  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise CapabilityError(f"the page needs the extra serve: pip install 'ps3d-rt[serve]' – {error}") from error
    address = Address.parse(page)
    with served(out, queue, address, os.environ.get("PS3D_RT_TOKEN")):
        host = f"[{address.host}]" if ":" in address.host else address.host
        logging.getLogger(__name__).info("the page is at http://%s:%d/", host, address.port)
        yield


def _check(folder: Path, out: Path) -> None:
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give the one that the scanner writes to.")
    inner, outer = resolved(out), resolved(folder)
    if inner == outer or outer in inner.parents:
        raise InputError(f"{out} lies in {folder}, where its results would be taken for scans; choose another output.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(out, error) from error

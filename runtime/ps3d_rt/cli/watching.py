"""A hot folder from the command line: its log, its lock, its loop."""

from __future__ import annotations

from pathlib import Path

from ps3d_rt.batch.engine_pool import EnginePool
from ps3d_rt.cli.logs import LINES
from ps3d_rt.cli.progress import listening
from ps3d_rt.errors import InputError, cannot_write
from ps3d_rt.watch.config import read_config
from ps3d_rt.watch.lock import only_instance
from ps3d_rt.watch.queue import Queue
from ps3d_rt.watch.service import Service, state_folder


def watch_folder(folder: Path, out: Path, config_path: Path | None, *, once: bool) -> None:
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
        with listening() as on_event:
            Service(folder, out, config, queue, pool, on_event).run(once=once)


def _check(folder: Path, out: Path) -> None:
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give the one that the scanner writes to.")
    inner, outer = out.resolve(), folder.resolve()
    if inner == outer or outer in inner.parents:
        raise InputError(f"{out} lies in {folder}, where its results would be taken for scans; choose another output.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(out, error) from error

"""Figures of a hot folder in Prometheus' text format, for its scraper and for its textfile collector."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil

from ps3d_rt.io.atomic_write import atomic_write
from ps3d_rt.watch.queue import Queue
from ps3d_rt.watch.status import read_json


def metrics(queue: Queue, out: Path) -> str:
    """Write all figures, each with its help and type."""
    return "\n".join(_lines(queue, out)) + "\n"


def _lines(queue: Queue, out: Path) -> Iterator[str]:
    yield from _head("ps3d_rt_scans", "gauge", "Scans by what became of them.")
    for state, count in queue.counts().items():
        yield f'ps3d_rt_scans{{state="{state}"}} {count}'
    totals, now = read_json(queue, "totals"), read_json(queue, "now")
    yield from _head("ps3d_rt_voxels_total", "counter", "Voxels of the scans that are done.")
    yield f"ps3d_rt_voxels_total {totals.get('voxels', 0)}"
    yield from _head("ps3d_rt_stage_seconds_total", "counter", "Seconds of the scans that are done, by stage.")
    for stage, seconds in totals.get("seconds", {}).items():
        yield f'ps3d_rt_stage_seconds_total{{stage="{_escaped(str(stage))}"}} {seconds}'
    yield from _head("ps3d_rt_voxels_per_second", "gauge", "Of the stage that runs; 0 if none does.")
    yield f"ps3d_rt_voxels_per_second {now.get('voxels_per_second') or 0}"
    yield from _head("ps3d_rt_failures_total", "counter", "Tries that failed, by kind.")
    for kind, count in read_json(queue, "failures").items():
        yield f'ps3d_rt_failures_total{{kind="{_escaped(str(kind))}"}} {count}'
    yield from _head("ps3d_rt_paused", "gauge", "1 if a person has paused the queue.")
    yield f"ps3d_rt_paused {int(queue.setting('paused') == '1')}"
    yield from _head("ps3d_rt_waits_for_disk", "gauge", "1 if no scan is begun for want of disk.")
    yield f"ps3d_rt_waits_for_disk {int('waits' in now)}"
    yield from _head("ps3d_rt_alive_timestamp_seconds", "gauge", "When the service wrote last, seconds since 1970.")
    yield f"ps3d_rt_alive_timestamp_seconds {now.get('at', 0)}"
    try:
        free = psutil.disk_usage(str(out)).free
    except OSError:
        return
    yield from _head("ps3d_rt_disk_free_bytes", "gauge", "Room on the disk of the output.")
    yield f"ps3d_rt_disk_free_bytes {free}"


def _head(name: str, kind: str, words: str) -> Iterator[str]:
    yield f"# HELP {name} {words}"
    yield f"# TYPE {name} {kind}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def write_textfile(path: Path, queue: Queue, out: Path) -> None:
    """Write the figures to a file, whole or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    with atomic_write(path, overwrite=True) as unfinished:
        unfinished.write_text(metrics(queue, out), encoding="utf-8", newline="\n")

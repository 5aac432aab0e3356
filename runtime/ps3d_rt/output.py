"""The output folder of a run: labels, table, report and run.json, whole or not there at all.

While a run lasts, its work lies beside OUT, in ``.OUT.run``; it is kept when the run is stopped, to go on later::

    run-spec.json, journal/     what is run, and what is done of it
    arrays/                     border-core map and labels on the normalized grid
    output/                     becomes OUT
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ps3d_rt.core.measure import ParticleTable
from ps3d_rt.engines.base import Engine
from ps3d_rt.errors import InputError, InterruptedRun
from ps3d_rt.events import Listener, RunResumed, ignore
from ps3d_rt.io.labels_writer import LabelsZarr, create_labels
from ps3d_rt.io.table import write_table
from ps3d_rt.io.volume import Volume
from ps3d_rt.io.zarr_store import ZarrStore, remove_unfinished
from ps3d_rt.journal import Journal
from ps3d_rt.model import ModelBundle
from ps3d_rt.pipeline import Job, Places, run_stages
from ps3d_rt.plan import PredictConfig
from ps3d_rt.report import take_slices, write_report

MARK = "run.json"
"""A folder with this file is an output of ours and may be replaced with --overwrite."""


def check_output(folder: Path, *, overwrite: bool) -> None:
    """Refuse, before any work, a folder that must not be written.

    Raises:
        InputError: if it exists and ``overwrite`` is not given, or it exists and is not an output of ours.
    """
    if not folder.exists():
        return
    if not overwrite:
        raise InputError(f"{folder} exists; choose another folder, or pass --overwrite to replace it.")
    if not (folder / MARK).is_file():
        raise InputError(f"{folder} exists and is not an output of ps3d-rt; choose another folder.")


def predict_to_folder(
    volume: Volume,
    model: ModelBundle,
    engine: Engine,
    config: PredictConfig,
    folder: Path,
    *,
    overwrite: bool = False,
    tell: Listener = ignore,
) -> dict[str, Any]:
    """Segment a scan and write everything a run leaves behind; go on with a run that was stopped.

    Args:
        volume: the scan; read from worker processes too if there are any.
        model: what the engine runs.
        engine: open engine of ``model``.
        config: how.
        folder: the output; appears when it is complete.
        overwrite: replace an output that is there, at the very end.
        tell: called with every event.

    Returns:
        The content of ``run.json``.

    Raises:
        InputError: if the output may not be written, or the scan cannot be used.
        InterruptedRun: if the run was stopped, or the disk is full: the same command goes on where it stopped.
    """
    check_output(folder, overwrite=overwrite)
    began = time.perf_counter()
    job = Job.of(volume, model, engine, config)
    with _run_folder(folder, job.spec()) as journal:
        if journal.resumed:
            tell(RunResumed(str(journal.folder)))
        output, arrays = journal.folder / "output", journal.folder / "arrays"
        if not output.exists():
            _begin(journal, output, job)
        labels = LabelsZarr(output / f"{volume.name}.ome.zarr")
        places = Places(store=ZarrStore(arrays, job.plan.shape, job.plan.shard), labels=labels, journal=journal)
        table, run = run_stages(job, places, tell)
        run["seconds"]["all"] = round(time.perf_counter() - began, 3)
        run["resumed"] = journal.resumed
        _finish(output, volume, labels, table, run)
        _publish(output, folder, journal.folder / "replaced")
    return run


@contextmanager
def _run_folder(folder: Path, spec: dict[str, Any]) -> Iterator[Journal]:
    """Work in a folder beside the output, which goes when the run is complete, or failed before it got anywhere."""
    work = folder.parent / f".{folder.name}.run"
    again = f"start the same command again to go on; what is done lies in {work}."
    keep = True
    try:
        with Journal.open(work, spec) as journal:
            try:
                yield journal
                keep = False
            except KeyboardInterrupt as stop:
                raise InterruptedRun(f"interrupted; {again}") from stop
            except OSError as error:
                raise InterruptedRun(f"{work} cannot be written ({error.strerror}); make room, then {again}") from error
            except InputError:
                keep = bool(journal.keys("network"))
                raise
    finally:
        if not keep:
            shutil.rmtree(work, ignore_errors=True)


def _begin(journal: Journal, output: Path, job: Job) -> None:
    """Make the empty output. A run that has records but no output was killed when that had its name already."""
    journal.forget()
    unfinished = output.with_name("output-unfinished")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    unfinished.mkdir()
    name, spacing_mm = job.volume.name, job.config.spacing_mm
    create_labels(unfinished / f"{name}.ome.zarr", name, job.volume.shape, spacing_mm)
    unfinished.rename(output)


def _finish(output: Path, volume: Volume, labels: LabelsZarr, table: ParticleTable, run: dict[str, Any]) -> None:
    """Write what is small and quickly done again."""
    remove_unfinished(output)
    write_table(table, output, overwrite=True)
    write_report(output / "report.html", run, table, take_slices(volume.read, labels.read, volume.shape))
    (output / MARK).write_text(json.dumps(run, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _publish(output: Path, folder: Path, replaced: Path) -> None:
    """Give the output its name; one that had it goes with the run's folder."""
    if folder.exists():
        folder.rename(replaced)
    output.rename(folder)

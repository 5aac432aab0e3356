"""The output folder of a run: labels, table, report and run.json, whole or not there at all.

While a run lasts, its work lies beside OUT, in ``.OUT.run``; it is kept when the run is stopped, to go on later::

    identity.json, journal/     what is run, and what is done of it
    arrays/                     border-core map and labels on the normalized grid
    rows/                       rows of the table until all have their ids
    output/                     becomes OUT
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from ps3d_rt.clock import Clock
from ps3d_rt.core.distribution import PLAIN_SIZES, SizeOptions, facts_by
from ps3d_rt.core.dropped import DroppedParticles
from ps3d_rt.core.measure import ParticleTable
from ps3d_rt.core.psd import size_psd
from ps3d_rt.core.sample_table import SampleTable
from ps3d_rt.errors import InputError
from ps3d_rt.events import Listener, RunDone, RunResumed, Warned, ignore
from ps3d_rt.io.atomic_write import atomic_write
from ps3d_rt.io.base import Volume
from ps3d_rt.io.labels_writer import LabelsZarr, create_labels
from ps3d_rt.io.names import file_and_inside
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.raw import bare_layout
from ps3d_rt.io.remote import address_of, remove_remote
from ps3d_rt.io.spilled_rows import SpilledRows
from ps3d_rt.io.table import read_table, write_csv, write_dropped, write_table
from ps3d_rt.io.table_files import CSV_ONLY, TableFiles
from ps3d_rt.io.zarr_store import ZarrStore, remove_unfinished
from ps3d_rt.journal import IDENTITY, Journal
from ps3d_rt.mineralogy.folder import read_minerals
from ps3d_rt.mineralogy.measured import MeasuredScan
from ps3d_rt.mineralogy.pictures import draw_minerals
from ps3d_rt.mineralogy.step import add_minerals
from ps3d_rt.pipeline import prepare, run_stages
from ps3d_rt.plan import PredictConfig
from ps3d_rt.report import add_run, draw_report, preview, take_pictures, write_report
from ps3d_rt.run_folder import (
    MARK,
    OUTPUT,
    keep_size,
    known_size,
    publish,
    published,
    recover,
    run_folder,
    work_of,
)
from ps3d_rt.run_record import RunRecord, read_record
from ps3d_rt.stages.prediction import KnownSize, Opened, Prediction
from ps3d_rt.stages.storage import RunStorage

REPORT = "report.html"
PREVIEW = "preview.jpg"
_BUDGET = "memory-bytes"
"""Of a run that goes on: with another budget it may be cut otherwise, and what is done would not fit."""
_WORKERS = "cluster-workers"
"""The same of how many workers of a cluster it is cut for."""


def check_output(folder: Path, *, overwrite: bool) -> None:
    """Refuse, before any work, a folder that must not be written; the output of a killed run gets its name first.

    Raises:
        InputError: if it exists and ``overwrite`` is not given, or it exists and is not an output of ours.
    """
    recover(folder)
    if not folder.exists():
        return
    if not overwrite:
        raise InputError(f"{folder} exists; choose another folder, or pass --overwrite to replace it.")
    if not (folder / MARK).is_file():
        raise InputError(f"{folder} exists and is not an output of ps3d-rt; choose another folder.")


def predict_to_folder(
    opened: Opened,
    folder: Path,
    *,
    overwrite: bool = False,
    on_event: Listener = ignore,
    request: str | None = None,
) -> dict[str, Any]:
    """Segment a scan and write everything a run leaves behind; go on with a run that was stopped.

    Args:
        opened: the scan, read from worker processes too if there are any; the model; its open engine; and how.
        folder: the output; appears when it is complete.
        overwrite: replace an output that is there, at the very end.
        on_event: called with every event.
        request: noted in ``run.json``; see :class:`ps3d_rt.run_record.RunRecord`.

    Returns:
        The content of ``run.json``.

    Raises:
        InputError: if the output may not be written, or the scan cannot be used.
        CapabilityError: if the files of the table need an extra that is not there.
        KeyboardInterrupt: if the run was stopped: the same call goes on where it stopped.
        InterruptedRun: if the disk is full: as before.
    """
    check_output(folder, overwrite=overwrite)
    volume, model, engine, config = opened
    config.files.check()
    began = time.perf_counter()
    if config.cluster is not None:
        folder = folder.absolute()  # for workers that run elsewhere
    work = work_of(folder)
    config = _cut_as_before(config, work)
    prediction = prepare(volume, model, engine, config, on_event, known_size(work))
    with run_folder(folder, prediction.identity()) as journal:
        if journal.resumed:
            on_event(RunResumed(str(journal.folder)))
        if (done := published(journal, folder)) is not None:
            return done
        _keep_cut(config, journal.folder)
        output, arrays = journal.folder / OUTPUT, _arrays_of(journal, config)
        if not output.exists():
            _begin(journal, output, prediction)
        if prediction.estimate is not None:
            keep_size(journal, KnownSize(prediction.size_key, prediction.estimate))
        labels = LabelsZarr(output / f"{volume.name}.ome.zarr")
        storage = RunStorage(
            store=ZarrStore(arrays, prediction.plan.shape, prediction.plan.shard),
            labels=labels,
            rows=partial(SpilledRows, journal.folder / "rows", output, volume.shape, dialect=config.files.dialect),
            journal=journal,
            pictures=True,
        )
        found = run_stages(prediction, storage, on_event)
        told = [*(found.record.warnings or ()), *_warned(config.files.warnings(len(found.particles)), on_event)]
        record = replace(found.record, resumed=journal.resumed, request=request, warnings=told)
        table = found.particles
        clock = Clock(on_event, dict(record.seconds or {}))
        record, section = _find_minerals(opened, table, record, output, clock)
        with clock.stage("report", prod(volume.shape), 3) as advance:
            remove_unfinished(output)
            write_dropped(found.dropped, output)
            advance(1)
            pictures = take_pictures(volume.read, labels.read, volume.shape, table, found.slices)
            advance(1)
            page = draw_report(record.to_json(), table, replace(pictures, minerals=section))
            (output / PREVIEW).write_bytes(preview(pictures.slices))
            advance(1)
        seconds = round(time.perf_counter() - began, 3)
        record = replace(record, seconds=clock.seconds | {"all": seconds})
        _write(output / REPORT, add_run(page, record.to_json()))
        config.files.write(output, size_psd(table, volume.shape, config.sizes), record.to_json())
        record.write(output / MARK)
        with replace(clock, seconds={}).stage("publish", prod(volume.shape)):
            publish(journal, folder)
            if isinstance(arrays, str):
                remove_remote(arrays)
    on_event(RunDone(len(table), seconds, len(found.dropped), found.dropped.volume_share))
    return record.to_json()


def _find_minerals(
    opened: Opened, table: SampleTable, record: RunRecord, output: Path, clock: Clock
) -> tuple[RunRecord, Markup]:
    volume, _, _, config = opened
    with open_volume(output / f"{volume.name}.ome.zarr") as labels:
        given = MeasuredScan(labels=labels, scan=volume, table=table, record=record)
        return add_minerals(given, config.phases, output, clock, edge_correction=config.sizes.edge_correction)


def save_output(
    folder: Path,
    labels: Volume,
    table: ParticleTable,
    dropped: DroppedParticles,
    run: dict[str, Any],
    *,
    overwrite: bool = False,
) -> None:
    """Write what is in memory as a run into a folder would.

    Args:
        folder: appears when it is complete.
        labels: of the particles.
        table: of the same.
        dropped: what was found and is in neither.
        run: the content of ``run.json``; the report is made of it, and of the labels.
        overwrite: replace an output that is there.

    Raises:
        InputError: if the output may not be written.
    """
    check_output(folder, overwrite=overwrite)
    with atomic_write(folder, overwrite=overwrite) as unfinished:
        path = unfinished / f"{labels.name}.ome.zarr"
        create_labels(path, labels.name, labels.shape, run["scan"]["spacing_mm"])
        target = LabelsZarr(path)
        for box in target.boxes(0):
            target.write(box, labels.read(box).astype(np.uint32, copy=False))
        for level in range(1, target.levels):
            for box in target.boxes(level):
                target.coarsen(level, box)
        write_table(table, unfinished)
        CSV_ONLY.write(unfinished, size_psd(table, labels.shape, SizeOptions.from_facts(run["size_distribution"])), run)
        write_dropped(dropped, unfinished)
        _write(unfinished / MARK, json.dumps(run, indent=2) + "\n")


def _keep_cut(config: PredictConfig, work: Path) -> None:
    """Note for a run that goes on what decides how this one is cut."""
    _write(work / _BUDGET, str(config.memory_bytes))
    if config.cluster is not None:
        _write(work / _WORKERS, str(config.cluster.workers))


def _cut_as_before(config: PredictConfig, work: Path) -> PredictConfig:
    """Take over what nobody asked for from the run that goes on, if one does."""
    if config.memory_by_default and (work / _BUDGET).is_file():
        config = replace(config, memory_bytes=int((work / _BUDGET).read_text(encoding="utf-8")))
    if config.cluster is not None and config.cluster_by_default and (work / _WORKERS).is_file():
        workers = int((work / _WORKERS).read_text(encoding="utf-8"))
        config = replace(config, cluster=replace(config.cluster, workers=workers))
    return config


def _arrays_of(journal: Journal, config: PredictConfig) -> Path | str:
    """Place the working arrays: at an address, each run of each output has a folder of its own."""
    if config.store is None:
        return journal.folder / "arrays"
    run = sha256(f"{journal.folder.absolute()}\n{(journal.folder / IDENTITY).read_text(encoding='utf-8')}".encode())
    return f"{config.store}/ps3d-rt-{run.hexdigest()[:16]}"


def _warned(sentences: list[str], on_event: Listener) -> list[str]:
    for text in sentences:
        on_event(Warned(text))
    return sentences


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _begin(journal: Journal, output: Path, prediction: Prediction) -> None:
    """Make the empty output, and forget the records: without an output they are of a run that was killed at its end."""
    journal.forget()
    volume, spacing_mm = prediction.volume, prediction.config.spacing_mm
    with atomic_write(output) as unfinished:
        unfinished.mkdir()
        create_labels(unfinished / f"{volume.name}.ome.zarr", volume.name, volume.shape, spacing_mm)


def report_again(
    folder: Path,
    image: Path | None = None,
    *,
    dtype: str | None = None,
    sizes: SizeOptions = PLAIN_SIZES,
    files: TableFiles | None = None,
) -> Path:
    """Write the report of an output once more, from its labels, table and ``run.json``.

    Args:
        folder: the output.
        image: the scan; without it, where the run found it. If it is not there, particles are shown without it.
        dtype: of a raw file's voxels; without it, the run's, in this machine's byte order.
        sizes: of the size distribution.
        files: of the table, to be written again too; None: they are left alone.

    Returns:
        The report.

    Raises:
        InputError: if the folder is not an output of ours, a file in it is damaged, or the scan has another shape.
    """
    with open_output(folder, image, dtype=dtype) as output:
        table, scan, labels = output.table, output.scan, output.labels
        distribution, psd = facts_by(table, labels.shape, sizes), size_psd(table, labels.shape, sizes)
        pictures = take_pictures(None if scan is None else scan.read, labels.read, labels.shape, table)
        if (minerals := read_minerals(folder)) is not None and len(minerals.particles) == len(table):
            pictures = replace(pictures, minerals=draw_minerals(minerals, labels, scan, table))
    record = replace(output.record, size_distribution=distribution)
    write_report(folder / REPORT, record.to_json(), table, pictures)
    if files is not None:
        write_csv(table, folder, files.dialect)
        files.write(folder, psd, record.to_json())
    return folder / REPORT


def check_mark(folder: Path) -> None:
    """Refuse a folder that is not an output of ours; InputError."""
    if not (folder / MARK).is_file():
        raise InputError(f"{folder} has no {MARK}; give a folder that `ps3d-rt predict` wrote.")


@dataclass(frozen=True)
class Output:
    """What a run has left behind, opened to read."""

    record: RunRecord
    table: ParticleTable
    labels: Volume
    labels_path: Path
    """The OME-Zarr that holds the labels at all resolutions."""
    scan: Volume | None
    """None if it is not where the run found it."""


@contextmanager
def open_output(folder: Path, image: Path | None = None, *, dtype: str | None = None) -> Iterator[Output]:
    """Open an output.

    Args:
        folder: the output.
        image: the scan; without it, where the run found it.
        dtype: of a raw file's voxels; without it, the run's, in this machine's byte order.

    Raises:
        InputError: if the folder is not an output of ours, a file in it is damaged, or the scan has another shape.
    """
    check_mark(folder)
    record, table = read_record(folder / MARK), read_table(folder)
    scan = record.scan
    found = Path(scan.source) if image is None else image
    path = folder / f"{scan.name}.ome.zarr"
    with ExitStack() as files:
        labels = files.enter_context(open_volume(path))
        volume = None
        if image is not None or address_of(found) or file_and_inside(found)[0].exists():
            layout = bare_layout(found, scan.shape, dtype or scan.dtype)
            volume = files.enter_context(open_volume(found, **layout))
            if volume.shape != labels.shape:
                raise InputError(f"{found} has shape {volume.shape} and the labels {labels.shape}; give their scan.")
        yield Output(record, table, labels, path, volume)

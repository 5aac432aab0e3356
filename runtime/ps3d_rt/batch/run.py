"""One sample after the other. One that cannot be done is noted with the reason, and the rest goes on."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ps3d_rt.api import prepared
from ps3d_rt.batch.engine_pool import EnginePool
from ps3d_rt.batch.request import done_for, fingerprint, record_of, request_of
from ps3d_rt.batch.samples import Sample, by_model
from ps3d_rt.core.minerals.phases import PhasesAsked
from ps3d_rt.errors import CapabilityError, InputError, InterruptedRun, cannot_write
from ps3d_rt.events import Listener, SampleFailed, SamplesKept, SampleStarted
from ps3d_rt.first_run import announced
from ps3d_rt.io.atomic_write import atomic_write
from ps3d_rt.io.json_text import read_json
from ps3d_rt.io.phases import phases_asked
from ps3d_rt.mineralogy.of_output import add_to_output
from ps3d_rt.mineralogy.step import has_minerals
from ps3d_rt.output import check_output, predict_to_folder
from ps3d_rt.predict_options import PredictOptions
from ps3d_rt.run_folder import MARK, discard_leftover, recover
from ps3d_rt.run_record import RunRecord, read_record

logger = logging.getLogger(__name__)

NOTES = ".batch"
"""Folder below OUT that says which samples failed, and why."""


@dataclass(frozen=True)
class Failure:
    """Why a sample could not be done."""

    kind: str
    """``input``, ``capability``, ``system`` or ``bug``: what people count failures by."""
    reason: str
    """With the cure."""


@dataclass(frozen=True)
class Job:
    """A sample with all that its run needs to know."""

    sample: Sample
    scan: Path
    folder: Path
    options: PredictOptions
    request: str

    @property
    def is_done(self) -> bool:
        """Whether the output is there, was made for this request, and has the minerals asked for."""
        record = self.record
        return record is not None and has_minerals(self.folder, record, self.phases)

    @property
    def record(self) -> RunRecord | None:
        """What the output says if it was made for this request, with or without minerals; None if it was not."""
        recover(self.folder)
        return done_for(self.folder, self.request)

    @property
    def phases(self) -> PhasesAsked | None:
        """Minerals to find."""
        return None if self.options.phases is None else phases_asked(self.options.phases)


def job_for(sample: Sample, out: Path, pool: EnginePool, options: PredictOptions) -> Job:
    """Find out what a sample asks for.

    Raises:
        InputError: if it has a problem, its model cannot be loaded, or its scan is not there.
    """
    if sample.problem is not None or sample.path is None:
        raise InputError(sample.problem or "it has no scan.")
    bundle = pool.model(sample.model)
    mine = replace(
        options,
        model=bundle,
        spacing=options.spacing if sample.spacing_mm is None else sample.spacing_mm,
        particle_size=options.particle_size if sample.particle_size is None else sample.particle_size,
        phases=options.phases if sample.phases is None else sample.phases,
    )
    request = request_of(sample.path, fingerprint(sample.path), bundle, mine)
    return Job(sample, sample.path, out / sample.name, mine, request)


def run_job(job: Job, pool: EnginePool, *, overwrite: bool, on_event: Listener) -> dict[str, Any]:
    """Segment a sample to its folder; the output of an earlier batch is replaced, any other with ``overwrite`` only.

    Labels that are there for the same request stay, and only minerals are added.

    Raises:
        InputError: if the scan cannot be used, or the output may not be written.
        CapabilityError: if something to read it with is not installed.
        InterruptedRun: if the disk is full, or a worker died.
        KeyboardInterrupt: within one call of the engine.
    """
    if job.phases is not None and job.record is not None:
        edge = job.options.sizes.edge_correction
        add_to_output(job.folder, job.phases, job.scan, on_event, edge_correction=edge)
        return read_record(job.folder / MARK).to_json()
    before = record_of(job.folder)
    may_replace = overwrite or (before is not None and before.request is not None)
    check_output(job.folder, overwrite=may_replace)
    engine = pool.engine(pool.model(job.sample.model))
    with prepared(job.scan, job.options, job.folder, engine, on_event) as opened, announced():
        return predict_to_folder(opened, job.folder, overwrite=may_replace, on_event=on_event, request=job.request)


def run_batch(
    samples: Sequence[Sample],
    out: Path,
    pool: EnginePool,
    options: PredictOptions,
    *,
    overwrite: bool = False,
    on_event: Listener,
) -> None:
    """Do all samples that are not done; what fails is noted in OUT and told.

    Args:
        samples: in the order wanted; those of one model are done together.
        out: a folder a sample appears in it.
        pool: opens the engine when the first sample needs it.
        options: what holds for samples that say nothing else.
        overwrite: replace outputs that no batch wrote.
        on_event: called with every event.

    Raises:
        InputError: if the model that holds for all cannot be loaded, or OUT cannot be written.
        CapabilityError: if the engine or the device is not there.
        InterruptedRun: if the disk is full, or a worker died.
        KeyboardInterrupt: within one call of the engine.
    """
    try:
        (out / NOTES).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(out, error) from error
    if any(sample.model is None and sample.problem is None for sample in samples):
        pool.model(None)
    kept, todo = _split(samples, out, pool, options, on_event)
    if kept:
        on_event(SamplesKept(kept))
    for number, job in enumerate(todo, start=1):
        on_event(SampleStarted(job.sample.name, number, len(todo)))
        if job.sample.model is None and job.record is None:
            pool.engine(pool.model(None))  # what is amiss with it is amiss with all samples, and ends the batch
        failure = attempt(job, pool, overwrite=overwrite, on_event=on_event)
        note_failure(out, job.sample.name, None if failure is None else failure.reason)
        if failure is not None:
            on_event(SampleFailed(job.sample.name, failure.reason))


def _split(
    samples: Sequence[Sample], out: Path, pool: EnginePool, options: PredictOptions, on_event: Listener
) -> tuple[int, list[Job]]:
    """Count the samples that are done, and give the jobs of the others; those that cannot be jobs are noted."""
    kept, todo = 0, []
    for sample in by_model(samples):
        try:
            job = job_for(sample, out, pool, options)
        except InputError as error:
            note_failure(out, sample.name, str(error))
            on_event(SampleFailed(sample.name, str(error)))
            continue
        if job.is_done:
            kept += 1
            discard_leftover(job.folder)
            note_failure(out, sample.name, None)
        else:
            todo.append(job)
    return kept, todo


def attempt(job: Job, pool: EnginePool, *, overwrite: bool, on_event: Listener) -> Failure | None:
    """Run a job; say why if it cannot be done, None if it is.

    Raises:
        InterruptedRun: as :func:`run_job`.
        KeyboardInterrupt: as there.
    """
    try:
        run_job(job, pool, overwrite=overwrite, on_event=on_event)
    except InputError as error:
        return Failure("input", str(error))
    except CapabilityError as error:
        return Failure("capability", str(error))
    except InterruptedRun:
        raise
    except OSError as error:
        reason = f"{error.filename or job.scan} cannot be used; look after it – {error.strerror or error}"
        return Failure("system", reason)
    except Exception as error:  # one scan must not end all others; its traceback is in the log
        logger.exception("%s: ps3d-rt failed", job.sample.name)
        reason = f"ps3d-rt failed, by a bug; report it with the traceback in the log – {type(error).__name__}: {error}"
        return Failure("bug", reason)
    return None


def note_failure(out: Path, name: str, problem: str | None) -> None:
    """Write down why a sample failed; None: it did not, and an older note goes."""
    path = out / NOTES / f"{name}.json"
    if problem is None:
        path.unlink(missing_ok=True)
        return
    try:
        with atomic_write(path, overwrite=True) as unfinished:
            unfinished.write_text(json.dumps({"error": problem}), encoding="utf-8", newline="\n")
    except OSError as error:
        raise cannot_write(path, error) from error


def failure_of(out: Path, name: str) -> str | None:
    """Read why a sample failed; None if it did not."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        return str(read_json(out / NOTES / f"{name}.json")["error"])
    return None

"""The loop of a hot folder: look, take, run, note; and how each step ends when something is amiss."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event as Flag
from threading import Lock, Thread
from typing import Any

import psutil

from ps3d_rt.batch.engine_pool import EnginePool
from ps3d_rt.batch.request import fingerprint, record_of
from ps3d_rt.batch.run import Failure, Job, attempt, job_for
from ps3d_rt.batch.samples import Sample, name_problem
from ps3d_rt.batch.summary import row_of
from ps3d_rt.errors import InputError, InterruptedRun
from ps3d_rt.events import Listener, SampleFailed, SampleStarted, Warned
from ps3d_rt.io.atomic_write import atomic_write
from ps3d_rt.io.names import stem_of
from ps3d_rt.run_folder import discard_leftover
from ps3d_rt.watch import states
from ps3d_rt.watch.arrivals import Arrivals, marker_of
from ps3d_rt.watch.config import WatchConfig
from ps3d_rt.watch.metrics import write_textfile
from ps3d_rt.watch.queue import Entry, Queue
from ps3d_rt.watch.states import State
from ps3d_rt.watch.status import StatusWriter, add_totals, count_failure, write_now

logger = logging.getLogger(__name__)

QUARANTINE = "quarantine"
STATE = ".watch"
_LONGEST_LOOK_SECONDS = 30.0
"""At the end a look at a share that hangs is not waited for any longer."""
_IDLE_SECONDS = 0.5
"""Between two looks at the queue; also the longest that Ctrl-C waits on Windows."""


def state_folder(out: Path, config: WatchConfig) -> Path:
    """Where the queue, the lock and the log of an output lie."""
    return Path(config.state) if config.state else out / STATE


@dataclass
class Service:
    """A hot folder at work."""

    folder: Path
    out: Path
    config: WatchConfig
    queue: Queue
    pool: EnginePool
    on_event: Listener
    free_bytes: Callable[[Path], int] = lambda path: int(psutil.disk_usage(str(path)).free)
    _ended: Flag = field(default_factory=Flag)
    _told: set[str] = field(default_factory=set)
    _looks: int = 0
    _looking: Lock = field(default_factory=Lock)
    """Held while a look is under way: what it has found and not queued yet is not done."""

    def run(self, *, once: bool = False) -> None:
        """Work until stopped; or, ``once``, until every scan that is there is done or given up.

        Raises:
            InputError: if the model cannot be loaded.
            CapabilityError: if the engine is not there.
            KeyboardInterrupt: when asked to stop; the scan that ran goes on at the next start.
        """
        self.pool.model(None)
        (self.out / STATE).mkdir(exist_ok=True)
        for entry in self.queue.recover(self._facts_if_done, self.config.retry.retries()):
            if entry.progress.state is not State.DONE:
                count_failure(self.queue, "crash")
        for entry in self.queue.entries(State.FAILED):
            self._quarantine(entry)
        self.arrivals = Arrivals(self.folder, self.config.arrival, self.queue.knows)
        self._looks = 0
        self._ended.clear()
        looking = Thread(target=self._keep_looking, daemon=True, name="arrivals")
        looking.start()
        try:
            while not (once and self._is_all_done()):
                if not self.step():
                    time.sleep(_IDLE_SECONDS)
        finally:
            self._ended.set()
            looking.join(timeout=_LONGEST_LOOK_SECONDS)
            write_now(self.queue, {"stopped": True})

    def step(self) -> bool:
        """Do the next scan if there is one, and room for it; say whether there was."""
        self._write_metrics()
        if not self._has_room():
            return False
        entry = self.queue.take()
        if entry is None:
            write_now(self.queue, {})
            return False
        self._do(entry)
        return True

    def look(self) -> None:
        """Take in what has arrived."""
        with self._looking:
            self._look()

    def _look(self) -> None:
        try:
            for scan in self.arrivals.look(time.monotonic()):
                self.queue.add(str(scan.path), scan.content, name_for(self.folder, scan.path), scan.bytes)
            self.queue.set("waiting", json.dumps(self.arrivals.waiting))
            self._told.discard("folder")
        except sqlite3.ProgrammingError:  # the service has ended meanwhile
            return
        except (InputError, OSError) as error:
            self._tell("folder", f"{error} It is looked at again and again.")
        except Exception:  # the service goes on with what it has
            logger.exception("%s cannot be looked at, by a bug; it is tried again and again.", self.folder)
        self._looks += 1

    def _keep_looking(self) -> None:
        while not self._ended.is_set():
            self.look()
            self._ended.wait(self.config.arrival.poll_seconds)

    def _is_all_done(self) -> bool:
        with self._looking:
            counts = self.queue.counts()
            busy = counts[State.QUEUED] + counts[State.RUNNING]
            return self._looks > 0 and not busy and not self.arrivals.waiting

    def _do(self, entry: Entry) -> None:
        """Run a scan, and note how it ended, whatever happens."""
        self.on_event(SampleStarted(entry.name, 1, 1 + self.queue.counts()[State.QUEUED]))
        self._reason_file(entry).unlink(missing_ok=True)
        try:
            if fingerprint(Path(entry.path), marker_of(Path(entry.path), self.config.arrival)) != entry.content:
                self.queue.change(entry.id, states.replaced)
                return
            job = self._job(entry)
            listener = StatusWriter(self.queue, entry, self.on_event)
            if job.sample.model is None:
                self.pool.engine(self.pool.model(None))
            failure = None if job.is_done else attempt(job, self.pool, overwrite=False, on_event=listener)
        except InputError as error:
            failure = Failure("input", str(error))
        except InterruptedRun as error:
            if not self._has_room():  # the scan is not to blame
                self.queue.change(entry.id, states.stopped)
                return
            failure = Failure("interrupted", str(error))
        except BaseException:
            with suppress(states.NotAllowedError):
                self.queue.change(entry.id, states.stopped)
            raise
        self._note(entry, failure)

    def _note(self, entry: Entry, failure: Failure | None) -> None:
        if failure is None:
            discard_leftover(self.out / entry.name)
            facts = facts_of(self.out / entry.name) or {}
            self.queue.change(entry.id, states.done, facts)
            record = record_of(self.out / entry.name)
            if record is not None:
                add_totals(self.queue, record.to_json())
            return
        retries = self.config.retry.retries()
        changed = self.queue.change(entry.id, lambda was: states.failed(was, failure.reason, retries, time.time()))
        count_failure(self.queue, failure.kind)
        self.on_event(SampleFailed(entry.name, failure.reason))
        self._quarantine(changed)

    def _quarantine(self, entry: Entry) -> None:
        """Write the reason where people look; the scan stays where it is."""
        if entry.progress.state is not State.FAILED:
            return
        path = self._reason_file(entry)
        text = (
            f"{entry.path}\n\n{entry.progress.reason}\n\nTried {entry.progress.failures} times. The scan is where it "
            "was. Mend it and it is taken again by itself, or press Retry on the page.\n"
        )
        with suppress(OSError), atomic_write(path, overwrite=True) as unfinished:
            unfinished.write_text(text, encoding="utf-8")

    def _reason_file(self, entry: Entry) -> Path:
        return self.out / QUARANTINE / f"{entry.name}.txt"

    def _job(self, entry: Entry) -> Job:
        sample = Sample(name=entry.name, path=Path(entry.path))
        return job_for(sample, self.out, self.pool, self.config.scan.options())

    def _facts_if_done(self, entry: Entry) -> Mapping[str, Any] | None:
        try:
            if not self._job(entry).is_done:
                return None
        except InputError:
            return None
        discard_leftover(self.out / entry.name)
        return facts_of(self.out / entry.name)

    def _has_room(self) -> bool:
        """Whether the output is there, and its disk has the room that was asked for; told when not, once."""
        try:
            (self.out / STATE).stat()  # an empty folder where a share was is not the output
            free = self.free_bytes(self.out)
        except OSError as error:
            self._tell("disk", f"{self.out} cannot be looked at; it is waited for – {error.strerror or error}")
            return False
        if free >= self.config.free_gib * 2**30:
            self._told.discard("disk")
            return True
        text = (
            f"the disk of {self.out} has {free / 2**30:.1f} GiB left and {self.config.free_gib:g} are wanted "
            "(free_gib); no scan is begun until there is room."
        )
        write_now(self.queue, {"waits": text})
        self._tell("disk", text)
        return False

    def _tell(self, what: str, text: str) -> None:
        """Warn of something that lasts, once."""
        if what not in self._told:
            self._told.add(what)
            self.on_event(Warned(text))

    def _write_metrics(self) -> None:
        if self.config.metrics:
            with suppress(OSError):
                write_textfile(Path(self.config.metrics), self.queue, self.out)


def facts_of(folder: Path) -> dict[str, Any] | None:
    """Take from ``run.json`` what the page shows; None if there is none."""
    record = record_of(folder)
    if record is None:
        return None
    row = row_of(folder.name, record)
    return {
        "particles": row.particles,
        "d50_by_volume_mm": row.d50_by_volume_mm,
        "warnings": row.warnings,
        "seconds": row.seconds,
        "date": row.date,
    }


def name_for(folder: Path, scan: Path) -> str:
    """Name the output of a scan: by its place below the folder, so that equal names in two folders stay apart.

    >>> name_for(Path("in"), Path("in/monday/ore.tif"))
    'monday__ore'
    """
    above = scan.relative_to(folder).parent.parts if scan != folder else ()
    name = "__".join((*above, stem_of(scan)))
    return name if name_problem(name) is None else f"scan {''.join(c for c in name if c.isalnum())[:60]}"

"""The scans of a hot folder and their states, in SQLite: whatever is killed, the file is as after the last step."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Self

from ps3d_rt.errors import InputError, InterruptedRun
from ps3d_rt.watch import states
from ps3d_rt.watch.states import Progress, Retries, State

FILE = "queue.sqlite"
_VERSION = 1
_FAR_SECONDS = 24 * 3600.0
"""No scan waits longer for its next try: one that would, the clock was set back under."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS scans (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL,
    content TEXT NOT NULL,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    bytes INTEGER NOT NULL DEFAULT 0,
    priority INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL,
    failures INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    not_before REAL NOT NULL DEFAULT 0,
    reason TEXT,
    added REAL NOT NULL,
    changed REAL NOT NULL,
    facts TEXT NOT NULL DEFAULT '{}',
    UNIQUE (path, content)
);
CREATE INDEX IF NOT EXISTS by_state ON scans (state, priority DESC, id);
CREATE TABLE IF NOT EXISTS history (at REAL NOT NULL, scan INTEGER NOT NULL, state TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS settings (key TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_COLUMNS = "id, path, content, name, bytes, priority, state, failures, crashes, not_before, reason, changed, facts"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A scan in the queue."""

    id: int
    path: str
    content: str
    """Fingerprint of its files when it was taken."""
    name: str
    """Of its folder below OUT."""
    bytes: int
    priority: int
    """The highest is done first; those of one priority in the order of their arrival."""
    progress: Progress
    changed: float
    """Seconds since 1970."""
    facts: Mapping[str, Any]
    """What the page shows of one that is done."""


class Queue:
    """One connection, for any number of threads; other processes may have theirs."""

    def __init__(self, folder: Path) -> None:
        """Open the queue that lies in a folder, or make it.

        Raises:
            InputError: if the file is none of ours, or lies where SQLite cannot work.
        """
        self._path = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(folder / FILE, timeout=30, isolation_level=None, check_same_thread=False)
            self._lock = Lock()
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            found = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if found not in (0, _VERSION):
                raise InputError(f"{folder / FILE} is of version {found} and this ps3d-rt has {_VERSION}; update it.")
            self._connection.executescript(_SCHEMA + f"PRAGMA user_version = {_VERSION};")
        except (sqlite3.Error, OSError) as error:
            raise InputError(
                f"{folder / FILE} cannot be used as a queue; put it on a local disk (state in watch.toml) – {error}"
            ) from error

    def close(self) -> None:
        """Close the file, when no step is in work."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _step(self) -> Iterator[sqlite3.Connection]:
        """Do all of a block or nothing, alone among all threads and processes."""
        with self._lock, self._system_errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _read(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock, self._system_errors():
            return self._connection.execute(sql, values).fetchall()

    @contextmanager
    def _system_errors(self) -> Iterator[None]:
        """Say what SQLite meets on the disk: it is full, gone, or locked by another program."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise InterruptedRun(
                f"{self._path} cannot be used; look after its disk, then start the same command again – {error}"
            ) from error

    def add(self, path: str, content: str, name: str, size_bytes: int = 0) -> bool:
        """Take a scan in unless the same content of it is known; say whether it was new.

        A name that is taken gets a number.
        """
        now = time.time()
        with self._step() as step:
            if step.execute("SELECT 1 FROM scans WHERE path = ? AND content = ?", (path, content)).fetchone():
                return False
            # What waits under this path was overwritten since: only the new content is there to be segmented.
            step.execute(
                "UPDATE scans SET state = ?, reason = ?, changed = ? WHERE path = ? AND state = ?",
                (State.REMOVED, "another scan has its place", now, path, State.QUEUED),
            )
            free, number = name, 1
            while step.execute("SELECT 1 FROM scans WHERE name = ?", (free,)).fetchone():
                number += 1
                free = f"{name}-{number}"
            cursor = step.execute(
                "INSERT INTO scans (path, content, name, bytes, state, added, changed) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (path, content, free, size_bytes, State.QUEUED, now, now),
            )
            step.execute("INSERT INTO history VALUES (?, ?, ?)", (now, cursor.lastrowid, State.QUEUED))
        return True

    def knows(self, path: str, content: str) -> bool:
        """Whether this content of a path was taken in before."""
        return bool(self._read("SELECT 1 FROM scans WHERE path = ? AND content = ?", path, content))

    def take(self) -> Entry | None:
        """Begin the next scan whose time has come; None if there is none, or the queue is paused."""
        now = time.time()
        with self._step() as step:
            if self._setting(step, "paused") == "1":
                return None
            row = step.execute(
                f"SELECT {_COLUMNS} FROM scans WHERE state = ? AND (not_before <= ? OR not_before > ?) "
                "ORDER BY priority DESC, id LIMIT 1",
                (State.QUEUED, now, now + _FAR_SECONDS),
            ).fetchone()
            if row is None:
                return None
            entry = _entry(row)
            self._write(step, entry.id, states.started(entry.progress))
        return self.get(entry.id)

    def change(
        self, scan: int, step_of: Callable[[Progress], Progress], facts: Mapping[str, Any] | None = None
    ) -> Entry:
        """Move a scan on by a function of :mod:`ps3d_rt.watch.states`.

        Raises:
            NotAllowedError: if its state does not allow the step.
            LookupError: if there is no such scan.
        """
        with self._step() as step:
            row = step.execute(f"SELECT {_COLUMNS} FROM scans WHERE id = ?", (scan,)).fetchone()
            if row is None:
                raise LookupError(scan)
            self._write(step, scan, step_of(_entry(row).progress))
            if facts is not None:
                step.execute("UPDATE scans SET facts = ? WHERE id = ?", (json.dumps(facts), scan))
        return self.get(scan)

    def recover(self, is_done: Callable[[Entry], Mapping[str, Any] | None], retries: Retries) -> list[Entry]:
        """Settle what ran when the process ended: done if its output is whole, else once more.

        Args:
            is_done: gives the facts of an output that is whole, else None.
            retries: how often a scan may end the process.
        """
        settled = []
        for entry in self.entries(State.RUNNING):
            facts = is_done(entry)
            if facts is None:
                settled.append(self.change(entry.id, lambda was: states.crashed(was, retries)))
            else:
                settled.append(self.change(entry.id, states.done, facts))
        return settled

    def get(self, scan: int) -> Entry:
        """Give one scan.

        Raises:
            LookupError: if there is none.
        """
        rows = self._read(f"SELECT {_COLUMNS} FROM scans WHERE id = ?", scan)
        if not rows:
            raise LookupError(scan)
        return _entry(rows[0])

    def named(self, name: str) -> Entry | None:
        """Find the scan whose output has a name."""
        rows = self._read(f"SELECT {_COLUMNS} FROM scans WHERE name = ?", name)
        return _entry(rows[0]) if rows else None

    def entries(self, state: State, most: int = 1_000_000) -> list[Entry]:
        """List the scans of a state: those that wait in their order, all others by the last change, newest first."""
        order = "priority DESC, id" if state is State.QUEUED else "changed DESC, id DESC"
        rows = self._read(f"SELECT {_COLUMNS} FROM scans WHERE state = ? ORDER BY {order} LIMIT ?", state, most)
        return [_entry(row) for row in rows]

    def counts(self) -> dict[State, int]:
        """Count the scans of every state."""
        found = dict(self._read("SELECT state, COUNT(*) FROM scans GROUP BY state"))
        return {state: int(found.get(state, 0)) for state in State}

    def set_priority(self, scan: int, priority: int) -> Entry:
        """Move a scan up or down.

        Raises:
            LookupError: if there is none.
        """
        with self._step() as step:
            step.execute("UPDATE scans SET priority = ? WHERE id = ?", (priority, scan))
        return self.get(scan)

    def set(self, key: str, value: str) -> None:
        """Keep a setting, such as ``paused``, or what is told of the run, such as ``now``."""
        with self._step() as step:
            step.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (key, value))

    def setting(self, key: str) -> str | None:
        """Read a setting; None if it was never set."""
        rows = self._read("SELECT value FROM settings WHERE key = ?", key)
        return str(rows[0][0]) if rows else None

    def times_done(self) -> dict[str, int]:
        """Count how often each output was brought to its end."""
        return dict(
            self._read(
                "SELECT name, COUNT(*) FROM history JOIN scans ON scan = id WHERE history.state = ? GROUP BY name",
                State.DONE,
            )
        )

    def last_steps(self, most: int) -> list[tuple[float, int, str]]:
        """List the last changes of state: seconds since 1970, number of the scan, its new state."""
        rows = self._read("SELECT at, scan, state FROM history ORDER BY rowid DESC LIMIT ?", most)
        return [(at, scan, state) for at, scan, state in reversed(rows)]

    def _setting(self, step: sqlite3.Connection, key: str) -> str | None:
        row = step.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def _write(self, step: sqlite3.Connection, scan: int, new: Progress) -> None:
        now = time.time()
        step.execute(
            "UPDATE scans SET state = ?, failures = ?, crashes = ?, not_before = ?, reason = ?, changed = ? "
            "WHERE id = ?",
            (new.state, new.failures, new.crashes, new.not_before, new.reason, now, scan),
        )
        step.execute("INSERT INTO history VALUES (?, ?, ?)", (now, scan, new.state))


def _entry(row: tuple[Any, ...]) -> Entry:
    scan, path, content, name, size, priority, state, failures, crashes, not_before, reason, changed, facts = row
    progress = Progress(state=State(state), failures=failures, crashes=crashes, not_before=not_before, reason=reason)
    return Entry(
        id=scan,
        path=path,
        content=content,
        name=name,
        bytes=size,
        priority=priority,
        progress=progress,
        changed=changed,
        facts=json.loads(facts),
    )

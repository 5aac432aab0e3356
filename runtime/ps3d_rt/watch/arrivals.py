"""When a scan is complete: nothing of it has changed for a while, what must be there is, and its header agrees.

The folder is looked at again and again, because shares of a network tell nobody what is new on them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ps3d_rt.batch.request import fingerprint
from ps3d_rt.batch.scans_in import is_scan, scans_in
from ps3d_rt.errors import CapabilityError, InputError
from ps3d_rt.io.names import as_text, check_name, stem_of
from ps3d_rt.io.open import open_volume
from ps3d_rt.watch.config import Arrival

_IMAGES = (".tif", ".tiff", ".png", ".bmp", ".jp2", ".jpg", ".jpeg", ".dcm", ".ima")


@dataclass(frozen=True)
class Arrived:
    """A scan that is complete."""

    path: Path
    content: str
    """Its fingerprint."""
    bytes: int


@dataclass
class Arrivals:
    """What was seen in the folder so far. After a restart the wait begins again: no clock is trusted but this one."""

    folder: Path
    rules: Arrival
    is_known: Callable[[str, str], bool]
    """Whether a path with a fingerprint was taken before."""
    _seen: dict[Path, tuple[str, float]] = field(default_factory=dict)
    """Fingerprint, and when it was first seen."""
    waiting: dict[str, str] = field(default_factory=dict)
    """Scans that are not complete yet → why."""

    def look(self, now: float) -> list[Arrived]:
        """Look at the folder once.

        Args:
            now: seconds of a clock that never goes back.

        Raises:
            InputError: if the folder cannot be listed.
        """
        found = [self.folder] if is_scan(self.folder) else scans_in(self.folder)
        self._seen = {path: seen for path, seen in self._seen.items() if path in set(found)}
        self.waiting = {}
        arrived = []
        for path in found:
            try:
                scan = self._arrived(path, now)
            except (InputError, OSError, UnicodeError) as error:  # what is amiss with one holds no other back
                self.waiting[as_text(path)] = str(error)
            else:
                arrived += [] if scan is None else [scan]
        return arrived

    def _arrived(self, path: Path, now: float) -> Arrived | None:
        """Give a scan if it is complete and new; None if not, and note what it waits for."""
        check_name(path)
        content = fingerprint(path, marker_of(path, self.rules))
        if self.is_known(str(path), content):
            return None
        why = self._why_not(path, content, now)
        if why is not None:
            self.waiting[str(path)] = why
            return None
        return Arrived(path, content, size_of(path))

    def _why_not(self, path: Path, content: str, now: float) -> str | None:
        """Say what a scan still lacks; None if nothing."""
        before, since = self._seen.get(path, ("", now))
        if before != content:
            self._seen[path], since = (content, now), now
        if now - since < self.rules.stable_seconds:
            return "it is being written, or was until now"
        lacking = missing(path, self.rules)
        if lacking is None and now - since < self.rules.stable_seconds + self.rules.header_seconds:
            lacking = header_problem(path)
        return lacking


def marker_of(path: Path, rules: Arrival) -> str:
    """Give the name of a scan's marker; empty if it needs none."""
    return rules.marker.replace("{name}", stem_of(path))


def missing(path: Path, rules: Arrival) -> str | None:
    """Say which marker or how many slices a scan lacks; None if nothing."""
    if rules.marker:
        name = marker_of(path, rules)
        places = [path / name, path.parent / name] if path.is_dir() else [path.parent / name]
        if not any(place.exists() for place in places):
            return f"its marker {name} is not there"
    if rules.slices and path.is_dir() and path.suffix != ".zarr":
        count = sum(entry.suffix.lower() in _IMAGES for entry in path.iterdir())
        if count < rules.slices:
            return f"it has {count} of {rules.slices} slices"
    return None


def header_problem(path: Path) -> str | None:
    """Say why a scan cannot be opened, as when a file is shorter than its header says; None if all agrees."""
    try:
        with open_volume(path):
            return None
    except CapabilityError:
        return None
    except InputError as error:
        return str(error)
    except OSError as error:
        return f"it cannot be read yet – {error.strerror or error}"


def size_of(path: Path) -> int:
    """Sum up the bytes of a scan's files."""
    if not path.is_dir():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())

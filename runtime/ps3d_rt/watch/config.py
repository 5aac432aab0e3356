"""``watch.toml``, read and checked before anything starts."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec

from ps3d_rt.errors import InputError
from ps3d_rt.io.phases import phases_asked
from ps3d_rt.io.read_errors import parse_errors
from ps3d_rt.predict_options import PredictOptions
from ps3d_rt.watch.states import Retries


class Arrival(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a scan is complete."""

    poll_seconds: float = 10.0
    """Between two looks at the folder."""
    stable_seconds: float = 30.0
    """For so long no file of a scan may have changed."""
    header_seconds: float = 300.0
    """For so long, after that, one that cannot be opened is held back: perhaps more of it comes. Then it fails."""
    marker: str = ""
    """A scan counts only when this file is there: ``done.txt`` inside its folder, or ``{name}.done`` beside it."""
    slices: int = 0
    """A folder of slices counts only with so many image files; 0: any number."""


class Scan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for every scan; the names are those of the options of ``predict``."""

    spacing: float | tuple[float, float, float] | None = None
    particle_size: float | Literal["auto"] = "auto"
    model: str = "default"
    engine: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    dark: bool = False
    embedding: float | None = None
    memory_gib: float | None = None
    gpu_memory_gib: float = 12.0
    threads: int | None = None
    workers: int = 1
    phases: str = ""
    """Minerals to find: a file of phases, or auto:N; empty: none."""

    def options(self) -> PredictOptions:
        """Give them as those of a run.

        Raises:
            InputError: if the phases cannot be read.
        """
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        return PredictOptions(**values | {"phases": phases_asked(self.phases) if self.phases else None})


class Tries(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens after a failure."""

    tries: int = 3
    crashes: int = 5
    backoff_seconds: float = 60.0
    longest_seconds: float = 3600.0

    def retries(self) -> Retries:
        """Give them as the state machine takes them."""
        return Retries(**{name: getattr(self, name) for name in self.__struct_fields__})


class Log(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The log in OUT/.watch/watch.log."""

    mib: float = 10.0
    """Size at which a new file is begun."""
    keep: int = 5
    """Older files that are kept."""


class WatchConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of ``watch.toml``."""

    scan: Scan = Scan()
    arrival: Arrival = Arrival()
    retry: Tries = Tries()
    log: Log = Log()
    free_gib: float = 5.0
    """With less room on the disk of OUT no scan is begun."""
    state: str = ""
    """Folder for the queue; empty: OUT/.watch. It must be on a local disk, OUT need not be."""
    metrics: str = ""
    """File for Prometheus' textfile collector; empty: none."""


def read_config(path: Path | None) -> WatchConfig:
    """Read the file; None: the defaults.

    Raises:
        InputError: naming the key that cannot be used.
    """
    if path is None:
        return WatchConfig()
    try:
        with parse_errors(path, "TOML in UTF-8", "correct it; docs/production.md says what it holds"):
            content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file; see docs/production.md for what it holds.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read; look after it – {error.strerror or error}") from error
    return parse_config(content, str(path))


def parse_config(content: dict[str, Any], source: str) -> WatchConfig:
    """Check what a file says.

    Raises:
        InputError: as :func:`read_config`.
    """
    try:
        config = msgspec.convert(content, WatchConfig)
    except msgspec.ValidationError as error:
        raise InputError(f"{source}: a key has a value that it cannot have, or is none; mend it – {error}") from error
    for key, value, least in (
        ("arrival.poll_seconds", config.arrival.poll_seconds, 0.05),
        ("arrival.stable_seconds", config.arrival.stable_seconds, 0),
        ("arrival.header_seconds", config.arrival.header_seconds, 0),
        ("arrival.slices", config.arrival.slices, 0),
        ("retry.tries", config.retry.tries, 1),
        ("retry.crashes", config.retry.crashes, 1),
        ("retry.backoff_seconds", config.retry.backoff_seconds, 0),
        ("retry.longest_seconds", config.retry.longest_seconds, 0),
        ("log.mib", config.log.mib, 0.01),
        ("log.keep", config.log.keep, 1),
        ("free_gib", config.free_gib, 0),
    ):
        if not value >= least or value == float("inf"):
            raise InputError(f"{source}: {key} is {value}; give a number of at least {least}.")
    for key, path in (("state", config.state), ("metrics", config.metrics)):
        if path and not path.isprintable():
            raise InputError(f"{source}: {key} is {path!r}, which is no path; give one.")
    if "/" in config.arrival.marker or "\\" in config.arrival.marker:
        raise InputError(f"{source}: arrival.marker is {config.arrival.marker!r}; give the name of a file alone.")
    return config

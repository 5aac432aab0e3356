"""The content of ``run.json``; it is written and read here only.

A file of an older version lacks fields, and one of a newer version, or one that a person added to, has more. Both are
read: what is missing is None or empty, what has an older name is found under it, and what is not known is kept in
``other`` and written again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from ps3d_rt.errors import InputError
from ps3d_rt.io.json_text import read_json

Section = TypeVar("Section")

Facts = Mapping[str, Any]
"""Values that JSON holds, by name."""


@dataclass(frozen=True, kw_only=True)
class ScanRecord:
    """Which scan was segmented."""

    name: str
    source: str
    """Its path, or what it was called."""
    shape: Sequence[int]
    """Voxels, z, y, x."""
    dtype: str
    spacing_mm: Sequence[float]
    """Side lengths of a voxel, z, y, x."""
    selection: Facts | None = None
    """Box and mask outside of which nothing counts; None: all counts."""
    other: Facts = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """Which model was run."""

    name: str | None = None
    sha256: str | None = None
    other: Facts = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PatchRecord:
    """What became of the patches."""

    lattice: int | None = None
    """Of the volume."""
    planned: int | None = None
    """Those, and the ones on seams between sweeps once more."""
    computed: int | None = None
    skipped: int | None = None
    """For want of contrast."""
    other: Facts = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SizeRecord:
    """How the particle size came about, and whether it fits the particles found."""

    how: str | None = None
    """``given`` or ``estimated``."""
    mean_found_mm: float | None = None
    mismatch: bool = False
    trials: Sequence[Facts] = ()
    """Sizes that were tried, in their order."""
    other: Facts = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """The content of ``run.json``."""

    schema_version: int = 2
    """2: ``particle_size.trials`` and ``gray.warnings``, which were ``looks`` and ``doubts``."""
    date: str | None = None
    """When the run began, ISO 8601."""
    request: str | None = None
    """Hash of what a batch or a watched folder asked for: an output with the same one need not be made again."""
    scan: ScanRecord
    engine: Facts | None = None
    """Fields of :class:`ps3d_rt.engines.base.EngineSpec`."""
    model: ModelRecord | None = None
    gray: Facts | None = None
    """What the gray values told."""
    parameters: Facts | None = None
    patches: PatchRecord | None = None
    seconds: Mapping[str, float] | None = None
    """By stage, in their order."""
    engine_seconds: float | None = None
    versions: Mapping[str, str] | None = None
    particle_size: SizeRecord | None = None
    size_distribution: Facts | None = None
    particles: int | None = None
    minerals: Facts | None = None
    """Phases that were proposed, or found with the composition of the sample; and the warnings that came of it."""
    dropped: Facts | None = None
    """Counts of what was found and is not in the labels."""
    likeness: Facts | None = None
    """How the scan compares with what the model was trained on; None: the model does not say."""
    warnings: Sequence[str] | None = None
    resumed: bool | None = None
    """The run went on with the work of one that was stopped; None: it could not."""
    other: Facts = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Give the content as plain values, in the order of the fields."""
        values = {
            name: _plain(value) if name in _SECTIONS else value
            for name, value in vars(self).items()
            if name != "other" and value is not None
        }
        return values | dict(self.other)

    def write(self, path: Path) -> None:
        """Write the file.

        Raises:
            OSError: if the disk is full or the file cannot be written.
        """
        text = json.dumps(self.to_json(), indent=2, allow_nan=False)
        path.write_text(text + "\n", encoding="utf-8", newline="\n")


def read_record(path: Path) -> RunRecord:
    """Read ``run.json``, which others may have changed.

    Raises:
        InputError: if it is damaged.
    """
    try:
        content = read_json(path)
    except ValueError as error:  # no text, or no JSON
        raise _damaged(path, _NO_SCAN) from error
    scan = content.get("scan") if isinstance(content, dict) else None
    if not isinstance(scan, dict) or _SCAN_FIELDS - scan.keys():
        raise _damaged(path, _NO_SCAN)
    _check_kinds(content, path)
    for section, names in _OLD_NAMES.items():
        if isinstance(found := content.get(section), dict):
            content[section] = {names.get(name, name): value for name, value in found.items()}
    content["schema_version"] = RunRecord.schema_version
    return _known(
        RunRecord, content | {name: _known(_SECTIONS[name], content[name]) for name in _SECTIONS if name in content}
    )


_SECTIONS: dict[str, type[Any]] = {
    "scan": ScanRecord,
    "model": ModelRecord,
    "patches": PatchRecord,
    "particle_size": SizeRecord,
}


_FACTS = frozenset({"engine", "gray", "parameters", "seconds", "versions", "size_distribution", "dropped", "minerals"})
"""Fields that are an object, or nothing."""
_SIDES = ("shape", "spacing_mm")
_OLD_NAMES = {"particle_size": {"looks": "trials"}, "gray": {"doubts": "warnings"}}
_NO_SCAN = "it does not say which scan was segmented"
_SCAN_FIELDS = {f.name for f in fields(ScanRecord) if f.default is MISSING and f.default_factory is MISSING}


def _check_kinds(content: Facts, path: Path) -> None:
    """Refuse a record in which another kind of value stands where all who read it take one for granted."""
    for name in sorted((_SECTIONS.keys() | _FACTS) & content.keys()):
        if not isinstance(content[name], dict) and (content[name] is not None or name in _SECTIONS):
            raise _damaged(path, f"{name} is {_shown(content[name])} where an object is needed")
    for name in _SIDES:
        sides = content["scan"][name]
        if not (isinstance(sides, list) and len(sides) == 3 and all(map(_is_number, sides))):
            raise _damaged(path, f"scan.{name} is {_shown(sides)} where three numbers are needed")
    if not isinstance(content.get("warnings") or [], list):
        raise _damaged(path, f"warnings is {_shown(content['warnings'])} where a list is needed")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    return repr(value)[:80]


def _damaged(path: Path, what: str) -> InputError:
    return InputError(f"{path} is damaged: {what}; run predict again.")


def _known(kind: type[Section], content: dict[str, Any]) -> Section:
    """Make a record of what its fields name, and keep the rest."""
    names = {f.name for f in fields(kind)} - {"other"}  # type: ignore[arg-type]
    rest = {name: value for name, value in content.items() if name not in names}
    make: Callable[..., Section] = kind
    return make(**{name: content[name] for name in names & content.keys()}, other=rest)


def _plain(section: Any) -> dict[str, Any]:
    values = dict(vars(section))
    return values | dict(values.pop("other"))

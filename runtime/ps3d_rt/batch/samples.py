"""What a batch is asked for: which scans, and what differs between them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ps3d_rt.core.minerals.phases import PhasesAsked
from ps3d_rt.errors import InputError

Length = float | Literal["auto"]
RESERVED = frozenset({"summary.csv", "summary.json", "summary.html", "quarantine"})
"""Names below OUT that are not those of samples."""
_ON_WINDOWS = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
_LONGEST_NAME = 120


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One scan of a batch; what is None is what the command says."""

    name: str
    """Its folder below OUT."""
    path: Path | None = None
    """The scan; None if a problem hides it."""
    spacing_mm: Sequence[float] | None = None
    """One number, or z, y, x."""
    particle_size: Length | None = None
    model: str | None = None
    phases: PhasesAsked | None = None
    problem: str | None = None
    """Why it cannot be run, with the cure."""


@dataclass(frozen=True)
class Part:
    """The share of a batch that one job of an array does."""

    number: int = 1
    of: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise InputError(f"--part is {self.number}/{self.of}; give i/n with i from 1 to n, such as 2/8.")

    @classmethod
    def parse(cls, text: str) -> Part:
        """Read ``i/n``.

        Raises:
            InputError: if it is none.

        >>> Part.parse("2/8")
        Part(number=2, of=8)
        """
        found = re.fullmatch(r"\s*(\d{1,6})\s*/\s*(\d{1,6})\s*", text)
        if found is None:
            raise InputError(f"--part is {text!r}; give i/n with i from 1 to n, such as 2/8.")
        return cls(int(found[1]), int(found[2]))

    def take(self, samples: Sequence[Sample]) -> list[Sample]:
        """Take every n-th sample: large ones often follow each other.

        >>> [sample.name for sample in Part(2, 2).take([Sample(name=n) for n in "abcde"])]
        ['b', 'd']
        """
        return list(samples[self.number - 1 :: self.of])


def name_problem(name: str) -> str | None:
    """Say why a name cannot be that of a folder, on any system; None if it can.

    >>> name_problem("ore 3"), name_problem("../ore") is None
    (None, False)
    """
    if (
        not name
        or name != name.strip(" .")
        or len(name) > _LONGEST_NAME
        or _FORBIDDEN.search(name)
        or any("\ud800" <= sign <= "\udfff" for sign in name)  # bytes that are no text
        or _ON_WINDOWS.fullmatch(name)
        or name.lower() in RESERVED
    ):
        return (
            f"its name {name[:_LONGEST_NAME]!r} cannot be that of a folder; choose one of letters, digits, '-', '_' "
            f"and spaces, at most {_LONGEST_NAME} long."
        )
    return None


def checked(samples: Iterable[Sample]) -> list[Sample]:
    """Note a problem with every sample whose name cannot be used, or is that of one before it.

    Names that differ in upper and lower case only are one folder on some systems.
    """
    seen: dict[str, int] = {}
    found = []
    for number, sample in enumerate(samples, start=1):
        problem = name_problem(sample.name)
        if problem is None and (first := seen.setdefault(sample.name.casefold(), number)) != number:
            problem = f"its name is that of sample {first} too; give each sample a name of its own in samples.csv."
        found.append(sample if problem is None else replace(sample, path=None, problem=sample.problem or problem))
    return _with_folders(found)


def _with_folders(samples: Sequence[Sample]) -> list[Sample]:
    """Give those whose names cannot be folders others, by which the summary tells them apart."""
    taken = {sample.name.casefold() for sample in samples if sample.problem is None}
    found = []
    for number, sample in enumerate(samples, start=1):
        name = sample.name
        if sample.problem is not None and (name_problem(name) is not None or name.casefold() in taken):
            plain = re.sub(r"[^\w -]", "_", name).strip(" .")[:60] or "sample"
            name = f"{plain} (sample {number})"
        taken.add(name.casefold())
        found.append(replace(sample, name=name))
    return found


def by_model(samples: Iterable[Sample]) -> list[Sample]:
    """Put those of one model together, each model where it comes first: it is loaded once.

    >>> [s.name for s in by_model([Sample(name=n, model=m) for n, m in zip("abc", ("x", "y", "x"))])]
    ['a', 'c', 'b']
    """
    groups: dict[str | None, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.model, []).append(sample)
    return [sample for group in groups.values() for sample in group]

"""Which file is which slice, from the names alone. Pure: names in, order out.

A folder is a volume if its names differ in one number and those numbers go up in even steps:

1. split every name into text and numbers; names with the same text are one family, a folder must hold one;
2. a number is the slice's if it differs from name to name and leaves no gap;
3. a minus sign or a decimal mark belongs to a number only if the names make no sense otherwise, and then it is said.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ps3d_rt.errors import InputError

_MOST_NAMED = 3
"""Files or gaps that one message lists."""

# A sign counts after a separator or at the start: "z_-5"; the "-" of "rec-0005" is no sign. (?<!...) looks back only.
_SIGN = r"(?:(?<![0-9A-Za-z])[-+−])?"
_ANY_SIGN = r"[-+−]?"
_INTEGER, _DECIMAL = r"[0-9]+", r"[0-9]+(?:[.,][0-9]+)?"
_SPELLINGS = tuple(re.compile(f"({sign}{number})") for sign in (_SIGN, _ANY_SIGN) for number in (_DECIMAL, _INTEGER))
"""Ways to read numbers in a name. Decimals first: 0.25, 0.50, 0.75, 1.00 would have 25, 50, 75, 00 without gaps."""


@dataclass(frozen=True, slots=True)
class SliceOrder:
    """The files of a volume from first to last.

    Attributes:
        names: as given, in order.
        prefix: what stands in front of the number.
        remarks: sentences that a person should read.
    """

    names: tuple[str, ...]
    prefix: str
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Column:
    """One number of every name, as integers: decimals are counted in units of their last digit."""

    texts: tuple[str, ...]
    values: tuple[int, ...]
    prefix: str
    decimals: int

    @property
    def order(self) -> tuple[int, ...]:
        return tuple(sorted(range(len(self.values)), key=lambda index: self.values[index]))

    @property
    def differs(self) -> bool:
        return len(set(self.values)) == len(self.values)

    @property
    def is_even(self) -> bool:
        """Whether the numbers go up in even steps; decimals may be rounded, if a step is much more than that."""
        values = sorted(self.values)
        span, count = values[-1] - values[0], len(values) - 1
        slack = count if self.decimals and span >= 10 * count else 0
        return all(abs((value - values[0]) * count - index * span) <= slack for index, value in enumerate(values))

    @property
    def step(self) -> int:
        values = sorted(self.values)
        return Counter(b - a for a, b in pairwise(values)).most_common(1)[0][0]


def order_slices(names: Sequence[str], source: str) -> SliceOrder:
    """Put the files of one volume in order.

    Args:
        names: file names with their endings, each once.
        source: the folder, for messages.

    Raises:
        InputError: if the names are not those of one whole volume.

    >>> order_slices(["s10.tif", "s9.tif", "S8.tif"], "scan").names
    ('S8.tif', 's9.tif', 's10.tif')
    """
    names = sorted(names, key=lambda name: (name.casefold(), name))  # so that messages are the same on every system
    if len(names) < 2:
        raise InputError(
            f"{source}: holds one slice, {names[0]}; a volume has at least two: give the file itself if it is all."
        )
    readings = [columns for spelling in _SPELLINGS if (columns := _columns(names, spelling))]
    if not readings:
        raise InputError(f"{source}: {_several_families(names)}")
    for columns in readings:
        if even := [column for column in columns if column.differs and column.is_even]:
            _check_agree(even, names, source)
            return _ordered(_plainest(even[-1], readings), columns, names)
    apart = [column for columns in readings for column in columns if column.differs]
    if apart:
        raise InputError(f"{source}: {_gaps(min(apart, key=lambda column: len(_missing(column))), names)}")
    raise InputError(f"{source}: {_twice(readings[-1], names)}")


def written_apart(names: Sequence[str], seconds: Sequence[float], *, longest_pause: float = 3600) -> str | None:
    """Warn if the files were not written in one go: a later, shorter reconstruction leaves slices of an earlier one.

    Args:
        names: of the files.
        seconds: when each was written last.
        longest_pause: between two files of one reconstruction, seconds.

    >>> written_apart(["a1.tif", "a2.tif", "a3.tif"], [0, 9, 90000])
    'a3.tif was written 25 hours after the other 2 slices: if it belongs to another reconstruction, remove it.'
    """
    by_time = sorted(range(len(names)), key=lambda index: seconds[index])
    pauses = [(seconds[b] - seconds[a], at) for at, (a, b) in enumerate(pairwise(by_time), 1)]
    pause, at = max(pauses, default=(0.0, 0))
    if pause <= longest_pause:
        return None
    late = len(by_time) - at <= at
    odd = sorted(by_time[at:] if late else by_time[:at])
    few = len(odd) == 1
    who = names[odd[0]] if few else f"{names[odd[0]]} to {names[odd[-1]]} ({len(odd)} slices)"
    rest = len(names) - len(odd)
    return (
        f"{who} {'was' if few else 'were'} written {pause / 3600:.0f} hours {'after' if late else 'before'} the other "
        f"{rest} slice{'s' * (rest > 1)}: if {'it belongs' if few else 'they belong'} to another reconstruction, "
        f"remove {'it' if few else 'them'}."
    )


def _columns(names: Sequence[str], spelling: re.Pattern[str]) -> list[_Column]:
    """Read the numbers that differ between the names; none if the names are of several families."""
    parts = [spelling.split(_stem(name)) for name in names]
    if len({tuple(text.casefold() for text in part[::2]) for part in parts}) != 1:
        return []
    columns = []
    for at in range(1, len(parts[0]), 2):
        texts = tuple(part[at] for part in parts)
        decimals = max(len(text.replace(",", ".").partition(".")[2]) for text in texts)
        column = _Column(texts, tuple(_scaled(text, decimals) for text in texts), "".join(parts[0][:at]), decimals)
        if len(set(column.values)) > 1:
            columns.append(column)
    return columns


def _scaled(text: str, decimals: int) -> int:
    whole, _, part = text.replace("−", "-").replace(",", ".").partition(".")
    return int(whole + part.ljust(decimals, "0"))


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


def _plainest(column: _Column, readings: Iterable[list[_Column]]) -> _Column:
    """Prefer whole numbers without a sign if they give the same order: nothing is to be said then."""
    same = [
        other
        for columns in readings
        for other in columns
        if other.differs and other.is_even and other.order == column.order
    ]
    return min([column, *same[::-1]], key=lambda other: (other.decimals > 0, min(other.values) < 0))


def _check_agree(even: Sequence[_Column], names: Sequence[str], source: str) -> None:
    if len({column.order for column in even}) > 1:
        raise InputError(
            f"{source}: the names hold {len(even)} numbers that put the slices in different orders, such as "
            f"{names[0]}; rename the slices so that one number says the order."
        )


def _ordered(column: _Column, columns: Iterable[_Column], names: Sequence[str]) -> SliceOrder:
    order, remarks = column.order, []
    first, last = (column.texts[index] for index in (order[0], order[-1]))
    if column.decimals or min(column.values) < 0:
        remarks.append(
            f"the slices are put in the order of the numbers {first} to {last} in their names; "
            "if that is not their order, rename them."
        )
    elif column.step != 1:
        remarks.append(
            f"the numbers in the names of the slices go up in steps of {column.step}; if slices were left out, the "
            "spacing along z is that of the slices that are there: check it."
        )
    if not all(_rises(other, order) for other in columns if not column.differs or other.texts != column.texts):
        remarks.append(
            f"the names hold a second number that does not rise with the slices, such as {names[order[0]]}; "
            "check that they are one scan."
        )
    return SliceOrder(tuple(names[index] for index in order), column.prefix, tuple(remarks))


def _rises(column: _Column, order: Sequence[int]) -> bool:
    values = [column.values[index] for index in order]
    return values in (sorted(values), sorted(values, reverse=True))


def _missing(column: _Column) -> list[tuple[int, int, int]]:
    """Give the indices of the names around every gap, and how many slices are missing there."""
    order, step = column.order, column.step
    pairs = ((a, b, column.values[b] - column.values[a]) for a, b in pairwise(order))
    return [(a, b, max(1, round(gap / step) - 1)) for a, b, gap in pairs if gap != step]


def _gaps(column: _Column, names: Sequence[str]) -> str:
    gaps = _missing(column)
    said = [f"{names[a]} is followed by {names[b]} ({count} missing)" for a, b, count in gaps[:_MOST_NAMED]]
    more = f", and {len(gaps) - _MOST_NAMED} more gaps" if len(gaps) > _MOST_NAMED else ""
    return (
        f"the numbers of the {len(names)} slices have gaps: {', '.join(said)}{more}. A volume has every slice: "
        "copy the missing ones, or move the slices of one side of the gap elsewhere; if nothing is missing, number "
        "them again."
    )


def _twice(columns: Sequence[_Column], names: Sequence[str]) -> str:
    """Say why no number differs from name to name."""
    groups: dict[int, list[str]] = defaultdict(list)
    for index, name in enumerate(names):
        groups[min(columns, key=lambda column: len(set(column.values))).values[index] if columns else 0].append(name)
    if len(columns) > 1:
        return _several(list(groups.values()), "several scans")
    same = next(group for group in groups.values() if len(group) > 1)
    return f"{_listed(same)} have the same number; every slice may occur once: remove or rename one."


def _several_families(names: Sequence[str]) -> str:
    """Say what the folder holds: copies, files without a number, or several scans."""
    families: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name in names:
        families[tuple(re.split("[0-9]+", _stem(name).casefold()))].append(name)
    found = sorted(families.values(), key=len, reverse=True)
    copies = list(_copies(names))
    if copies and len(copies) == len(names) - len(found[0]):
        looks = "looks" if len(copies) == 1 else "look"
        return f"{_listed(copies)} {looks} like a copy or a variant of another slice: remove what is not a slice."
    bare = [name for name in names if not re.search("[0-9]", _stem(name))]
    if bare:
        return (
            f"{len(bare)} of {len(names)} files {'has' if len(bare) == 1 else 'have'} no number in the name "
            f"({_listed(bare)}), so the order is not known: move the files that are not slices "
            "elsewhere, or rename the slices, such as scan_0001."
        )
    return _several(found, "names of several kinds")


def _several(groups: Sequence[Sequence[str]], what: str) -> str:
    said = [f"{group[0]} … ({len(group)} files)" for group in groups[:_MOST_NAMED]]
    more = f" and {len(groups) - _MOST_NAMED} more" if len(groups) > _MOST_NAMED else ""
    return f"found {what}: {', '.join(said)}{more}. A folder holds one scan: move the others to folders of their own."


def _copies(names: Sequence[str]) -> Iterator[str]:
    """Names that are another name and more, such as ``s_01 (1)``, ``s_01 - Copy`` or ``Copy of s_01``."""
    stems = {_stem(name) for name in names}
    for name in names:
        stem = _stem(name)
        if any(
            (stem[:cut] in stems and not stem[cut].isalnum()) or (stem[cut:] in stems and not stem[cut - 1].isalnum())
            for cut in range(1, len(stem))
        ):
            yield name


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more

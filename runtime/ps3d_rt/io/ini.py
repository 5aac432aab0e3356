"""Text of ``[sections]`` and ``key = value`` lines, as many scanners write beside their voxels."""

from __future__ import annotations

from configparser import ConfigParser

from ps3d_rt.errors import InputError
from ps3d_rt.io.units import decimal_number

Sections = dict[str, dict[str, str]]
"""Section → key → value, sections and keys in lower case."""


def ini_sections(text: str) -> Sections:
    """Read the lines; what stands before the first section is section ``' '``.

    Raises:
        configparser.Error: if a line is neither a section nor a key.

    >>> ini_sections("[Geometry]\\nVoxelSizeX=0.01\\n")["geometry"]
    {'voxelsizex': '0.01'}
    """
    parser = ConfigParser(interpolation=None, strict=False, delimiters=("=",), allow_no_value=True)
    parser.read_string("\n".join(["[ ]", *(line.strip() for line in text.splitlines())]))
    return {name.lower(): {key: value or "" for key, value in parser[name].items()} for name in parser.sections()}


def section_in(sections: Sections, name: str, source: str) -> dict[str, str]:
    """Give a section; InputError if it is missing."""
    if name.lower() not in sections:
        raise InputError(f"{source}: has no section [{name}]; it is damaged or of another program: export it again.")
    return sections[name.lower()]


def value_in(values: dict[str, str], key: str, source: str) -> str:
    """Give the text at ``key``; InputError if it is missing."""
    if key.lower() not in values:
        raise InputError(f"{source}: does not say {key}; export it again.")
    return values[key.lower()].strip()


def numbers_in(values: dict[str, str], key: str, source: str) -> list[float]:
    """Give the numbers at ``key``, with spaces between them and a decimal point or comma.

    Raises:
        InputError: if it is missing or holds something else.

    >>> numbers_in({"resolution": "0.01 0,02 3"}, "resolution", "scan.vgi")
    [0.01, 0.02, 3.0]
    """
    found = value_in(values, key, source)
    try:
        return [float(part.replace(",", ".")) for part in found.split()]
    except ValueError:
        raise InputError(f"{source}: {key} is '{found}', which is not a number; correct it.") from None


def number_in(values: dict[str, str], key: str, source: str) -> float:
    """Give the one number at ``key``; InputError if it is missing or holds something else.

    >>> number_in({"voxelsizex": "0,0125"}, "VoxelSizeX", "scan.pcr")
    0.0125
    """
    found = numbers_in(values, key, source)
    if len(found) != 1:
        raise InputError(f"{source}: {key} is '{value_in(values, key, source)}'; it must be one number: correct it.")
    return found[0]


def size_in(values: dict[str, str], key: str) -> float | None:
    """Give the number at ``key``; None if it is missing, NaN if it is none: a scan can be read without it.

    >>> size_in({"voxelsize": "1,5"}, "voxelSize"), size_in({"voxelsize": "big"}, "voxelSize"), size_in({}, "voxelSize")
    (1.5, nan, None)
    """
    return decimal_number(values[key.lower()]) if key.lower() in values else None


def counts_in(values: dict[str, str], key: str, source: str) -> list[int]:
    """Give the whole numbers at ``key``; InputError if it is missing or holds something else."""
    found = numbers_in(values, key, source)
    if any(number != number // 1 for number in found):
        raise InputError(
            f"{source}: {key} is '{value_in(values, key, source)}', which is not a whole number: correct it."
        )
    return [int(number) for number in found]


def count_in(values: dict[str, str], key: str, source: str) -> int:
    """Give the one whole number at ``key``; InputError if it is missing or holds something else."""
    number_in(values, key, source)
    return counts_in(values, key, source)[0]

"""Text of ``[sections]`` and ``key = value`` lines, as many scanners write beside their voxels."""

from __future__ import annotations

from configparser import ConfigParser

from ps3d_rt.errors import InputError

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


def number_in(values: dict[str, str], key: str, source: str) -> float:
    """Give the number at ``key``, with a decimal point or comma.

    Raises:
        InputError: if it is missing or no number.

    >>> number_in({"voxelsizex": "0,0125"}, "voxelsizex", "scan.pcr")
    0.0125
    """
    found = values.get(key.lower())
    if found is None:
        raise InputError(f"{source}: does not say {key}; export the volume again with its description.")
    try:
        return float(found.strip().replace(",", "."))
    except ValueError:
        raise InputError(f"{source}: {key} is '{found}', which is no number; correct it.") from None


def count_in(values: dict[str, str], key: str, source: str) -> int:
    """Give the whole number at ``key``; InputError if it is missing or none."""
    found = number_in(values, key, source)
    if found != found // 1:
        raise InputError(f"{source}: {key} is '{values[key.lower()]}', which is no whole number; correct it.")
    return int(found)

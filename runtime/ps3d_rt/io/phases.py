"""``phases.json``: which gray values are which mineral; and the usual minerals by their attenuation."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from ps3d_rt.core.minerals.phases import AutoPhases, PhaseList, PhasesAsked
from ps3d_rt.errors import InputError
from ps3d_rt.io.atomic_write import atomic_write
from ps3d_rt.io.json_text import read_json
from ps3d_rt.io.read_errors import parse_errors, words_of

NAME = "phases.json"
_AUTO = re.compile(r"auto:(\d{1,9})", re.IGNORECASE)


class UsualMineral(NamedTuple):
    """A mineral of the table that comes with ps3d-rt."""

    name: str
    density_g_per_cm3: float
    attenuation_per_cm: float
    """Above PMMA, of a thin piece, at the tube voltage asked for."""


def read_phases(path: Path) -> PhaseList:
    """Read phases.

    Raises:
        InputError: if the file is missing, is not JSON, or its phases make no sense.
    """
    try:
        with parse_errors(path, "JSON", "correct it, or propose phases again"):
            content = read_json(path)
    except FileNotFoundError as error:
        raise InputError(f"{path} is not there; `ps3d-rt minerals OUT --phases auto:N` proposes phases.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read; check the file{words_of(error)}.") from error
    return PhaseList.from_json(content, str(path))


def phases_asked(given: str | Path | PhasesAsked) -> PhasesAsked:
    """Read what stands for phases: a file of them, or ``auto:N``.

    Raises:
        InputError: as :func:`read_phases`, or if N is no number of phases.

    >>> phases_asked("auto:3")
    AutoPhases(most=3)
    """
    if isinstance(given, PhaseList | AutoPhases):
        return given
    if found := _AUTO.fullmatch(str(given)):
        return AutoPhases(int(found[1]))
    if str(given).lower().startswith("auto") and not Path(given).exists():
        raise InputError(f"phases are {str(given)!r}; give a file, or auto:N with N phases at most, such as auto:3.")
    return read_phases(Path(given))


def write_phases(phases: PhaseList, path: Path, *, overwrite: bool = False) -> None:
    """Write phases.

    Raises:
        InputError: if the file is there and ``overwrite`` is not given.
    """
    with atomic_write(path, overwrite=overwrite) as partial:
        partial.write_text(json.dumps(phases.to_json(), indent=2) + "\n", encoding="utf-8", newline="\n")


def usual_minerals(kilovolts: int) -> list[UsualMineral]:
    """List the usual minerals, the darkest first.

    Args:
        kilovolts: of the tube, behind 1 mm of aluminium and 0.1 mm of copper.

    Raises:
        InputError: if the table has no such voltage.
    """
    table = _table()
    if kilovolts not in table["kilovolts"]:
        known = ", ".join(map(str, table["kilovolts"]))
        raise InputError(f"the table of minerals has no tube voltage of {kilovolts} kV; it has {known}.")
    column = table["kilovolts"].index(kilovolts)
    found = [
        UsualMineral(name, entry["density_g_per_cm3"], entry["attenuation_per_cm"][column])
        for name, entry in table["minerals"].items()
    ]
    return sorted(found, key=lambda mineral: mineral.attenuation_per_cm)


@cache
def _table() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(files(__package__).joinpath("usual_minerals.json").read_text(encoding="utf-8"))
    return content

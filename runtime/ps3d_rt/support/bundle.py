"""The zip for support: what is collected, shortened, and one page that says what is in it."""

from __future__ import annotations

import getpass
import json
import os
import socket
import tempfile
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from ps3d_rt.errors import InputError, cannot_write
from ps3d_rt.io.atomic_write import atomic_write
from ps3d_rt.support.collect import Content, collect
from ps3d_rt.support.shorten import Shortener

README = "README.txt"
_EARLIEST = (1980, 1, 1, 0, 0, 0)
"""A zip knows no earlier date, and a clock may have lost its battery."""
_WORDS = """What `ps3d-rt doctor --bundle` has collected for whoever helps you. Nothing was sent anywhere.

In it: what doctor says of this machine and what is installed; of the outputs named, run.json without the size
distribution, which tasks are done and when, the queue, logs, and why scans failed. Not in it: voxels, labels,
particles, pictures. Of paths the last name is left, the names of the user and the machine stand as USER and HOST.
Names of scans are in it, and a log holds what programs said: look through it before you send it.
"""


@dataclass(frozen=True)
class SupportBundle:
    """What is known before doctor has looked at the machine."""

    path: Path
    """Of the zip."""
    found: Sequence[tuple[str, Content]]
    """Name in the zip, and text or a value of JSON."""
    shortener: Shortener

    @classmethod
    def about(cls, path: Path, sources: Sequence[Path]) -> SupportBundle:
        """Collect.

        Args:
            path: the zip.
            sources: outputs, logs and configs.

        Raises:
            InputError: if a source is nothing that can be told of, or the zip exists.
        """
        if path.exists():
            raise InputError(f"{path} exists and is not overwritten; remove it or choose another name.")
        found = [told for source in sources for told in collect(source)]
        values = [content for _, content in found if not isinstance(content, str)]
        return cls(path, found, of_this_machine(sources).knowing(values))

    def write(self, doctor: str, facts: Mapping[str, Any]) -> list[str]:
        """Write the zip, and give the names of the files in it.

        Args:
            doctor: what doctor says, for people.
            facts: the same as JSON.

        Raises:
            InputError: if it cannot be written.
            InterruptedRun: if the disk is full.
        """
        files = {README: _WORDS}
        for name, content in (("doctor.txt", doctor + "\n"), ("doctor.json", facts), *self.found):
            text = self.shortener.value(content) if not isinstance(content, str) else self.shortener.text(content)
            shown = "/".join(self.shortener.text(part) for part in name.split("/"))
            files[_free(shown, files)] = text if isinstance(text, str) else json.dumps(text, indent=2)
        try:
            with atomic_write(self.path) as unfinished, ZipFile(unfinished, "w", ZIP_DEFLATED) as target:
                for name, text in files.items():
                    target.writestr(ZipInfo(name, _EARLIEST), text, ZIP_DEFLATED)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        return [*files]


def of_this_machine(about: Sequence[Path]) -> Shortener:
    """Know the folders and names that texts written here may hold."""
    places = [Path.home(), Path.cwd(), Path(tempfile.gettempdir()), *(path.absolute().parent for path in about)]
    names = {socket.gethostname(): "HOST", socket.gethostname().partition(".")[0]: "HOST", Path.home().name: "USER"}
    with suppress(OSError, KeyError, ImportError):  # a user that the system does not know
        names[getpass.getuser()] = "USER"
    roots = {str(place) for given in places for place in (given, Path(os.path.realpath(given)))}
    return Shortener(frozenset(roots), {name: word for name, word in names.items() if len(name) > 1})


def _free(name: str, taken: Container[str]) -> str:
    """Put a number before a name that is taken: two logs of two folders may have one."""
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{number} {name}"
    return free

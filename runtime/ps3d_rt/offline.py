"""All wheels that an installation needs, in one folder, for a machine without a network."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from ps3d_rt.errors import InputError, cannot_write, not_installed
from ps3d_rt.installing import NAME, checkout
from ps3d_rt.io.atomic_write import atomic_write

_GLIBC = (17, 24, 26, 27, 28)
"""Versions of glibc, 2.N, that wheels for Linux of the last years name."""
PLATFORMS = {
    "linux-x86_64": (*(f"manylinux_2_{n}_x86_64" for n in _GLIBC), "manylinux2014_x86_64", "manylinux1_x86_64"),
    "linux-aarch64": (*(f"manylinux_2_{n}_aarch64" for n in _GLIBC), "manylinux2014_aarch64"),
    "windows": ("win_amd64",),
    "macos-arm64": tuple(f"macosx_{n}_0_{kind}" for n in (14, 13, 12, 11) for kind in ("arm64", "universal2")),
}
"""What people call a system → the tags of its wheels."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """For which machine wheels are gathered."""

    platform: str | None = None
    """One of :data:`PLATFORMS`; None: like this machine."""
    python: str | None = None
    """Its version of Python, such as ``3.12``; None: this one's."""
    extras: tuple[str, ...] = ()

    def requirement(self, name: str = NAME) -> str:
        """Give what pip installs.

        >>> Wanted(extras=("serve", "dicom")).requirement()
        'ps3d-rt[serve,dicom]'
        """
        return f"{name}[{','.join(self.extras)}]" if self.extras else name

    def options(self) -> list[str]:
        """Give the options of ``pip download`` for another machine; none for one like this."""
        if self.platform is None and self.python is None:
            return []
        tags = PLATFORMS.get(self.platform, ()) if self.platform else ()
        if self.platform and not tags:
            raise InputError(f"the platform is {self.platform!r}; give one of {', '.join(PLATFORMS)}.")
        python = ["--python-version", self.python] if self.python else []
        return [*(part for tag in tags for part in ("--platform", tag)), *python]


def gather_wheels(folder: Path, wanted: Wanted) -> list[Path]:
    """Put ps3d-rt and all that it needs into a folder, which appears when it is whole.

    Args:
        folder: must not be there.
        wanted: for which machine.

    Returns:
        The wheels.

    Raises:
        InputError: if the folder is there or cannot be written, or pip cannot get a package.
        CapabilityError: if there is no pip.
    """
    options = wanted.options()
    if find_spec("pip") is None:
        raise not_installed("pip, which gathers the wheels, is not in this environment", "pip")
    try:
        with atomic_write(folder) as unfinished:
            unfinished.mkdir()
            home = checkout()
            pins = [] if home is None else ["--constraint", str(home / "constraints.txt")]
            ours = f"{NAME}=={version(NAME)}"
            if home is not None:
                _pip("wheel", "--no-deps", "--wheel-dir", str(unfinished), str(home))
                ours = str(next(unfinished.glob("*.whl")))
            to = ["--dest", str(unfinished), "--find-links", str(unfinished), "--only-binary", ":all:"]
            needed = wanted.requirement(ours) if home is not None else _versioned(wanted, ours)
            _pip("download", *to, *options, *pins, needed)
    except OSError as error:
        raise cannot_write(folder, error) from error
    return sorted(folder.glob("*.whl"))


def install_line(folder: Path, wanted: Wanted) -> str:
    """Give the line that installs without an index, where the folder lies on the other machine."""
    return f'pip install --no-index --find-links {folder.name} "{wanted.requirement()}"'


def _versioned(wanted: Wanted, ours: str) -> str:
    return wanted.requirement() + ours.removeprefix(NAME)


def _pip(*arguments: str) -> None:
    command: Sequence[str] = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        why = next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1] if lines else "")
        raise InputError(
            f"pip {arguments[0]} ended with {done.returncode}; look at the network or the proxy, and whether all "
            f"packages have wheels for that platform and Python – {why}"
        )

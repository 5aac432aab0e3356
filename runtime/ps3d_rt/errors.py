"""Every error a user can cause, and the exit code each one ends with.

    Ps3dError                 exit 1
    ├── InputError            exit 2   a file, volume or option is not usable (also a ValueError)
    ├── CapabilityError       exit 3   an extra is not installed or a device is missing (also an ImportError)
    ├── InterruptedRun        exit 4   stopped from outside; the run can be started again
    ├── SamplesFailed         exit 5   some samples of a batch failed; the others are done
    └── NothingFound          exit 5   the run is complete and holds no particle, and that was to be an error

A message says what was found, what is allowed, and what to do about it. Words of a library or of the system stand
behind a dash at its end.
"""

from __future__ import annotations

import errno
from typing import NamedTuple


def _numbers(*names: str) -> frozenset[int]:
    """Give the numbers of errors that the system knows."""
    return frozenset(getattr(errno, name) for name in names if hasattr(errno, name))


class Ps3dError(Exception):
    """Base of all errors raised on purpose by ps3d-rt."""

    exit_code = 1


class InputError(Ps3dError, ValueError):
    """A file, an array or an option cannot be used as given."""

    exit_code = 2


class CapabilityError(Ps3dError, ImportError):
    """What was requested needs a package or a device that this machine does not have."""

    exit_code = 3


def not_installed(what: str, requirement: str) -> CapabilityError:
    """Say what does not load, and how to install it here.

    Args:
        what: such as "napari does not load".
        requirement: a package, or an extra as ``ps3d-rt[annotate]``.
    """
    from ps3d_rt.installing import install_command  # noqa: PLC0415 - nobody needs it as long as all is there

    return CapabilityError(f"{what}; install it: {install_command(requirement)}")


class InterruptedRun(Ps3dError):  # noqa: N818 - it is not an error of anybody
    """The run was stopped before it was complete."""

    exit_code = 4


class SamplesFailed(Ps3dError):  # noqa: N818 - the samples failed, the batch did not
    """Some samples of a batch could not be done."""

    exit_code = 5


class NothingFound(Ps3dError):  # noqa: N818 - the run went well
    """The run is complete, its output is there, and no particle is in it."""

    exit_code = 5


class _Cause(NamedTuple):
    """What the system says of a file, and what a person can do about it."""

    numbers: frozenset[int]
    """``errno``."""
    on_windows: frozenset[int]
    """``winerror``."""
    kind: type[Ps3dError]
    words: str


_AGAIN = "then start the same command again"
_CAUSES = (
    _Cause(
        _numbers("ENOSPC", "EDQUOT", "EFBIG"),
        frozenset({39, 112}),
        InterruptedRun,
        f"cannot be written: the disk is full; make room, {_AGAIN}",
    ),
    _Cause(
        _numbers("EBUSY", "ETXTBSY"),
        frozenset({32, 33}),  # a sharing violation, as of a table that Excel shows, and a lock
        InterruptedRun,
        f"cannot be written: another program has it open; close it there, {_AGAIN}",
    ),
    _Cause(
        _numbers("EACCES", "EPERM", "EROFS"),
        frozenset({5, 19}),
        InputError,
        "cannot be written: this user may not, or another program has it open; allow it, close it there, or choose "
        "another output",
    ),
    _Cause(
        _numbers(
            *("ESTALE", "ENOTCONN", "ENODEV", "ENXIO", "ETIMEDOUT", "ECONNRESET", "ECONNABORTED", "EHOSTDOWN"),
            *("EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ENETRESET", "EREMOTEIO"),
        ),
        frozenset({21, 53, 55, 59, 64, 67, 121, 1167, 1231, 1236}),
        InterruptedRun,
        f"cannot be written: the share or drive that it is on is gone; connect it, {_AGAIN}",
    ),
    _Cause(
        _numbers("ENAMETOOLONG", "ELOOP"),
        frozenset({123, 206}),
        InputError,
        "cannot be used: it is no path here, or too long for this disk; choose another",
    ),
    _Cause(
        _numbers("EIO"),
        frozenset(),
        InterruptedRun,
        f"cannot be written: the disk reports an error; check it, {_AGAIN}",
    ),
)


def cannot_write(path: object, error: OSError) -> Ps3dError:
    """Say why something cannot be written, and what to do: by what the system reports, never by a guess.

    Args:
        path: what was to be written.
        error: what the system said.

    Returns:
        :class:`InterruptedRun` if the same command can go well later, else :class:`InputError`.

    >>> cannot_write("out", OSError(errno.ENOSPC, "No space left on device")).exit_code
    4
    """
    said = f" – {error.strerror or error}"
    if (cause := _cause_of(error)) is None:
        return InputError(f"{path} cannot be written; choose another output{said}")
    return cause.kind(f"{path} {cause.words}{said}")


def is_of_the_machine(error: OSError) -> bool:
    """Whether the system refuses what is right: for want of room, rights or a share, or for the length of a name.

    Any other error of the system, such as a file of ours that is not there, may be a mistake of ours.
    """
    return _cause_of(error) is not None


def _cause_of(error: OSError) -> _Cause | None:
    number = errno.EACCES if isinstance(error, PermissionError) else error.errno
    on_windows = getattr(error, "winerror", None)
    found = (cause for cause in _CAUSES if number in cause.numbers or on_windows in cause.on_windows)
    return next(found, None)

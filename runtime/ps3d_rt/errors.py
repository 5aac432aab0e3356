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

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FULL_ON_WINDOWS = {39, 112}
_IN_USE = {errno.EBUSY, errno.ETXTBSY}
_IN_USE_ON_WINDOWS = {32, 33}
"""A sharing violation, as of a table that Excel shows, and a lock."""


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
    start, said = f"{path} cannot be written", f" – {error.strerror or error}"
    on_windows = getattr(error, "winerror", None)
    if error.errno in _FULL or on_windows in _FULL_ON_WINDOWS:
        return InterruptedRun(f"{start}: the disk is full; make room, then start the same command again{said}")
    if error.errno in _IN_USE or on_windows in _IN_USE_ON_WINDOWS:
        return InterruptedRun(
            f"{start}: another program has it open; close it there, then start the same command again{said}"
        )
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return InputError(
            f"{start}: this user may not, or another program has it open; allow it, close it there, or choose another "
            f"output{said}"
        )
    if error.errno == errno.EIO:
        return InterruptedRun(f"{start}: the disk reports an error; check it, then start the same command again{said}")
    return InputError(f"{start}; choose another output{said}")

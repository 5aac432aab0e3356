"""Every error a user can cause, and the exit code each one ends with.

    Ps3dError                 exit 1
    ├── InputError            exit 2   a file, volume or option is not usable (also a ValueError)
    ├── CapabilityError       exit 3   an extra is not installed or a device is missing (also an ImportError)
    └── InterruptedRun        exit 4   stopped from outside; the run can be started again

A message says what was found, what is allowed, and what to do about it.
"""


class Ps3dError(Exception):
    """Base of all errors raised on purpose by ps3d-rt."""

    exit_code = 1


class InputError(Ps3dError, ValueError):
    """A file, an array or an option cannot be used as given."""

    exit_code = 2


class CapabilityError(Ps3dError, ImportError):
    """Something that is not installed, or a device that is not there, was asked for."""

    exit_code = 3


class InterruptedRun(Ps3dError):  # noqa: N818 - it is not an error of anybody
    """The run was stopped before it was complete."""

    exit_code = 4

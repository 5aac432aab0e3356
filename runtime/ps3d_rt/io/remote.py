"""Zarr in object stores and on web servers: what fsspec opens by an address, such as ``s3://bucket/scan.zarr``."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ps3d_rt.errors import CapabilityError, InputError, InterruptedRun, Ps3dError, not_installed

logger = logging.getLogger(__name__)

_ADDRESS = re.compile(r"([a-z][a-z0-9+-]+):/+(.+?)/*")


def address_of(path: str | Path) -> str | None:
    """Find the address in a path, which swallows one of its slashes; None if it is a path.

    >>> address_of(Path("s3://bucket/scan.zarr")), address_of("C:/scan.zarr"), address_of("scan.h5:/group/data")
    ('s3://bucket/scan.zarr', None, None)
    """
    found = _ADDRESS.fullmatch(path if isinstance(path, str) else path.as_posix())
    return f"{found[1]}://{found[2]}" if found else None


def path_in(address: str) -> Path:
    """Give what follows the scheme, which outputs are named after.

    >>> path_in("s3://bucket/2026/scan.zarr").name
    'scan.zarr'
    """
    return Path(address.partition("://")[2])


@contextmanager
def remote_errors(address: str) -> Iterator[None]:
    """Say in our words what hinders fsspec.

    Raises:
        CapabilityError: if the package for the scheme is not installed.
        InputError: if nothing is there, or it may not be read, or nobody answers.
    """
    scheme = address.partition("://")[0]
    try:
        yield
    except Ps3dError:
        raise
    except ImportError as error:
        if scheme == "s3":
            raise not_installed(f"{address}: s3fs does not load", "ps3d-rt[s3]") from error
        raise CapabilityError(f"{address}: what opens {scheme}:// is not installed; install it – {error}") from error
    except FileNotFoundError as error:
        raise InputError(f"{address}: nothing is there; check the address – {error}") from error
    except PermissionError as error:
        raise InputError(f"{address}: may not be used with these credentials; check them – {error}") from error
    except Exception as error:  # each store has errors of its own
        raise InputError(
            f"{address}: cannot be used; check the address, the server and the network – "
            f"{str(error) or type(error).__name__}"
        ) from error


@contextmanager
def remote_reads(address: str) -> Iterator[None]:
    """Say in our words that what was opened cannot be reached any more; what codecs raise passes.

    Raises:
        InterruptedRun: if nobody answers, or refuses to.
    """
    try:
        yield
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError, Ps3dError):
        raise
    except Exception as error:  # each store has errors of its own
        raise InterruptedRun(
            f"{address}: does not answer any more; check the server and the network, then start the same command again"
            f" – {str(error) or type(error).__name__}"
        ) from error


def remove_remote(address: str) -> None:
    """Remove all that lies below an address; what cannot be removed is logged."""
    from fsspec.core import url_to_fs  # noqa: PLC0415 - from an extra

    try:
        files, path = url_to_fs(address)
        files.rm(path, recursive=True)
    except Exception as error:  # noqa: BLE001 - each store has errors of its own, and the run is complete
        logger.warning("%s could not be removed, and takes room: %s", address, error)

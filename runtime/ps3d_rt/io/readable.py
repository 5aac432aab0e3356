"""Errors of file libraries, said in our words."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from tokenize import TokenError
from xml.etree.ElementTree import ParseError

from ps3d_rt.errors import InputError

_BROKEN: tuple[type[Exception], ...] = (
    *(OSError, EOFError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError, AssertionError),
    *(RuntimeError, SyntaxError, TokenError, ParseError, struct.error, zlib.error),
)
"""What numpy, tifffile, zarr and their codecs raise on files that are cut short or overwritten: found by trying."""


@contextmanager
def readable(
    source: str, what: str, *, cure: str = "copy or export the file again", also: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Turn what a library raises on a broken file into an InputError: ``source: what cannot be read (why); cure``.

    Keep the block small: it also hides mistakes of the code inside. ``also`` names exceptions of the library's own.
    """
    broken = _BROKEN + also
    try:
        yield
    except InputError:
        raise
    except broken as error:
        said = f"{type(error).__name__}: {error}".split("\n")[0][:200]
        raise InputError(f"{source}: {what} cannot be read ({said}); {cure}.") from error

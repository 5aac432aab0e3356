"""Errors of file libraries, said in our words."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from tokenize import TokenError
from xml.etree.ElementTree import ParseError

from ps3d_rt.errors import InputError, Ps3dError

_BROKEN: tuple[type[Exception], ...] = (
    *(OSError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError, AssertionError),
    *(RuntimeError, SystemError, SyntaxError, TokenError, ParseError, struct.error, zlib.error),
)
"""What numpy, tifffile, zarr and their codecs raise on files that are cut short or overwritten: found by trying."""


_LONGEST_WORDS = 200
_WORDLESS = (
    *(TypeError, AttributeError, LookupError, AssertionError, NameError, RecursionError, UnicodeError, MemoryError),
    *(ArithmeticError, SystemError, struct.error),
)
"""Python's own complaints about the code that met the file: they tell a person nothing about the file."""
_INTERPRETER = re.compile(
    r"unpack|invalid literal|could not convert|argument|object|iterable|subscript|must be (str|int)|set_int_max_str"
)
"""Words of a ValueError that speak of code too."""


@contextmanager
def read_errors(
    source: str, what: str, *, cure: str = "copy or export the file again", also: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Turn what a library raises on a broken file into an InputError: ``source: what is damaged …; cure — its words``.

    Keep the block small: it also hides mistakes of the code inside. ``also`` names exceptions of the library's own.
    """
    broken = _BROKEN + also
    try:
        yield
    except Ps3dError:
        raise
    except OSError as error:
        if error.errno is None:  # a library's own, about what is in the file
            raise InputError(_damaged(source, what, cure, error)) from error
        raise InputError(f"{source}: {what} cannot be read{words_of(error)}.") from error
    except EOFError as error:
        raise InputError(
            f"{source}: {what} cannot be read to the end: the file is cut short; {cure}{words_of(error)}."
        ) from error
    except MemoryError as error:
        raise InputError(
            f"{source}: {what} cannot be read: it takes more memory than there is, by the sizes that the file gives; "
            f"{cure} if they are wrong{words_of(error)}."
        ) from error
    except broken as error:
        raise InputError(_damaged(source, what, cure, error)) from error


@contextmanager
def parse_errors(source: object, form: str, cure: str) -> Iterator[None]:
    """Turn what a parser raises into an InputError: ``source: is not FORM; cure — its words``."""
    try:
        yield
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source}: is not {form}; {cure}{words_of(error)}.") from error


def _damaged(source: str, what: str, cure: str, error: Exception) -> str:
    return f"{source}: {what} cannot be read: damaged, or not as the format has it; {cure}{words_of(error)}."


def words_of(error: Exception) -> str:
    """Give a library's own words behind a dash; nothing if they speak of code instead of the file.

    >>> words_of(OSError("truncated header")), words_of(IndexError("list index out of range"))
    (' — truncated header', '')
    """
    said = str(getattr(error, "strerror", None) or error).split("\n")[0].strip(" .")[:_LONGEST_WORDS]
    said = re.sub(r"^Error -?\d+ |\. Stored: .*", "", said)  # numbers of zlib's, bytes of zarr's
    speaks_of_code = isinstance(error, _WORDLESS) or (isinstance(error, ValueError) and _INTERPRETER.search(said))
    return "" if speaks_of_code or not said else f" — {said}"

"""What people are told, on stderr and in a log file: lines of text, or of JSON with their time.

All that a command says goes through :data:`LINES`: events of a run, what our packages log, warnings, and the error that
ends it.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from datetime import datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO

from ps3d_rt.errors import cannot_write

PACKAGES = ("ps3d_rt", "ps3d_training", "ps3d_export", "ps3d_bench")
_READERS = ("tifffile", "nibabel", "pydicom", "olefile")
"""Libraries that log what is amiss in a damaged file: the error says it in our words."""


class RotatingFile:
    """A log that is renamed to ``NAME.1`` when it is full, those before it to ``NAME.2`` and so on."""

    def __init__(self, path: Path, most_bytes: int, keep: int) -> None:
        """Open the file; what is in it stays."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handler = RotatingFileHandler(
            path, maxBytes=most_bytes, backupCount=keep, encoding="utf-8", errors="backslashreplace"
        )
        self._handler.setFormatter(logging.Formatter("%(message)s"))

    def write(self, line: str) -> None:
        """Write a line that ends as one."""
        self._handler.emit(logging.makeLogRecord({"msg": line.removesuffix("\n")}))

    def close(self) -> None:
        """Close it."""
        self._handler.close()


class Lines:
    """Where lines go: to stderr, and to a file if one was asked for."""

    def __init__(self) -> None:
        self.as_json = False
        self._file: TextIO | RotatingFile | None = None

    def open_file(self, path: Path) -> None:
        """Append everything to a file as well, whatever -q or -v choose for the screen.

        Raises:
            Ps3dError: if it cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1)
        except OSError as error:
            raise cannot_write(path, error) from error

    def rotate(self, path: Path, most_bytes: int, keep: int) -> None:
        """Write everything to a rotating file as well, unless --log-file was given.

        Raises:
            Ps3dError: if it cannot be written.
        """
        if self._file is not None:
            return
        try:
            self._file = RotatingFile(path, most_bytes, keep)
        except OSError as error:
            raise cannot_write(path, error) from error

    def close(self) -> None:
        """Close the file, and go back to text."""
        if self._file is not None:
            self._file.close()
        self.as_json, self._file = False, None

    def say(
        self,
        text: str | None,
        facts: dict[str, Any],
        *,
        screen: Callable[[str], object] | None = None,
        seen: bool = True,
    ) -> None:
        """Say one thing.

        Args:
            text: for people; None if they need no line.
            facts: the same for machines, with its kind under ``event``.
            screen: shows a line of text in another way than by writing it to stderr.
            seen: it is wanted on the screen.
        """
        now = datetime.now().astimezone().isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, **facts}) if self.as_json else text
        if line is None:
            return
        if self._file is not None:
            self._file.write(line + "\n" if self.as_json else f"{now} {line}\n")
        if seen:
            (_to_stderr if screen is None or self.as_json else screen)(line)


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


LINES = Lines()
"""Of this process."""


class LogHandler(logging.Handler):
    """Says what our packages log, and with -v what libraries warn of; the file gets both."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say one line."""
        level, text = record.levelname.lower(), record.getMessage()
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        ours = record.name.partition(".")[0] in PACKAGES
        LINES.say(
            text if record.levelno == logging.INFO else f"{level}: {text}",
            {"event": "Logged", "level": level, "text": text},
            seen=ours or is_verbose(),
        )


def start_logging() -> None:
    """Begin to show what is logged at INFO, Python's warnings included."""
    logging.basicConfig(handlers=[LogHandler()], level=logging.WARNING)
    logging.captureWarnings(True)
    set_level(logging.INFO)


def end_logging() -> None:
    """Close the log file, and give Python its warnings back."""
    logging.captureWarnings(False)
    LINES.close()


def set_level(level: int) -> None:
    """Choose what our packages say; INFO is for a person who waits.

    Libraries that log about damaged files are heard with -v only: the error says it in our words.
    """
    for package in PACKAGES:
        logging.getLogger(package).setLevel(level)
    for reader in _READERS:
        logging.getLogger(reader).setLevel(logging.WARNING if level <= logging.DEBUG else logging.CRITICAL + 1)


def is_quiet() -> bool:
    """Whether only warnings are shown (-q)."""
    return not logging.getLogger(PACKAGES[0]).isEnabledFor(logging.INFO)


def is_verbose() -> bool:
    """Whether debug messages are shown (-v)."""
    return logging.getLogger(PACKAGES[0]).isEnabledFor(logging.DEBUG)

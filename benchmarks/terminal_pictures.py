"""Draw what a terminal shows at the end of a command, as docs/terminal_*.svg have it.

    python benchmarks/terminal_pictures.py docs/terminal_plan.svg ps3d-rt plan scan.tif --spacing 10um

Runs the command in a terminal of 90 columns, so on Linux or macOS only, and draws what is left on its screen.
"""

from __future__ import annotations

import os
import pty
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS = 90
_CONTROL = re.compile(r"\x1b\[(\??[\d;]*)([A-Za-z])|\r|\n")


def screen(written: str) -> list[str]:
    """Give the lines that are left of what was written; colours stay in them as they came.

    >>> screen("bar 10%\\r\\x1b[2Knetwork: 2 s\\r\\nbar 20%\\r\\n\\x1b[1A\\x1b[2Kdone\\r\\n")
    ['network: 2 s', 'done', '']
    """
    lines, row, at = [""], 0, 0
    for found in _CONTROL.finditer(written):
        lines[row] += written[at : found.start()]
        at = found.end()
        if found[0] == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif found[2] == "m":
            lines[row] += found[0]
        elif found[2] == "K":
            lines[row] = ""
        elif found[2] == "A":
            row = max(0, row - int(found[1] or 1))
    lines[row] += written[at:]
    return lines


def run(command: list[str]) -> str:
    """Run a command in a terminal and give all that it writes there."""
    written: list[bytes] = []

    def read(descriptor: int) -> bytes:
        written.append(os.read(descriptor, 1 << 16))
        return written[-1]

    os.environ |= {"COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
    pty.spawn(command, read)
    return b"".join(written).decode()


def main(picture: Path, command: list[str]) -> None:
    left = [f"$ {' '.join(command)}", *screen(run(command))]
    shown = Text("\n").join(Text.from_ansi(line) for line in left)
    shown.rstrip()
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(width=COLUMNS, record=True, file=nowhere)
        console.print(shown)
        console.save_svg(str(picture), title=command[0])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

"""``predict`` on one good file of every format of docs/formats.md, and on the same file cut short, replaced or gone.

    python benchmarks/formats.py [--only NAME]

Prints what a person sees: exit code, and what is said of the file. The files are those of
tests/runtime/test_formats_cli.py; the pixels are random. For reading: the tests check the codes.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

from ps3d_rt.cli import main as ps3d_rt

FILES = Path(__file__).resolve().parents[1] / "tests" / "runtime" / "test_formats_cli.py"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="one format, by its name in the test")
    options = parser.parse_args(arguments)
    wrong = 0
    for name, harm, code, lines in tried(files_of_the_test(), options.only):
        right = code == 0 if harm == "good" else code in (2, 3)
        wrong += not right
        print(f"{'     ' if right else 'WRONG'} {name:14} {harm:13} exit {code}  {lines[0] if lines else ''}")
        for line in lines[1:]:
            print(f"{'':43}{line}")
    return int(wrong > 0)


def tried(files: ModuleType, only: str | None) -> Iterator[tuple[str, str, int, list[str]]]:
    for _, name, make in files.FORMATS:
        for harm in ("good", "cut short", "another file", "gone") if only in (None, name) else ():
            if harm != "gone" or name not in files.PARTS_MAY_BE_MISSING:
                with tempfile.TemporaryDirectory() as folder:
                    yield name, harm, *predicted(make, harm, Path(folder), knows=name not in files.KNOWS_NO_SPACING)


def predicted(
    make: Callable[[Path], tuple[Path, Path]], harm: str, folder: Path, *, knows: bool
) -> tuple[int, list[str]]:
    path, broken = make(folder)
    if harm != "good":
        whole = broken.read_bytes()
        broken.unlink()
        if harm != "gone":
            broken.write_bytes(whole[: len(whole) // 2 + 1] if harm == "cut short" else b"This is a letter.\n" * 3)
    spacing = () if knows else ("--spacing", "0.03,0.02,0.01")
    command = ["ps3d-rt", "predict", path, folder / "out", "--particle-size", "0.1", *spacing]
    screen = io.StringIO()
    with patch.object(sys, "argv", [str(part) for part in command]), redirect_stdout(screen), redirect_stderr(screen):
        try:
            ps3d_rt()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
    said = screen.getvalue().replace(f"{folder}/", "").splitlines()
    return code, [line for line in said if code or line.startswith(("warning: scan", "{"))]


def files_of_the_test() -> ModuleType:
    spec = spec_from_file_location("formats_of_the_test", FILES)
    if spec is None or spec.loader is None:
        raise ImportError(f"{FILES} cannot be loaded")
    sys.path.append(str(FILES.parents[1] / "support"))  # as pytest has it
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

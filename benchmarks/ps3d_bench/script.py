"""What the benchmark scripts share: options, the head of a result file, and how an error ends them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ps3d_bench.environment import environment
from ps3d_rt.errors import Ps3dError
from ps3d_rt.model import ModelBundle

Main = Callable[[Sequence[str]], None]


def script_parser(script: str, description: str | None) -> argparse.ArgumentParser:
    """Make a parser with ``--out``: without it, ``results/NAME.json`` beside the script.

    Args:
        script: the script's ``__file__``.
        description: its ``__doc__``, printed as it stands.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    path = Path(script).resolve()
    out = path.parent / "results" / f"{path.stem}.json"
    parser.add_argument("--out", type=Path, default=out, help="file to write")
    return parser


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add ``--model``, as the commands have it."""
    parser.add_argument("--model", default="default", help="bundled model, or path of a .ps3d bundle")


def add_sizes(parser: argparse.ArgumentParser, seed: int, sizes: Sequence[int]) -> None:
    """Add the options of a benchmark that makes a sample for every particle size, and its engine's threads."""
    parser.add_argument("--seed", type=int, default=seed, help="of the first size; the next ones count up")
    parser.add_argument("--sizes", default=",".join(map(str, sizes)), help="particle sizes, voxels")
    parser.add_argument("--cache", type=Path, default=Path("bench-cache"), help="folder that keeps the samples")
    parser.add_argument("--threads", type=int, help="threads of the engine; default: all cores")


def held_out_parser(
    script: str, description: str | None, *, largest: int, first: tuple[str, str] | None = None
) -> argparse.ArgumentParser:
    """Make the parser of a script that chooses a setting of a bundle: :func:`ps3d_bench.samples.held_out`, a model.

    Args:
        script: as for :func:`script_parser`.
        description: as for :func:`script_parser`.
        largest: default of ``--largest``.
        first: name and help of an argument before the samples.
    """
    parser = script_parser(script, description)
    if first is not None:
        parser.add_argument(first[0], help=first[1])
    parser.add_argument("samples", type=Path, help="folder of labelled samples")
    parser.add_argument("prepared", type=Path, nargs="?", help="what train prepare made of it: fold 0's validation")
    parser.add_argument("--largest", type=int, default=largest, help="leave out samples of more voxels, cubed")
    add_model(parser)
    return parser


def result_head(
    script: str, arguments: Sequence[str], data: str, *, bundle: ModelBundle | None = None, packages: Sequence[str] = ()
) -> dict[str, Any]:
    """Give what a result file begins with: which benchmark, on what data, where and with what.

    Args:
        script: the script's ``__file__``.
        arguments: what it was called with.
        data: simulated or real, in words.
        bundle: the one model, where there is one.
        packages: as for :func:`ps3d_bench.environment.environment`.
    """
    name = Path(script).stem
    head = {
        "benchmark": name,
        "data": data,
        **environment(["python", f"benchmarks/{name}.py", *arguments], packages),
    }
    return head | ({"model": {"name": bundle.name, "sha256": bundle.hash}} if bundle else {})


def run_script(main: Main) -> None:
    """Call ``main`` with the words of the command line; an error is a line on stderr and the code of commands."""
    try:
        main(sys.argv[1:])
    except Ps3dError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)

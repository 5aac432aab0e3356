"""Wheels in parts, for a machine that takes a limited number of bytes at a time.

    python benchmarks/gpu_wheels.py pack wheels parts [--part-mib 56]     wheels/*.whl → parts/part-01, part-02, …
    python benchmarks/gpu_wheels.py unpack parts/part-* --into wheels     there, when all parts have come

A wheel that fits no part is cut; nothing is compressed again. Each part says in ``parts.json`` what the whole is, so
that a part that is missing is named.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from ps3d_bench.script import run_script
from ps3d_rt.errors import InputError

LISTING = "parts.json"
MIB = 2**20


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="cut a folder of wheels into parts")
    packing.add_argument("wheels", type=Path, help="folder with wheels")
    packing.add_argument("parts", type=Path, help="folder to write, empty or not there")
    packing.add_argument("--part-mib", type=float, default=56, help="most of a part; a call carries 64 with all else")
    unpacking = commands.add_parser("unpack", help="put the wheels together again")
    unpacking.add_argument("parts", type=Path, nargs="+", help="all parts")
    unpacking.add_argument("--into", type=Path, required=True, help="folder for the wheels")
    options = parser.parse_args(arguments)
    if options.command == "pack":
        sizes = pack(options.wheels, options.parts, int(options.part_mib * MIB))
        told = {name: round(size / MIB, 1) for name, size in sizes.items()}
    else:
        told = {path.name: round(path.stat().st_size / MIB, 1) for path in unpack(options.parts, options.into)}
    print(json.dumps(told))


def pack(wheels: Path, parts: Path, most: int) -> dict[str, int]:
    """Cut wheels into parts of at most ``most`` bytes, the largest wheels first.

    Returns:
        Part → bytes.

    Raises:
        InputError: if there are no wheels, or ``parts`` holds something.
    """
    files = sorted(wheels.glob("*.whl"), key=lambda path: (-path.stat().st_size, path.name))
    if not files:
        raise InputError(f"{wheels} holds no wheels; download some: docs/gpu-check.md.")
    if parts.exists() and any(parts.iterdir()):
        raise InputError(f"{parts} is not empty; give a new folder.")
    contents: list[dict[str, bytes]] = []
    whole: dict[str, dict[str, Any]] = {}
    for path in files:
        content = path.read_bytes()
        starts = range(0, len(content), most)
        whole[path.name] = {"sha256": sha256(content).hexdigest(), "pieces": len(starts)}
        for number, start in enumerate(starts):
            piece, name = content[start : start + most], f"{path.name}.{number:03d}"
            part = next((part for part in contents if sum(map(len, part.values())) + len(piece) <= most), None)
            if part is None:
                contents.append(part := {})
            part[name] = piece
    sizes = {}
    for number, part in enumerate(contents, 1):
        folder = parts / f"part-{number:02d}"
        folder.mkdir(parents=True)
        for name, piece in part.items():
            (folder / name).write_bytes(piece)
        (folder / LISTING).write_text(json.dumps(whole), encoding="utf-8")
        sizes[folder.name] = sum(map(len, part.values()))
    return sizes


def unpack(parts: Sequence[Path], into: Path) -> list[Path]:
    """Put wheels together.

    Raises:
        InputError: if a piece is missing, or a wheel is not what was packed.
    """
    pieces = {path.name: path for part in parts for path in part.iterdir() if path.name != LISTING}
    whole = json.loads((parts[0] / LISTING).read_text(encoding="utf-8"))
    into.mkdir(parents=True, exist_ok=True)
    made = []
    for name, facts in whole.items():
        names = [f"{name}.{number:03d}" for number in range(facts["pieces"])]
        if missing := [piece for piece in names if piece not in pieces]:
            raise InputError(f"{', '.join(missing)} is in none of the {len(parts)} parts; carry all of them.")
        content = b"".join(pieces[piece].read_bytes() for piece in names)
        if sha256(content).hexdigest() != facts["sha256"]:
            raise InputError(f"{name} is not the wheel that was packed (sha256); carry its parts again.")
        (into / name).write_bytes(content)
        made.append(into / name)
    return made


if __name__ == "__main__":
    run_script(main)

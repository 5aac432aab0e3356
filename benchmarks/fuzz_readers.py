"""Open damaged files of every format until the time is up: each must be read, or refused in our own words.

    python benchmarks/fuzz_readers.py 120
    python benchmarks/fuzz_readers.py 60 --only nrrd,mha --seed 7

A damaged file is a good one with bits turned, bytes cut, copied or put in, or a number or word of its header replaced.
Every finding is printed once a kind, with the file that shows it, which stays in ``--keep``. A file that takes longer
than 30 s ends the program with the place where it hangs. Exit code 1 if anything was found.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import random
import re
import shutil
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from ps3d_rt.core.grid import Box
from ps3d_rt.errors import Ps3dError
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.volume_writer import write_volume

IMAGE = np.random.default_rng(0).integers(0, 60000, (12, 18, 20), dtype=np.uint16)
SPACING_MM = (0.03, 0.02, 0.01)
HANGS_AFTER_S = 30
WORDS = re.compile(
    r"\b\w*(Error|Exception)\b|Traceback|unpack|index out of range|invalid literal for|could not convert|NoneType|"
    r"has no attribute|not subscriptable|not iterable|must be str|positional argument|object cannot be"
)
"""What a message for people has no place for."""
ODD = [
    b"0",
    b"-1",
    b"1",
    b"nan",
    b"1e999",
    b"99999999999999999999",
    b"",
    b"\0",
    b"x",
    b"%d",
    b"..",
    b"\xff\xfe",
    b"none",
]
NRRD = "NRRD0004\ntype: ushort\ndimension: 3\nsizes: 20 18 12\nspacings: 10 20 30\nunits: um um um\nendian: little\n"
MHD = "NDims = 3\nDimSize = 20 18 12\nElementSpacing = .01 .02 .03\nElementType = MET_USHORT\nElementDataFile = "
PCR = "[VolumeData]\nVOL_File=d.bin\nVolume_SizeX=20\nVolume_SizeY=18\nVolume_SizeZ=12\nFormat=5\nVoxelSizeRec=0,01\n"
VGI = (
    "{volume1}\n[file1]\nSkipHeader = 0\nFileFormat = raw\nSize = 20 18 12\nName = d.bin\nDatatype = unsigned integer\n"
    "BitsPerElement = 16\n{volumeprimitive12}\n[geometry]\nresolution = 0.01 0.02 0.03\nunit = mm\n"
)
Make = Callable[[Path], tuple[Path, Path]]
"""Makes a good file in a folder: what is opened, and the file or folder to damage."""


def written(name: str) -> Make:
    """Make a file with our own writer."""

    def make(folder: Path) -> tuple[Path, Path]:
        write_volume(folder / name, IMAGE, SPACING_MM)
        return folder / name, folder / name

    return make


def beside(name: str, text: str) -> Make:
    """Make a description beside ``d.bin``, and damage the description."""

    def make(folder: Path) -> tuple[Path, Path]:
        IMAGE.tofile(folder / "d.bin")
        (folder / name).write_text(text, encoding="utf-8")
        return folder / name, folder / name

    return make


def sidecar(folder: Path) -> tuple[Path, Path]:
    """Make a raw file with our own description."""
    write_volume(folder / "a.raw", IMAGE, SPACING_MM)
    return folder / "a.raw", folder / "a.raw.json"


def tiff(**options: Any) -> Make:
    """Make a TIFF of another layout than ours."""

    def make(folder: Path) -> tuple[Path, Path]:
        tifffile.imwrite(folder / "a.tif", IMAGE, **options)
        return folder / "a.tif", folder / "a.tif"

    return make


SEEDS: dict[str, Make] = {
    **{name: written(f"a.{name}") for name in ("tif", "nii", "nii.gz", "nrrd", "mha", "h5", "npy", "ome.zarr")},
    "imagej": tiff(imagej=True, resolution=(100, 50), metadata={"axes": "ZYX", "spacing": 0.03, "unit": "mm"}),
    "tiles": tiff(tile=(16, 16, 16), compression="zlib", photometric="miniswhite"),
    "pages": tiff(compression="zlib", metadata=None),
    "nhdr": beside("a.nhdr", f"{NRRD}encoding: raw\ndata file: d.bin\n"),
    "nhdr list": beside("a.nhdr", f"{NRRD}encoding: raw\ndata file: LIST\nd.bin\n"),
    "nhdr pattern": beside("a.nhdr", f"{NRRD}kinds: domain domain domain\nencoding: raw\ndata file: d%1d.bin 1 2 1\n"),
    "mhd": beside("a.mhd", f"{MHD}d.bin\n"),
    "mhd list": beside("a.mhd", f"{MHD}LIST\nd.bin\n"),
    "pcr": beside("a.pcr", PCR),
    "vgi": beside("a.vgi", VGI),
    "json": sidecar,
}


def damaged(good: bytes, chance: random.Random) -> bytes:
    """Return ``good`` with one to three damages, most of them near its start, where headers are."""
    found = bytearray(good)
    for _ in range(chance.randint(1, 3)):
        end = len(found)
        at = chance.randrange(end + 1) if chance.random() < 0.3 else min(end, int(chance.expovariate(1 / 300)))
        kind = chance.randrange(6)
        if kind == 0 and found:
            found[min(at, len(found) - 1)] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del found[at : at + chance.choice([1, 2, 8, 100, len(found)])]
        elif kind == 2:
            found[at:at] = chance.randbytes(chance.choice([1, 2, 4, 50]))
        elif kind == 3:
            found[at : at + 4] = chance.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\1\0\0\0"])
        elif kind == 4:
            found[at:at] = found[at : at + 40]
        elif words := list(re.finditer(rb"[\w.+-]+", bytes(found[:4096]))):
            word = chance.choice(words)
            found[word.start() : word.end()] = chance.choice([*ODD, chance.choice(words)[0]])
    return bytes(found)


def trial(opened: Path) -> str | None:
    """Open a file and read all of it; return what is wrong with how that ended, None if nothing."""
    faulthandler.dump_traceback_later(HANGS_AFTER_S, exit=True)
    try:
        with open_volume(opened) as volume:
            volume.read(Box.of_shape(tuple(min(n, 64) for n in volume.shape)))  # type: ignore[arg-type]
            said = " ".join(volume.warnings)
    except Ps3dError as error:
        said = str(error)
    except Exception:  # noqa: BLE001 - whatever comes is the finding
        return traceback.format_exc()
    finally:
        faulthandler.cancel_dump_traceback_later()
    bad = WORDS.search(said)
    return None if bad is None else f"a message with '{bad[0]}': {said}"


def one(name: str, chance: random.Random, folder: Path) -> str | None:
    """Make a good file, damage it, try it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    opened, target = SEEDS[name](folder)
    if target.is_dir():
        target = chance.choice(sorted(path for path in target.rglob("*") if path.is_file()))
    target.write_bytes(damaged(target.read_bytes(), chance))
    return trial(opened)


def main(arguments: list[str]) -> int:
    """Run until the time is up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(SEEDS), help="formats, with commas")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"), help="folder for the files that show one")
    said = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    chance, tried, found, names = random.Random(said.seed), Counter[str](), Counter[str](), said.only.split(",")
    ends = time.monotonic() + said.seconds
    work = said.keep / "work"
    while time.monotonic() < ends:
        name = names[tried.total() % len(names)]
        wrong = one(name, chance, work)
        tried[name] += 1
        if wrong is None:
            continue
        kind = re.sub(r"\S*fuzz\S*|\d+|'[^']*'", "", f"{name} {wrong.splitlines()[-1]}")[:120]
        found[kind] += 1
        if found[kind] == 1:
            place = said.keep / f"{len(found):03d}"
            shutil.copytree(work, place, dirs_exist_ok=True)
            print(f"{place}: {wrong}", flush=True)
    print(f"{tried.total()} files of {len(tried)} kinds, {found.total()} findings of {len(found)} kinds")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

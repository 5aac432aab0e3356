"""Open damaged files of every format until the time is up: each must be read, or refused in our own words.

    python benchmarks/fuzz_readers.py 600
    python benchmarks/fuzz_readers.py 60 --only nrrd,mha --seed 7

A damaged file is a good one with bits turned, bytes cut, copied or put in, a number or word of its header replaced, or
the content of a file of another format. The good files are made once, in memory where the system has a folder there,
and one process opens thousands of them; another watches it. A finding is: an exception that is not ours, a message with
words of Python's or without the file's name, more than 10 s of computing or 60 s of waiting, 2 GiB of memory, the death
of the process. Each is printed once a kind, with the files that show it, which stay in ``--keep``; how many files were
tried is added to ``--out``. Exit code 1 if anything was found.
"""

from __future__ import annotations

import argparse
import faulthandler
import itertools
import json
import logging
import random
import re
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from ps3d_bench.environment import environment, write_result
from ps3d_rt.core.grid import Box
from ps3d_rt.errors import Ps3dError
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.volume_writer import write_volume

try:
    import resource
except ImportError:  # Windows tells no peak
    resource = None  # type: ignore[assignment]

MEMORY = Path("/dev/shm")
PACKAGES = ("h5py", "imagecodecs", "nibabel", "numcodecs", "olefile", "pydicom", "pynrrd", "tifffile", "zarr")
ROOT = Path(__file__).resolve().parents[1]
IMAGE = np.random.default_rng(0).integers(0, 60000, (12, 18, 20), dtype=np.uint16)
SPACING_MM = (0.03, 0.02, 0.01)
MOST_SECONDS, HANGS_AFTER_S = 10, 60
"""Of computing, and on the clock: a busy machine is no finding."""
MOST_BYTES = 2**31
WORDS = re.compile(
    r"\b\w*(Error|Exception)\b|Traceback|unpack requires|to unpack|(list|string|tuple) index|invalid literal for|"
    r"NoneType|could not convert|has no attribute|not subscriptable|not iterable|must be str|positional argument|"
    r"object cannot be|Exceeds the limit"
)
"""What a message for people has no place for."""
ODD = [
    *(b"0", b"-1", b"1", b"2", b"-0", b"0,5", b"1.5", b"1 2", b"nan", b"inf", b"1e999", b"1e-320", b"65536"),
    *(b"99999999999999999999", b"9" * 5000, "²".encode(), "٣".encode(), b"", b"\0", b"x", b"%d", b"..", b"/", b"C:\\x"),
    *(b"\xff\xfe", b"none", b"null", b"true", b"[]", b"{}", b'"', b"\r", b"\n", b"\xef\xbb\xbf"),
]
NRRD = "NRRD0004\ntype: ushort\ndimension: 3\nsizes: 20 18 12\nspacings: 10 20 30\nunits: um um um\nendian: little\n"
MHD = "NDims = 3\nDimSize = 20 18 12\nElementSpacing = .01 .02 .03\nElementType = MET_USHORT\nElementDataFile = "
Make = Callable[[Path], tuple[Path, Path]]
"""Makes a good file in a folder: what is opened, and the file or folder to damage."""
Trial = Callable[[Path], str | None]
"""Opens a file; returns what is wrong with how that ended, None if nothing."""


@dataclass(frozen=True)
class Program:
    """What is damaged, and how it is tried."""

    name: str
    """Of the script."""
    about: str
    seeds: Mapping[str, Make]
    trial: Trial


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


def of_the_tests() -> dict[str, Make]:
    """Give the makers of a good file of every format in docs/formats.md; all that they make may be damaged."""
    path = ROOT / "tests/runtime/test_formats_cli.py"
    spec = spec_from_file_location("formats_of_the_test", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be loaded")
    sys.path.append(str(ROOT / "tests/support"))  # as pytest has it
    module = module_from_spec(spec)
    spec.loader.exec_module(module)

    def whole(make: Make) -> Make:
        def made(folder: Path) -> tuple[Path, Path]:
            return make(folder)[0], folder

        return made

    return {f"formats {name}": whole(make) for _, name, make in module.FORMATS}


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
    "json": sidecar,
    **of_the_tests(),
}


@dataclass(frozen=True)
class Good:
    """A good file, made once: what is opened, and the content of the files that may be damaged."""

    opened: Path
    content: dict[Path, bytes]


def made(make: Make, folder: Path) -> Good:
    """Make a good file in ``folder``."""
    folder.mkdir(parents=True)
    opened, target = make(folder)
    files = [target] if target.is_file() else sorted(path for path in target.rglob("*") if path.is_file())
    return Good(opened, {path: path.read_bytes() for path in files})


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
            width = chance.choice([2, 4, 8])
            value = chance.choice([0, 1, 2 ** (8 * width - 1) - 1, 2 ** (8 * width - 1), 2 ** (8 * width) - 1])
            found[at : at + width] = value.to_bytes(width, chance.choice(["little", "big"]))
        elif kind == 4:
            found[at:at] = found[at : at + 40]
        elif words := list(re.finditer(rb"[\w.+-]+", bytes(found[:4096]))):
            word = chance.choice(words)
            found[word.start() : word.end()] = chance.choice([*ODD, chance.choice(words)[0]])
    return bytes(found)


def read_volume(opened: Path) -> str:
    """Open a volume and read all of it; return its warnings."""
    with open_volume(opened) as volume:
        volume.read(Box.of_shape(tuple(min(n, 64) for n in volume.shape)))  # type: ignore[arg-type]
        return " ".join(volume.warnings)


def trial(opened: Path, read: Callable[[Path], str] = read_volume) -> str | None:
    """Read a file; return what is wrong with how that ended, None if nothing.

    Args:
        opened: the file.
        read: how; returns what it says.
    """
    faulthandler.dump_traceback_later(HANGS_AFTER_S, exit=True)
    began = time.process_time()
    try:
        said, wrong = read(opened), ""
    except Ps3dError as error:
        said = str(error)
        names = {opened.name, *(path.name for path in opened.parent.rglob("*"))}
        wrong = "" if any(name in said for name in names) else "a message without the file's name: "
    except BaseException:  # noqa: BLE001 - whatever comes is the finding
        return traceback.format_exc()
    finally:
        faulthandler.cancel_dump_traceback_later()
    if (seconds := time.process_time() - began) > MOST_SECONDS:
        return f"{seconds:.0f} s of computing"
    bad = WORDS.search(said)
    wrong = f"a message with '{bad[0]}': " if bad else wrong
    return f"{wrong}{said}" if wrong else None


def one(good: Good, others: list[bytes], chance: random.Random, attempt: Trial = trial) -> str | None:
    """Damage one file of ``good``, try it, and leave it damaged if something is wrong."""
    target = chance.choice(list(good.content))
    content = damaged(good.content[target], chance)
    if chance.random() < 0.02:
        content = chance.choice(others)
    elif chance.random() < 0.02:
        content = good.content[target][: chance.randrange(len(good.content[target]) + 1)] + chance.choice(others)
    target.unlink()  # never written into: a reader may have it mapped still
    target.write_bytes(content)
    wrong = attempt(good.opened)
    if wrong is None:
        target.unlink()
        target.write_bytes(good.content[target])
    return wrong


def try_files(program_of: Callable[[], Program], names: list[str], seed: int, folder: Path, news: Connection) -> None:
    """Try damaged files for ever, in a process that may die of it, and send what was tried and found."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    program, chance = program_of(), random.Random(seed)
    goods = {name: made(program.seeds[name], folder / name) for name in names}
    others = [content for good in goods.values() for content in good.content.values()]
    before = limited_memory()
    for name in itertools.cycle(names):
        news.send((name, None))  # where it is, should it die there
        wrong = one(goods[name], others, chance, program.trial)
        if wrong is None and (peak := peak_bytes()) > before + MOST_BYTES:
            wrong, before = f"{(peak - before) / 2**30:.1f} GiB of memory", peak
        if wrong is not None:
            news.send((name, wrong))
            news.recv()  # the files are copied
            for path, content in goods[name].content.items():
                path.unlink(missing_ok=True)
                path.write_bytes(content)


def peak_bytes() -> int:
    """Return the most memory that this process had so far."""
    return 0 if resource is None else int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024


def limited_memory() -> int:
    """Let allocations fail that would harm the machine; return the peak so far."""
    if resource is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (3 * MOST_BYTES, 3 * MOST_BYTES))
    return peak_bytes()


@dataclass
class Findings:
    """What was found, and the folder that keeps the files that show it."""

    keep: Path
    count: Counter[str]

    def add(self, name: str, wrong: str, files: Path) -> None:
        """Count a finding, and print the first of its kind."""
        lines = wrong.splitlines()
        where = next((line for line in reversed(lines) if "ps3d_rt" in line), "")
        kind = re.sub(r"/\S+|\d+|'[^']*'", "", f"{lines[-1]} {where}")[:200]
        self.count[kind] += 1
        if self.count[kind] == 1:
            place = self.keep / f"{len(self.count):03d} {name}"
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(files, place)
            print(f"{place}: {wrong}", flush=True)


Work = tuple[Callable[[], Program], list[str], int]
"""What makes the program in another process, the names of its seeds to try, and the seed of chance."""


def watched(work_of: Work, ends: float, work: Path, found: Findings) -> Counter[str]:
    """Have one process try files until it dies or ``ends`` has come; count what it tried."""
    tried, name = Counter[str](), work_of[1][0]
    near, far = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=try_files, args=(*work_of, work, far), daemon=True)
    process.start()
    far.close()
    try:
        while time.monotonic() < ends:
            name, wrong = near.recv()
            tried[name] += wrong is None
            if wrong is not None:
                found.add(name, wrong, work / name)
                near.send(None)
    except EOFError:  # with the place printed, if it is a hang
        process.join()
        found.add(name, f"the process ended with {process.exitcode}", work / name)
    finally:
        process.kill()
        process.join()
        near.close()
    return tried


def add_result(path: Path, benchmark: str, run: dict[str, Any]) -> None:
    """Add a run to those in ``path``, and count the files of all."""
    earlier = json.loads(path.read_text(encoding="utf-8"))["runs"] if path.exists() else []
    runs = [*earlier, run]
    totals = {name: sum(one[name] for one in runs) for name in ("files", "findings")}
    write_result(path, {"benchmark": benchmark, **totals, "runs": runs})


def readers() -> Program:
    """Give what this script tries."""
    return Program("fuzz_readers", __doc__ or "", SEEDS, trial)


def main(arguments: list[str], program_of: Callable[[], Program] = readers) -> int:
    """Run until the time is up."""
    program = program_of()
    parser = argparse.ArgumentParser(description=program.about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(program.seeds), help="kinds, with commas")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"), help="folder for the files that show one")
    parser.add_argument("--out", type=Path, help="file for the result")
    said = parser.parse_args(arguments)
    where = environment(["python", f"benchmarks/{program.name}.py", *arguments], PACKAGES)
    tried, found, names = Counter[str](), Findings(said.keep, Counter()), said.only.split(",")
    seeds, ends = itertools.count(said.seed), time.monotonic() + said.seconds
    while time.monotonic() < ends:
        with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as work:
            tried += watched((program_of, names, next(seeds)), ends, Path(work), found)
    counts = {"files": tried.total(), "findings": found.count.total(), "kinds_of_findings": len(found.count)}
    if said.out is not None:
        add_result(said.out, program.name, where | {"seconds": said.seconds, **counts, "files_of": dict(tried)})
    print(f"{counts['files']} files of {len(tried)} kinds, {counts['findings']} findings of {len(found.count)} kinds")
    return 1 if found.count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Everything there is to know about an NVIDIA GPU, in checks of less than ten minutes: ``make gpu-check``.

    python benchmarks/gpu_check.py [--only paper-60 …] [--budget-s 720] [--out DIR]
    python benchmarks/gpu_check.py --table                     what would run, and until when; runs nothing
    python benchmarks/gpu_check.py --device cpu --quick        tries the script itself, on any machine

tests           the tests that need a GPU
engine-P        every engine of the default model in fp32, fp16 or int8: built, timed, through the accuracy gate
windows-N       windows a second, every engine against PyTorch in half precision, channels last, compiled;
                N: the default network, or one of the published width with random weights
ceilings        what the device can copy and multiply; every check that needs it measures it for itself
stages          upload, resampling, blending, particles, download, each against the copy ceiling
scan            makes the scans for what follows: 997 × 1256 × 1256, a small simulated sample, mirrored
paper-…         these scans, particles 60 or 40 voxels across, from zarr on disk to labels on disk: the default model,
                the full width at 60 voxels, and with the published settings (8 mirror images, overlap 0.5)
throughput-N    ``predict`` on simulated scans of 256³ voxels, particles N voxels across

All data are simulated. A check that is done is not done again; one that takes longer than is left goes on at the next
call. Results: ``benchmarks/results/gpu_check-DEVICE-CHECK.json``. What does not run here is said in the result.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from traceback import format_exception
from typing import Any

from ps3d_bench.environment import write_result
from ps3d_bench.gpu_bench import Bench
from ps3d_bench.gpu_checks import ROOT, Check, checks
from ps3d_bench.script import add_model, result_head, run_script
from ps3d_rt.devices.gpus import find_gpu
from ps3d_rt.engines.cache import VARIABLE
from ps3d_rt.errors import CapabilityError, Ps3dError

DATA = (
    "simulated: ps3d_training.synth, one small sample mirrored to the paper's shape; weights of the full width random"
)
PACKAGES = ("torch", "onnx", "nvidia-cudnn-cu13")
BUDGET_S = 720.0
"""Of a quarter of an hour, what the start of a machine and the transfers leave."""
CHECK_S = 540.0
"""Most seconds of a check that can be stopped and gone on with."""


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    gpu = None if options.device == "cpu" else find_gpu(options.device)
    device = "cpu" if gpu is None else gpu.device
    work = options.work / ("quick" if options.quick else "whole") / device.replace(":", "-")
    done = work / "results"
    done.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault(VARIABLE, str(work / "cache"))  # engines are built here, and kept with the rest
    bench = Bench(device, options.quick, work, options.model)
    todo = checks(bench)
    if unknown := sorted(set(options.only) - todo.keys()):
        raise CapabilityError(f"there is no check {', '.join(unknown)}; there are {', '.join(todo)}.")
    about = {"device": device} | ({} if gpu is None else {"gpu": asdict(gpu)})
    name = "cpu" if gpu is None else "-".join("".join(c if c.isalnum() else " " for c in gpu.name).lower().split())
    wanted = {check: todo[check] for check in options.only or todo}
    if options.table:
        had = {check for check in wanted if _is_done(done / f"gpu_check-{name}-{check}.json")}
        print(json.dumps(timetable(wanted, had, options.budget_s), indent=2))
        return
    end = time.monotonic() + options.budget_s
    for check in wanted:
        path = done / f"gpu_check-{name}-{check}.json"
        if _is_done(path):
            _tell(check, "done already")
        elif end - time.monotonic() < todo[check].seconds and not options.quick:
            _tell(check, f"needs {todo[check].seconds:.0f} s; left for the next call")
        else:
            _measure(check, todo[check], path, end, result_head(__file__, arguments, DATA, packages=PACKAGES) | about)
        for folder in [*([] if options.quick else [options.results]), *([options.out] if options.out else [])]:
            folder.mkdir(parents=True, exist_ok=True)
            if path.exists():
                shutil.copy(path, folder)
    left = [check for check in todo if not _is_done(done / f"gpu_check-{name}-{check}.json")]
    print(json.dumps({"device": device, "results": done.as_posix(), "left": left}))


def timetable(todo: Mapping[str, Check], done: Container[str], budget_s: float) -> list[dict[str, Any]]:
    """Say which checks a call would run, and by when each has ended at the latest; those that go on may take the rest.

    >>> checks = {name: Check(dict, seconds) for name, seconds in (("a", 60), ("b", 100), ("c", 30))}
    >>> [(row["check"], row["what"], row["ends_s"]) for row in timetable(checks, {"a"}, 120)]
    [('a', 'done', 0.0), ('b', 'runs', 100.0), ('c', 'left', 100.0)]
    """
    rows, ends = [], 0.0
    for name, check in todo.items():
        what = "done" if name in done else "runs" if ends + check.seconds <= budget_s else "left"
        ends += check.seconds if what == "runs" else 0
        rows.append({"check": name, "what": what, "seconds": check.seconds, "ends_s": ends})
    return rows


def _measure(name: str, check: Check, path: Path, end: float, head: dict[str, Any]) -> None:
    _tell(name, "…")
    start = time.monotonic()
    try:
        found = check.run(limit_s=min(CHECK_S, end - start)) if check.in_parts else check.run()
    except Ps3dError as error:
        _tell(name, f"not possible here: {error}")
        found = {"not_possible": str(error)}
    except Exception as error:  # noqa: BLE001 - time on a GPU is short: the other checks are tried all the same
        _tell(name, "".join(format_exception(error)))
        found = {"not_possible": f"{type(error).__name__}: {error}"}
    if found is None:
        _tell(name, f"goes on at the next call, after {time.monotonic() - start:.0f} s")
        return
    write_result(path, head | {"check": name, "check_seconds": round(time.monotonic() - start, 1), **found})
    _tell(name, f"{time.monotonic() - start:.0f} s")


def _is_done(path: Path) -> bool:
    """Whether a check was measured; one that was not possible is tried again."""
    return path.exists() and "not_possible" not in json.loads(path.read_text(encoding="utf-8"))


def _tell(check: str, what: str) -> None:
    print(f"{check}: {what}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="cuda:N, auto for the first GPU, or cpu")
    parser.add_argument("--only", nargs="+", default=[], metavar="CHECK", help="these checks, in this order")
    parser.add_argument("--budget-s", type=float, default=BUDGET_S, help="begin nothing that would take longer")
    parser.add_argument("--table", action="store_true", help="say what would run and until when; run nothing")
    parser.add_argument("--quick", action="store_true", help="tiny inputs: does the script work?")
    parser.add_argument("--work", type=Path, default=ROOT / "work/gpu-check", help="scans, models, what is done")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks/results", help="folder for the results")
    parser.add_argument("--out", type=Path, help="folder for a copy of the results")
    add_model(parser)
    return parser


if __name__ == "__main__":
    run_script(main)

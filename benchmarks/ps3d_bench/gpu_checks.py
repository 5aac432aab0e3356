"""The checks of ``gpu_check.py``: each measures one thing on one device and gives it as JSON.

What a machine lacks is said in the result (``missing``), and the other checks go on.
"""

from __future__ import annotations

import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ps3d_bench.ceilings import ceilings, load_torch, seconds_of, waiting
from ps3d_bench.gpu_bench import Bench
from ps3d_bench.gpu_runs import run_predict
from ps3d_bench.gpu_stages import stages
from ps3d_bench.networks import Width, in_torch, operations_of, random_bundle
from ps3d_bench.throughput import SimulatedScan, measure
from ps3d_bench.throughput import scans as throughput_scans
from ps3d_rt.core.arrays import gpu_index, namespace_of
from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.engines import CPU_ENGINES, GPU_ENGINES, DeviceLimits, Engine, open_engine
from ps3d_rt.errors import CapabilityError
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.volume_writer import write_volume
from ps3d_rt.model import ModelBundle, load_model, write_bundle

ROOT = Path(__file__).resolve().parents[2]
SPACING_MM = 0.01
SEED = 915_000
"""Of the simulated samples; none of training, gate or calibration."""
TINY_CALIBRATION = ({"seed": 915_801, "count": 2, "shape": "64", "particle_size": 16.0},)
TINY_GATE = ({"seed": 915_901, "count": 1, "shape": "48", "particle_size": 16.0},)
SIZES = (20, 30, 40, 60, 90, 120)
QUARTER_HOUR_SIZES = ("throughput-40", "throughput-60", "throughput-120")
"""Those that the published times are of."""


@dataclass(frozen=True)
class Check:
    """Something to measure."""

    run: Callable[..., dict[str, Any] | None]
    """Returns the result. One ``in_parts`` takes the seconds it may last, and returns None if more is left to do."""
    seconds: float
    """The check does not begin with less time left."""
    in_parts: bool = False


def checks(bench: Bench) -> dict[str, Check]:
    """Name → check, in the order in which they are worth having; the first ones fit a quarter of an hour."""
    sizes = SIZES[:1] if bench.quick else SIZES
    by_size = {f"throughput-{size}": Check(partial(throughput, bench, size), 40) for size in sizes}
    first = {
        "tests": Check(partial(tests, bench), 150),
        "engine-fp16": Check(partial(engines, bench, "fp16"), 120),
        "windows-default": Check(partial(windows, bench, "default"), 120),
        "scan": Check(partial(paper_scan, bench), 90),
        "paper-60": Check(partial(paper, bench, 60, "default"), 90, in_parts=True),
        **{name: check for name, check in by_size.items() if name in QUARTER_HOUR_SIZES},
    }
    return (
        first
        | by_size
        | {
            "paper-60-full": Check(partial(paper, bench, 60, "full"), 60, in_parts=True),
            "paper-40": Check(partial(paper, bench, 40, "default"), 60, in_parts=True),
            "ceilings": Check(partial(ceilings, bench.device, quick=bench.quick), 60),
            "stages": Check(partial(stages, bench), 200),
            "windows-full": Check(partial(windows, bench, "full"), 400),
            "engine-int8": Check(partial(engines, bench, "int8"), 400),
            "engine-fp32": Check(partial(engines, bench, "fp32"), 300),
            "paper-60-published": Check(partial(paper, bench, 60, "published"), 60, in_parts=True),
        }
    )


def tests(bench: Bench) -> dict[str, Any]:
    """Run the tests that need a GPU; on a CPU they are all skipped."""
    report = bench.work / "tests.xml"
    where = ["tests/runtime/test_engines_gpu.py"] if bench.quick else ["tests/runtime"]
    options = ["-m", "gpu", "-q", "-p", "no:cacheprovider", "--continue-on-collection-errors", f"--junitxml={report}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *where], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if not report.exists():
        raise CapabilityError(f"pytest does not run: {(done.stderr or done.stdout).strip()[-400:]}")
    outcomes: list[dict[str, str]] = []
    for case in ET.parse(report).iter("testcase"):
        told = next((part for part in case if part.tag in ("failure", "error", "skipped")), None)
        outcome = "passed" if told is None else "failed" if told.tag != "skipped" else "skipped"
        why = "" if told is None else (told.get("message") or "").strip()[:300]
        outcomes.append({"test": f"{case.get('classname')}::{case.get('name')}", "outcome": outcome, "why": why})
    return {"counts": dict(Counter(row["outcome"] for row in outcomes)), "tests": outcomes}


def bundle_in(bench: Bench, precision: str) -> ModelBundle:
    """Give the model in a precision; exported once."""
    whole = load_model(bench.model)
    if precision == "fp32":
        return whole
    from ps3d_export.samples import CALIBRATION, simulate  # noqa: PLC0415 - heavy
    from ps3d_export.variant import export_variant  # noqa: PLC0415

    folder = bench.work / f"{whole.name}-{precision}.ps3d"
    if folder.exists():
        return load_model(folder)
    samples = None
    if precision == "int8":
        samples = simulate(bench.work / "calibration", TINY_CALIBRATION if bench.quick else CALIBRATION)
    return export_variant(whole, folder, precision=precision, samples=samples)


def random_in(bench: Bench, kind: str, precision: str = "fp16") -> ModelBundle:
    """Give the full-width network with random weights; ``published`` has the published overlap and mirror images."""
    folder = bench.work / f"{kind}-{precision}.ps3d"
    if folder.exists():
        return load_model(folder)
    if kind == "published":
        plain = random_in(bench, "full", precision)
        settings = replace(plain, name=folder.stem, mirror_axes=(0, 1, 2), overlap=0.5)
        return write_bundle(folder, settings, {name: plain.path / name for name in plain.sha256})
    if precision == "fp32":
        return random_bundle(folder, Width(4, 3, (32, 32, 32), 20.0, 2) if bench.quick else Width())
    from ps3d_export.variant import export_variant  # noqa: PLC0415 - heavy

    return export_variant(random_in(bench, kind, "fp32"), folder, precision=precision)


@contextmanager
def opened(bench: Bench, bundle: ModelBundle, name: str) -> Iterator[Engine]:
    """Open an engine where the check runs, with the memory that a run gives it."""
    limits = DeviceLimits(memory_bytes=3 * 2**30) if bench.on_gpu else None
    with open_engine(bundle, engine=name, device=bench.device, limits=limits, mirror=False) as engine:
        yield engine


def engine_names(bench: Bench) -> tuple[str, ...]:
    """Engines that could run there, the best first."""
    return GPU_ENGINES if bench.on_gpu else tuple(CPU_ENGINES)


def engines(bench: Bench, precision: str) -> dict[str, Any]:
    """Build and time every engine of the default model in a precision, and put the first through the accuracy gate."""
    from ps3d_export.engine import patches_per_s  # noqa: PLC0415 - heavy
    from ps3d_export.samples import GATE, simulate  # noqa: PLC0415
    from ps3d_export.verdicts import judge_model  # noqa: PLC0415

    bundle = bundle_in(bench, precision)
    rows, found, missing = [], [], {}
    for name in engine_names(bench):
        try:
            start = time.perf_counter()
            with opened(bench, bundle, name) as engine:
                ready = round(time.perf_counter() - start, 2)  # built, where the cache has none
                speed = round(patches_per_s(engine), 2)
                rows.append({"spec": asdict(engine.spec), "seconds_to_open": ready, "patches_per_s": speed})
                found.append(name)
        except CapabilityError as error:
            missing[name] = str(error)
    if not found:
        raise CapabilityError(f"no engine runs the model in {precision}: {missing}")
    samples = simulate(bench.work / "gate", TINY_GATE if bench.quick else GATE)
    verdict, _ = judge_model(bundle.path, engine=found[0], device=bench.device, samples=samples)
    gate = {"engine": found[0], "passed": verdict.passed, **verdict.measured}
    return {"model": bundle.name, "engines": rows, "missing": missing, "gate": gate}


def windows(bench: Bench, kind: str) -> dict[str, Any]:
    """Time windows a second: every engine in every precision against PyTorch, and their share of the matrix ceiling."""
    precisions = ("fp32", "fp16", "int8") if kind == "default" else ("fp32", "fp16")
    make = partial(bundle_in, bench) if kind == "default" else partial(random_in, bench, kind)
    whole = make("fp32")
    operations = operations_of(whole.onnx_paths[0])
    limits = ceilings(bench.device, quick=bench.quick)
    rows: list[dict[str, Any]] = []
    missing: dict[str, str] = {}
    for precision in precisions:
        for name in engine_names(bench):
            try:
                with opened(bench, make(precision), name) as engine:
                    row = {"runner": name, "model": precision, "batch": engine.spec.batch}
                    rate = _rate(operations, _windows_per_s(bench, engine))
                    rows.append(row | {"precision": engine.spec.precision} | rate)
            except CapabilityError as error:
                missing[f"{name} {precision}"] = str(error)
    for what, found in _torch_rows(bench, whole, operations):
        if isinstance(found, str):
            missing[what] = found
        else:
            rows.append(found)
    for row in rows:
        row["share_of_matrix_ceiling"] = _share(row, limits)
    return {
        "network": {"patch": whole.patch, "operations_a_window": operations},
        "ceilings": limits,
        "windows": rows,
        "missing": missing,
    }


def _rate(operations: int, per_s: float) -> dict[str, float]:
    return {"windows_per_s": round(per_s, 3), "tflop_per_s": round(per_s * operations / 1e12, 3)}


def _share(row: dict[str, Any], limits: dict[str, float]) -> float | None:
    """Give the share of the ceiling of the lowest precision that the runner computes in."""
    kinds = row["precision"].split("+")
    kind = next((k for k in ("int8", "fp16", "bf16", "tf32", "fp32") if k in kinds), "fp32")
    limit = limits.get(f"{kind}_tflop_per_s")
    return None if limit is None else round(row["tflop_per_s"] / limit, 3)


def _windows_per_s(bench: Bench, engine: Engine) -> float:
    spec, xp, gpu = engine.spec, namespace_of(bench.device), gpu_index(bench.device)
    noise = np.random.default_rng(0).standard_normal((spec.batch, 1, *spec.patch), dtype=np.float32)
    if gpu is None:
        return spec.batch / seconds_of(lambda: engine.infer(noise), lambda: None, 1 if bench.quick else 5)
    with xp.cuda.Device(gpu), xp.cuda.Stream(non_blocking=True) as stream:
        patches = xp.asarray(noise)
        calls = max(1, 32 // spec.batch)
        work: Callable[[], object] = lambda: [engine.infer(patches) for _ in range(calls)]  # noqa: E731
        return calls * spec.batch / seconds_of(work, stream.synchronize)


def _torch_rows(bench: Bench, bundle: ModelBundle, operations: int) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """The same network in PyTorch: autocast to half precision, channels last; as it comes, and compiled."""
    try:
        torch = load_torch(bench.device)
    except CapabilityError as error:
        yield "torch", str(error)
        return
    kind, half = ("cuda", torch.float16) if bench.on_gpu else ("cpu", torch.bfloat16)
    wait = waiting(torch, bench.device)
    network = in_torch(bundle.onnx_paths[0]).to(bench.device, memory_format=torch.channels_last_3d)
    if bench.on_gpu:
        torch.backends.cudnn.benchmark = True
    runners: dict[str, Any] = {"torch": network}
    if not bench.quick:
        runners["torch compiled"] = torch.compile(network)
    repeats = 1 if bench.quick else 5
    for name, runner in runners.items():
        best: dict[str, Any] | None = None
        try:
            for batch in (1,) if bench.quick else (1, 2, 4, 8):
                patches = torch.zeros((batch, 1, *bundle.patch), device=bench.device)
                patches = patches.contiguous(memory_format=torch.channels_last_3d)
                with torch.inference_mode(), torch.autocast(kind, dtype=half):
                    seconds = seconds_of(partial(runner, patches), wait, repeats)
                row = {"runner": name, "batch": batch, "precision": "fp16" if bench.on_gpu else "bf16"}
                row |= _rate(operations, batch / seconds)
                if best is None or row["windows_per_s"] > best["windows_per_s"]:
                    best = row
        except (RuntimeError, ImportError, OSError) as error:  # no compiler there, or no memory for so many
            if best is None:
                yield name, str(error)[:400]
        if best is not None:
            yield name, best


def throughput(bench: Bench, size: int) -> dict[str, Any]:
    """Run ``predict`` on a simulated scan, from disk to disk."""
    shape: Zyx = (48, 48, 48) if bench.quick else (256, 256, 256)
    rows = []
    for scan in throughput_scans(bench.work / "scans", shape, [size]):
        rows.append(measure(scan, 1 if bench.quick else 3, ["--device", bench.device]))
    return {"runs": rows, "ceilings": ceilings(bench.device, quick=bench.quick)}


def paper_scan(bench: Bench) -> dict[str, Any]:
    """Make the scans of the paper's shape: a small simulated sample, mirrored until it fills them."""
    made = [_tiled(bench, size) for size in (60, 40)]
    return {"scans": [{"path": scan.path.name, "shape": scan.shape} for scan in made]}


def _tiled(bench: Bench, size: int) -> SimulatedScan:
    shape: Zyx = (60, 72, 72) if bench.quick else (997, 1256, 1256)
    side = 48 if bench.quick else 256
    path = bench.work / "scans" / f"{'x'.join(map(str, shape))}-{size}.zarr"
    if not path.exists():
        (small, *_) = throughput_scans(bench.work / "scans", (side,) * 3, [20 if bench.quick else size])
        with open_volume(small.path) as sample:
            image = sample.read(Box.of_shape(sample.shape))
        write_volume(path, np.pad(image, [(0, n - side) for n in shape], mode="symmetric"), SPACING_MM)
    return SimulatedScan(path, shape, size)


def paper(bench: Bench, size: int, kind: str, limit_s: float) -> dict[str, Any] | None:
    """Segment the scan of the paper's shape, from zarr on disk to labels on disk; None if it is to go on.

    The network is in half precision; on a CPU, where that runs as fp32 or bf16, too.
    """
    scan = _tiled(bench, size)
    bundle = bundle_in(bench, "fp16") if kind == "default" else random_in(bench, kind)
    size_mm = (20 if bench.quick else size) * SPACING_MM
    options = ["--particle-size", f"{size_mm:.6g}", "--device", bench.device, "--model", str(bundle.path)]
    ran = run_predict(scan.path, bench.work / "runs" / f"{scan.path.stem}-{kind}", options, limit_s, bench.device)
    if ran is None:
        return None
    limits = ceilings(bench.device, quick=bench.quick)
    run = ran["run"]
    operations = operations_of(bundle.onnx_paths[0]) * run["patches"]["computed"] * (8 if kind == "published" else 1)
    seconds = run["seconds"]
    after = sum(seconds[name] for name in ("particles", "confidence", "table", "labels"))
    rate = {"precision": run["engine"]["precision"], "tflop_per_s": operations / 1e12 / seconds["network"]}
    source, normalized = prod(run["scan"]["shape"]), prod(run["parameters"]["normalized_shape"])
    # Least bytes: classes in and labels out; labels in, gray values in; labels in and out.
    least = {"particles": 5 * normalized, "table": 4 * normalized + 2 * source, "labels": 4 * normalized + 4 * source}
    return {
        "model": bundle.name,
        "seconds": ran["seconds"],
        "parts": ran["parts"],
        "stages_seconds": seconds,
        "particles": run["particles"],
        "patches": run["patches"],
        "engine": run["engine"],
        "engine_seconds": run["engine_seconds"],
        "after_the_network_share": round(after / max(sum(v for k, v in seconds.items() if k != "all"), 1e-9), 3),
        "peak_rss_mib": ran["peak_rss_mib"],
        "peak_gpu_mib": ran["peak_gpu_mib"],
        "gpu_mib_before": ran["gpu_mib_before"],
        "ceilings": limits,
        "network_share_of_matrix_ceiling": _share(rate, limits),
        "share_of_copy_ceiling": {
            name: round(count / 1e9 / max(seconds[name], 1e-9) / limits["copy_gb_per_s"], 5)
            for name, count in least.items()
        },
    }

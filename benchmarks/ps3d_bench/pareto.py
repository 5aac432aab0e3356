"""Speed against accuracy: which network, at which particle size, overlap and mirroring, is worth its time?

Accuracy is the mean over seven simulated samples that nothing else uses, speed that of one sample of 256³ voxels with
particles 60 voxels across. What was measured is kept in a cache under everything that decides it, so a study that was
stopped, or is given another bundle, goes on from there. Everything but the code of ps3d-rt of one version: after a
change there, use another cache.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from math import prod
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from ps3d_bench.accuracy import MEASURES
from ps3d_bench.accuracy_samples import DENSE, LOOSE, SAMPLES
from ps3d_bench.environment import machine, write_result
from ps3d_bench.samples import Case, generator_hash, load_cases
from ps3d_rt.core.metrics import evaluate
from ps3d_rt.engines import DeviceLimits, open_engine
from ps3d_rt.engines.base import Engine
from ps3d_rt.errors import InputError
from ps3d_rt.io.atomic_write import atomic_write
from ps3d_rt.io.base import ArrayVolume
from ps3d_rt.model import ModelBundle, load_model
from ps3d_rt.pipeline import predict_volume
from ps3d_rt.predict_options import PredictOptions, configure
from ps3d_rt.versions import versions
from ps3d_training.synth import SampleSpec, random_spec

FIRST_SEED = 880_001
OVERLAPS = (0.25, 0.4, 0.5)
SPEED_SIZE_VOXELS, SPEED_SIDE = 60.0, 256
_SIZES = ((LOOSE, (12, 17, 24, 40)), (DENSE, (14, 20, 32)))

Row = dict[str, Any]


@dataclass(frozen=True)
class Point:
    """One setting of the study."""

    label: str
    """What the caller calls the bundle."""
    bundle: ModelBundle
    """With the target size that is tried."""
    trained_at_voxels: float
    """The target size that the bundle came with."""
    overlap: float
    mirror: bool
    """Average over mirror images, along the bundle's axes or else all three."""

    def described(self) -> Row:
        """Give the columns that say which point this is."""
        plan = self.bundle.provenance.get("training_plan", {})
        return {
            "bundle": self.label,
            "sha256": self.bundle.hash,
            "networks": len(self.bundle.members),
            "width": plan.get("width"),
            "norm": plan.get("norm", "instance") if plan else None,
            "target_size_voxels": self.bundle.target_size_voxels,
            "trained_at_voxels": self.trained_at_voxels,
            "overlap": self.overlap,
            "bundle_overlap": self.bundle.overlap,
            "passes": 2 ** len(self.bundle.mirror_axes or (0, 1, 2)) if self.mirror else 1,
        }


def accuracy_specs(first_seed: int = FIRST_SEED) -> tuple[SampleSpec, ...]:
    """Four loose samples and three dense ones, six particles to a side, seeds in a row.

    Raises:
        InputError: if a seed is one of ``ps3d-rt bench accuracy``: nothing is chosen on those.
    """
    sizes = [(fixed, size) for fixed, sizes in _SIZES for size in sizes]
    blind = {sample.spec.seed for sample in SAMPLES}
    if first_seed < 1 or blind & set(range(first_seed - 1, first_seed + len(sizes))):
        raise InputError(
            f"seeds from {first_seed} on are not free: {min(blind)} to {max(blind)} are those of bench accuracy, on "
            f"which nothing is chosen, and a seed is above 0. Use {FIRST_SEED}, or another."
        )
    return tuple(
        random_spec(first_seed + number, particle_size_voxels=size, **fixed)
        for number, (fixed, size) in enumerate(sizes)
    )


def speed_spec(first_seed: int = FIRST_SEED) -> SampleSpec:
    """Describe the sample that is timed: the seed before those of :func:`accuracy_specs`."""
    return random_spec(
        first_seed - 1, particle_size_voxels=SPEED_SIZE_VOXELS, shape=(SPEED_SIDE,) * 3, container=False, **LOOSE
    )


def points_of(
    text: str, overlaps: Sequence[float] = OVERLAPS, mirrored: Collection[str] | None = None
) -> Iterator[Point]:
    """List the points of one bundle.

    At its own target size: all overlaps and the bundle's own, with and without mirrors; at another: all overlaps,
    without mirrors.

    Args:
        text: ``NAME=BUNDLE``, or ``NAME=BUNDLE@20,24,60`` with the target sizes to try beside its own.
        overlaps: shares of a patch.
        mirrored: names of the bundles that are run with mirrors too; None: all.

    Raises:
        InputError: if the text is none of these, or there is no such bundle.
    """
    label, equals, rest = text.partition("=")
    path, _, words = rest.partition("@")
    try:
        sizes = [float(word) for word in words.split(",")] if words else []
    except ValueError:
        path = ""
    if not (label and equals and path):
        raise InputError(f"{text!r} is no bundle to study; write NAME=BUNDLE or NAME=BUNDLE@20,32 (target sizes).")
    bundle = load_model(path)
    own = bundle.target_size_voxels
    for size in sorted({own, *sizes}):
        sized = replace(bundle, target_size_voxels=size)
        for overlap in sorted({*overlaps, bundle.overlap}):
            for mirror in (False, True) if size == own and (mirrored is None or label in mirrored) else (False,):
                yield Point(label, sized, own, overlap, mirror)


@dataclass(frozen=True)
class Study:
    """Measures points, or reads what an earlier run measured.

    Accuracy and speed are kept apart: the one is the same on a busy machine.
    """

    cache: Path
    """Holds the samples, and what was measured under ``pareto``."""
    engine: str = "auto"
    device: str = "auto"
    threads: int | None = None
    repeats: int = 5
    """Timed runs, of which the median counts, after one that is not timed."""
    first_seed: int = FIRST_SEED
    time_again: bool = False
    """Do not take speeds from the cache."""

    def accuracy(self, point: Point) -> Row:
        """Measure the five measures, mean over the samples; mergers and splitters are sums."""
        specs = accuracy_specs(self.first_seed)
        return self._kept("accuracy", point, specs, partial(self._judge, point, specs))

    def speed(self, point: Point) -> Row:
        """Measure source voxels per second from an array to labels and table, without opening the engine."""
        spec = speed_spec(self.first_seed)
        here = {name: machine()[name] for name in ("cpu", "usable_cores")} | {"repeats": self.repeats}
        return self._kept("speed", point, [spec], partial(self._time, point, spec), fresh=self.time_again, **here)

    def _judge(self, point: Point, specs: Sequence[SampleSpec], engine: Engine) -> Row:
        samples = {}
        for case in load_cases(self.cache, specs):
            labels = _labels(point, engine, case, case.particle_size_mm, self.threads)
            samples[case.name] = asdict(evaluate(labels, case.reference))
        found = list(samples.values())
        means = {name: round(float(np.mean([one[name] for one in found])), 4) for name in MEASURES}
        sums = {name: sum(one[name] for one in found) for name in ("mergers", "splitters")}
        each = {name: round(one["f1_instance"], 4) for name, one in samples.items()}
        return {**means, **sums, "f1_instance_of_samples": each}

    def _time(self, point: Point, spec: SampleSpec, engine: Engine) -> Row:
        (case,) = load_cases(self.cache, [spec])
        size_mm = spec.particle_size_voxels * spec.spacing_mm
        seconds = []
        for _ in range(self.repeats + 1):
            start = time.perf_counter()
            _labels(point, engine, case, size_mm, self.threads)
            seconds.append(time.perf_counter() - start)
        timed = seconds[1:]
        return {
            "mvoxels_per_s": round(prod(case.image.shape) / median(timed) / 1e6, 3),
            "seconds": [round(value, 3) for value in timed],
            "engine": _what_ran(engine),
            "timed_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "load_average_1_min": machine()["load_average_1_min"],
        }

    def _kept(
        self,
        kind: str,
        point: Point,
        specs: Sequence[SampleSpec],
        measure: Callable[[Engine], Row],
        *,
        fresh: bool = False,
        **more: Any,
    ) -> Row:
        """Read the row of everything that decides it; measure it first if it is not there."""
        manifest = {name: value for name, value in point.bundle.to_json().items() if name != "provenance"}
        asked: dict[str, Any] = {"engine": self.engine, "device": self.device}
        with open_engine(
            point.bundle, **asked, mirror=point.mirror, limits=DeviceLimits(threads=self.threads)
        ) as engine:
            decides = {
                "bundle": manifest,
                "overlap": point.overlap,
                "mirror": point.mirror,
                "engine": _what_ran(engine) | {"threads": self.threads},
                "versions": versions(),
                "samples": [generator_hash(), [asdict(spec) for spec in specs]],
                **more,
            }
            stamp = sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
            path = self.cache / "pareto" / f"{kind}-{stamp[:16]}.json"
            if fresh or not path.exists():
                with atomic_write(path, overwrite=True) as unfinished:
                    write_result(unfinished, measure(engine))
        row: Row = json.loads(path.read_text(encoding="utf-8"))
        return row


def _labels(point: Point, engine: Engine, case: Case, size_mm: float, threads: int | None) -> np.ndarray[Any, Any]:
    scan = ArrayVolume(case.image, case.spacing_mm)
    options = PredictOptions(particle_size=size_mm, overlap=point.overlap, threads=threads)
    config = configure(scan, point.bundle, options)
    labels: np.ndarray[Any, Any] = predict_volume(scan, point.bundle, engine, config).labels
    return labels


def _what_ran(engine: Engine) -> Row:
    return {name: getattr(engine.spec, name) for name in ("name", "device", "precision")}

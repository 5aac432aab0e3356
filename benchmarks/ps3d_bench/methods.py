"""The methods of ``ps3d-rt bench accuracy``: what each is given, and how it turns a sample into labels."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ps3d_bench.accuracy_samples import TUNING
from ps3d_bench.baselines import snow as snow_baseline
from ps3d_bench.baselines import threshwater, unet2d, watershed
from ps3d_bench.baselines.unet2d import SliceNetwork
from ps3d_bench.samples import Case, load_cases
from ps3d_rt.core.arrays import Array
from ps3d_rt.engines import DeviceLimits, open_engine
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import ArrayVolume
from ps3d_rt.io.samples import find_samples
from ps3d_rt.model import ModelBundle
from ps3d_rt.pipeline import predict_volume
from ps3d_rt.predict_options import PredictOptions, configure

MOST_TRAINING_SAMPLES = 8
"""Of a folder: tuning on all of a hundred volumes would take a day and change little."""


@dataclass(frozen=True)
class Method:
    """A row of the tables."""

    title: str
    what: str
    """What it is given and what it was tuned on, for people."""
    slow: bool = False
    """Left out unless asked for."""
    of_model: bool = False
    """Whether its answer depends on the model that is judged."""


METHODS = {
    "ps3d-rt": Method("ps3d-rt", "as installed: the bundle's overlap, one pass", of_model=True),
    "ps3d-rt-published": Method(
        "ps3d-rt, published settings", "overlap 0.5, 8 mirror images a patch", slow=True, of_model=True
    ),
    "threshwater": Method(
        "ThreshWater",
        "threshold the best for the sample's true foreground; opening and erosion tuned on training samples",
    ),
    "threshwater-best": Method(
        "ThreshWater, tuned on the sample", "all three settings the best for this very sample's reference", slow=True
    ),
    "unet2d": Method("2-D U-Net + watershed", "opening and erosion tuned on training samples", slow=True),
    "snow": Method("SNOW on our foreground", "foreground of ps3d-rt, the published defaults", of_model=True),
    "snow-true": Method("SNOW on the true foreground", "foreground of the reference, the published defaults"),
}
"""By the name that ``--methods`` takes, in the order of the tables."""


@dataclass(frozen=True)
class Segmented:
    """What a method made of a sample."""

    labels: Array
    """(z, y, x) ids."""
    seconds: float
    """Wall clock of this one pass, without any tuning."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Settings, and what ran: JSON."""


Segmenter = Callable[[Case], Segmented]


def choose_methods(words: str) -> tuple[str, ...]:
    """Take methods by their names, in the order of the tables.

    Args:
        words: names with commas between; ``fast`` is all that are not slow.

    Raises:
        InputError: if a word is none.

    >>> choose_methods("snow,ps3d-rt")
    ('ps3d-rt', 'snow')
    """
    wanted = set(words.split(","))
    if unknown := sorted(wanted - METHODS.keys() - {"fast"}):
        raise InputError(
            f"--methods names {', '.join(unknown)}; allowed are fast, {', '.join(METHODS)}, with commas between."
        )
    return tuple(name for name, method in METHODS.items() if name in wanted or ("fast" in wanted and not method.slow))


@dataclass(frozen=True)
class TrainingSamples:
    """What the peers' settings are tuned on: a folder in the published layout, or synthetic ones made on demand."""

    cache: Path
    folder: Path | None = None

    def names(self) -> list[str]:
        """Name the samples, with a hash: changed samples have other names."""
        if self.folder is not None:
            return [f"{self.folder.resolve()}: {sample.name}" for sample in self._chosen()]
        return [f"seed {spec.seed}, {sha256(repr(spec).encode()).hexdigest()[:12]}" for spec in TUNING]

    def load(self) -> Iterator[tuple[Array, Array, float]]:
        """Read image, reference and mean diameter in voxels, one sample at a time."""
        if self.folder is None:
            for case in load_cases(self.cache, TUNING):
                yield case.image, case.reference, case.particle_size_voxels
            return
        for sample in self._chosen():
            spacing_mm = float(np.cbrt(np.prod(sample.spacing_mm)))
            yield *sample.read(), sample.particle_size_mm / spacing_mm

    def _chosen(self) -> Iterable[Any]:
        return islice(find_samples(self.folder), MOST_TRAINING_SAMPLES) if self.folder is not None else ()


@dataclass(frozen=True)
class Ours:
    """ps3d-rt, as ``ps3d_rt.predict`` runs it, from an array to labels; the last sample's answer is kept."""

    bundle: ModelBundle
    engine: str = "auto"
    threads: int | None = None
    overlap: float | None = None
    mirror: bool | None = None
    _kept: dict[str, Segmented] = field(default_factory=dict)

    def __call__(self, case: Case) -> Segmented:
        if case.name not in self._kept:
            self._kept.clear()
            self._kept[case.name] = self._run(case)
        return self._kept[case.name]

    def _run(self, case: Case) -> Segmented:
        start = time.perf_counter()
        scan = ArrayVolume(case.image, case.spacing_mm)
        options = PredictOptions(particle_size=case.particle_size_mm, overlap=self.overlap, threads=self.threads)
        config = configure(scan, self.bundle, options)
        limits = DeviceLimits(threads=self.threads)
        with open_engine(self.bundle, engine=self.engine, mirror=self.mirror, limits=limits) as ready:
            result = predict_volume(scan, self.bundle, ready, config)
        seconds = time.perf_counter() - start
        facts = {"stages_seconds": result.run["seconds"]}
        facts |= {name: result.run[name] for name in ("engine", "parameters", "patches")}
        return Segmented(result.labels, seconds, facts)


@dataclass(frozen=True)
class Lab:
    """Everything that the methods need, opened or tuned when the first of them asks for it."""

    bundle: ModelBundle
    cache: Path
    engine: str = "auto"
    threads: int | None = None
    training: Path | None = None
    unet2d: Path | None = None

    def segmenters(self, names: Iterable[str]) -> dict[str, Segmenter]:
        """Give the methods of these names.

        Raises:
            InputError: if the 2-D U-Net is among them without its network.
        """
        known: dict[str, Segmenter] = {
            "ps3d-rt": self.ours,
            "ps3d-rt-published": Ours(self.bundle, self.engine, self.threads, overlap=0.5, mirror=True),
            "threshwater": self._threshwater,
            "threshwater-best": _threshwater_best,
            "unet2d": self._unet2d,
            "snow": lambda case: _timed(snow_baseline.snow, self.ours(case).labels > 0),
            "snow-true": lambda case: _timed(snow_baseline.snow, case.reference > 0),
        }
        chosen = {name: known[name] for name in names}
        if "unet2d" in chosen and self.unet2d is None:
            raise InputError("the method unet2d needs its network: pass an ONNX file with --unet2d.")
        return chosen

    @cached_property
    def ours(self) -> Ours:
        return Ours(self.bundle, self.engine, self.threads)

    def _threshwater(self, case: Case) -> Segmented:
        cut = self._threshwater_cut
        erosion_voxels = cut["erosion_share"] * case.particle_size_voxels
        threshold = threshwater.threshold_for(case.image, case.reference)
        settings = threshwater.Settings(threshold, cut["opening_voxels"], erosion_voxels)
        return _timed(partial(threshwater.threshwater, settings=settings), case.image, settings=asdict(settings), **cut)

    def _unet2d(self, case: Case) -> Segmented:
        tuned = self._unet2d_cut
        cut = watershed.Cut(tuned["opening_voxels"], tuned["erosion_share"])

        def run(image: Array) -> Array:
            return cut.apply(self._slice_network.foreground(image), case.particle_size_voxels)

        return _timed(run, case.image, **tuned)

    @cached_property
    def _slice_network(self) -> SliceNetwork:
        if self.unet2d is None:
            raise InputError("the 2-D U-Net has no network.")
        return SliceNetwork(self.unet2d, self.threads)

    @cached_property
    def _threshwater_cut(self) -> dict[str, Any]:
        def foreground(image: Array, reference: Array) -> Array:
            return np.asarray(image > threshwater.threshold_for(image, reference))

        return self._cut("threshwater", foreground, Path(threshwater.__file__).read_bytes())

    @cached_property
    def _unet2d_cut(self) -> dict[str, Any]:
        network = self._slice_network  # says that the file cannot be read before anything is made
        read = Path(unet2d.__file__).read_bytes() + Path(str(self.unet2d)).read_bytes()
        return self._cut("unet2d", lambda image, _: network.foreground(image), read)

    def _cut(self, name: str, foreground: Callable[[Array, Array], Array], depends_on: bytes) -> dict[str, Any]:
        """Tune opening and erosion on the training samples, or read what an earlier run found with the same inputs."""
        samples = TrainingSamples(self.cache, self.training)

        def tune() -> dict[str, Any]:
            labelled = [
                watershed.Labelled(foreground(image, reference), reference, size)
                for image, reference, size in samples.load()
            ]
            cut, f1_instance, tried = watershed.tune_cut(labelled)
            found = {"training_f1_instance": f1_instance, "settings_tried": tried, "tuned_on": samples.names()}
            return asdict(cut) | found

        stamp = sha256(depends_on + _watershed_source() + "\n".join(samples.names()).encode()).hexdigest()
        return _kept(self.cache / f"{name}-cut-{stamp[:12]}.json", tune)


def _threshwater_best(case: Case) -> Segmented:
    def tune() -> dict[str, Any]:
        start = time.perf_counter()
        tuned = threshwater.tune(case.image, case.reference, case.particle_size_voxels)
        seconds = round(time.perf_counter() - start, 1)
        return {"settings": asdict(tuned.settings), "settings_tried": tuned.tried, "tuning_seconds": seconds}

    stamp = sha256(Path(threshwater.__file__).read_bytes() + _watershed_source()).hexdigest()
    tuned = _kept(case.folder / f"threshwater-{stamp[:12]}.json", tune)
    settings = threshwater.Settings(**tuned["settings"])
    return _timed(partial(threshwater.threshwater, settings=settings), case.image, **tuned)


def _timed(method: Callable[[Array], Array], volume: Array, **facts: Any) -> Segmented:
    start = time.perf_counter()
    labels = method(volume)
    return Segmented(labels, time.perf_counter() - start, facts)


def _watershed_source() -> bytes:
    return Path(watershed.__file__).read_bytes()


def _kept(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Read the JSON file at ``path``; make it first if it is not there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(make(), indent=2) + "\n", encoding="utf-8")
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content

"""Samples on disk, in the layout of the published tools: images, instance_seg, metadata.json.

The source ``physics`` adds phases: which material takes most of a voxel.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ps3d_rt.errors import InputError
from ps3d_rt.io.volume_writer import write_volume
from ps3d_training.synth.from_labels import LabelSource
from ps3d_training.synth.physics import PhysicsSpec, make_physics_sample
from ps3d_training.synth.physics.from_labels import labelled_sample
from ps3d_training.synth.sample import SimulatedSample, make_sample
from ps3d_training.synth.spec import SampleSpec

LISTING = "metadata.json"


def read_metadata(folder: Path) -> dict[str, dict[str, Any]]:
    """Read sample name → spacing and particle size in mm, and what was simulated; empty without a listing."""
    listing = folder / LISTING
    content: dict[str, dict[str, Any]] = json.loads(listing.read_text(encoding="utf-8")) if listing.exists() else {}
    return content


def write_samples(
    folder: Path, specs: Iterable[SampleSpec | PhysicsSpec], source: LabelSource | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Make and write the samples that ``folder`` does not hold yet.

    Each sample's entry of ``metadata.json`` is written last, so what it lists is complete.

    Args:
        folder: is made where it is not there.
        specs: one for each sample, with seeds of their own.
        source: cut the grains from these labels; without, they are simulated too.

    Yields:
        name and facts of every sample as it is written.

    Raises:
        InputError: if the folder holds another sample of the same seed.
    """
    metadata = read_metadata(folder)
    for spec in specs:
        name = sample_name(spec, source)
        if name in metadata:
            _check_same(metadata[name], spec, folder / name, only_gray=source is not None)
            continue
        sample = make(spec, source)
        arrays = {"images": sample.image, "instance_seg": sample.labels, "phases": sample.phases}
        for kind, array in arrays.items():
            if array is None:
                continue
            path = folder / kind / f"{name}.zarr"
            shutil.rmtree(path, ignore_errors=True)  # not listed: left behind by a run that was stopped
            write_volume(path, array, spec.spacing_mm)
        metadata[name] = sample.metadata()
        (folder / LISTING).write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")
        yield name, sample.facts


def sample_name(spec: SampleSpec | PhysicsSpec, source: LabelSource | None = None) -> str:
    """Name of the sample in its folder."""
    if isinstance(spec, PhysicsSpec):
        return source.sample_name(spec.seed, "physics_") if source else f"physics_{spec.seed:05d}"
    return source.sample_name(spec.seed) if source else f"synth_{spec.seed:05d}"


def make(spec: SampleSpec | PhysicsSpec, source: LabelSource | None = None) -> SimulatedSample:
    """Make the sample of a spec, with grains cut from ``source`` if there is one."""
    if isinstance(spec, PhysicsSpec):
        return labelled_sample(source, spec) if source else make_physics_sample(spec)
    return source.sample(spec) if source else make_sample(spec)


def _check_same(entry: dict[str, Any], spec: SampleSpec | PhysicsSpec, path: Path, *, only_gray: bool) -> None:
    # A field that an older listing lacks had its default's meaning.
    known = type(spec)().simulated() | entry.get("simulated", {})
    wanted, found = json.loads(json.dumps(spec.simulated(only_gray=only_gray))), json.loads(json.dumps(known))
    different = sorted(name for name, value in wanted.items() if found[name] != value)
    if different:
        raise InputError(f"{path} exists with another {', '.join(different)}; choose another folder or seed.")

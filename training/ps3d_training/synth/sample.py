"""Put a sample together: particles, spacers, gray values, scanner."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from ps3d_rt.core.arrays import Array
from ps3d_rt.errors import InputError
from ps3d_training.synth.artifacts import scan
from ps3d_training.synth.container import container_inside
from ps3d_training.synth.gray import render
from ps3d_training.synth.packing import Packer, Packing
from ps3d_training.synth.spec import SampleSpec
from ps3d_training.synth.surfaces import Surfaces, surfaces_of
from ps3d_training.synth.truth import connected, facts_of


class Spec(Protocol):
    """What a sample of any source is described by."""

    @property
    def seed(self) -> int:
        """Decides everything that the other fields do not."""

    @property
    def spacing_mm(self) -> float:
        """Side of a voxel."""

    def simulated(self, *, only_gray: bool = False) -> dict[str, Any]:
        """List what was asked for; ``only_gray`` without what describes a packing."""


@dataclass(frozen=True)
class SimulatedSample:
    """A synthetic scan and its truth."""

    image: Array
    """(z, y, x) uint16."""
    labels: Array
    """(z, y, x) uint32: particles 1..N, 0 elsewhere; spacer grains are not particles."""
    spec: Spec
    facts: dict[str, Any]
    """What came out: ``particles``, ``mean_diameter_voxels``, ``touching``, ``fill``."""
    origin: dict[str, Any] = field(default_factory=dict)
    """Where the labels were cut from; empty where the grains are simulated too."""
    phases: Array | None = None
    """(z, y, x) uint8, the material that takes most of a voxel; from the source ``physics`` only."""
    materials: tuple[str, ...] = ()
    """Names of the materials, in the order of their numbers in ``phases``."""

    @property
    def particle_size_mm(self) -> float:
        """Mean equivalent diameter of the particles."""
        return float(self.facts["mean_diameter_voxels"]) * self.spec.spacing_mm

    def metadata(self) -> dict[str, Any]:
        """Give the sample's entry of ``metadata.json``."""
        entry = {
            "spacing": self.spec.spacing_mm,
            "particle_size": round(self.particle_size_mm, 6),
            "simulated": self.spec.simulated(only_gray=bool(self.origin)),
            "came_out": self.facts,
        }
        entry |= {"phases": list(self.materials)} if self.materials else {}
        return entry | ({"labels": self.origin} if self.origin else {})


def make_sample(spec: SampleSpec) -> SimulatedSample:
    """Make one labelled synthetic sample. Equal specs give equal bytes.

    Raises:
        InputError: from :class:`SampleSpec`, when a field is out of range.
    """
    place, paint, measure = np.random.default_rng(spec.seed).spawn(3)
    _, inside = container_inside(spec)
    packing = Packer(spec, place, inside).run()
    labels = connected(packing.labels)
    image = _image_of(packing.surfaces, spec, (place, paint, measure), inside)
    inside_voxels = int(inside.sum())
    facts = facts_of(labels, inside_voxels=inside_voxels, otherwise_voxels=spec.particle_size_voxels)
    return SimulatedSample(image, labels, spec, facts)


def image_of(labels: Array, spec: SampleSpec) -> Array:
    """Simulate the scan of grains whatever made their ``labels``: the gray values, spacers and artifacts of ``spec``.

    Fields about the packing are not looked at, and there is no container. Equal arguments give equal bytes.

    Args:
        labels: (z, y, x) unsigned, 0 between the grains; left as they are.
        spec: its shape is that of ``labels``.

    Returns:
        (z, y, x) uint16.

    Raises:
        InputError: if the shapes differ.
    """
    if labels.shape != spec.shape:
        raise InputError(f"the labels are {labels.shape} voxels and the spec's shape is {spec.shape}; give the same.")
    spec = replace(spec, container=False)
    place, paint, measure = np.random.default_rng(spec.seed).spawn(3)
    return _image_of(surfaces_of(labels), spec, (place, paint, measure), np.ones(labels.shape, bool))


def _image_of(grains: Surfaces, spec: SampleSpec, generators: tuple[np.random.Generator, ...], inside: Array) -> Array:
    place, paint, measure = generators
    spacers = _spacers(spec, grains, place, inside)
    return scan(render(spec, grains, spacers.surfaces, paint), spec, measure)


def _spacers(spec: SampleSpec, particles: Surfaces, rng: np.random.Generator, inside: Array) -> Packing:
    """Sugar-like grains in the room that the particles left: compact, of one size, clear of particles or not."""
    if not spec.spacers:
        return Packing.empty(spec.shape)
    free = inside & (particles.level > 0)
    compact = replace(spec, fill=spec.spacers, touching=0.3, roundness=0.4, elongation=0.15, size_spread=0.2)
    alike = replace(compact, fines=0.0, flakes=0.0, needles=0.0)
    return Packer(alike, rng, free).run()

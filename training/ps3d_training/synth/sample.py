"""Put a sample together: particles, spacers, gray values, scanner."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ps3d_training.synth.artifacts import scan
from ps3d_training.synth.gray import container_inside, render
from ps3d_training.synth.packing import Packer, Packing, connected, touching_share
from ps3d_training.synth.spec import SampleSpec

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Sample:
    """A synthetic scan and its truth."""

    image: Array
    """(z, y, x) uint16."""
    labels: Array
    """(z, y, x) uint32: particles 1..N, 0 elsewhere; spacer grains are not particles."""
    spec: SampleSpec
    facts: dict[str, Any]
    """What came out: ``particles``, ``mean_diameter_voxels``, ``touching``, ``fill``."""

    @property
    def particle_size_mm(self) -> float:
        """Mean equivalent diameter of the particles."""
        return float(self.facts["mean_diameter_voxels"]) * self.spec.spacing_mm

    def metadata(self) -> dict[str, Any]:
        """Give the sample's entry of ``metadata.json``."""
        return {
            "spacing": self.spec.spacing_mm,
            "particle_size": round(self.particle_size_mm, 6),
            "simulated": asdict(self.spec),
            "came_out": self.facts,
        }


def make_sample(spec: SampleSpec) -> Sample:
    """Make one labelled synthetic sample. Equal specs give equal bytes.

    Raises:
        InputError: from :class:`SampleSpec`, when a field is out of range.
    """
    place, paint, measure = np.random.default_rng(spec.seed).spawn(3)
    _, inside = container_inside(spec)
    packing = Packer(spec, place, inside).run()
    labels = connected(packing.labels)
    spacers = _spacers(spec, packing, place, inside)
    image = scan(render(spec, packing, spacers, paint), spec, measure)
    facts = {
        "particles": int(labels.max()),
        "mean_diameter_voxels": _mean_diameter(labels) or spec.particle_size_voxels,
        "touching": touching_share(labels),
        "fill": float((labels > 0).sum() / inside.sum()),
    }
    return Sample(image, labels, spec, facts)


def _mean_diameter(labels: Array) -> float:
    """Mean equivalent diameter, voxels, of the labels that the volume's faces do not cut; 0 without any."""
    diameters = np.cbrt(6 / np.pi * np.bincount(labels.ravel()))
    cut = np.unique(np.concatenate([np.take(labels, (0, -1), axis).ravel() for axis in range(3)]))
    whole = np.delete(diameters, np.union1d(cut, 0))
    return float(whole.mean()) if len(whole) else 0.0


def _spacers(spec: SampleSpec, particles: Packing, rng: np.random.Generator, inside: Array) -> Packing:
    """Sugar-like grains in the room that the particles left: compact, of one size, clear of particles or not."""
    if not spec.spacers:
        return Packing.empty(spec.shape)
    free = inside & (particles.level > 0)
    sugar = replace(spec, fill=spec.spacers, touching=0.3, roundness=0.4, elongation=0.15, size_spread=0.2)
    return Packer(sugar, rng, free).run()

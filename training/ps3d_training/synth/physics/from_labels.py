"""Scans by physics over real grains: crops of a segmentation, filled with minerals and scanned."""

from __future__ import annotations

from typing import Any

from ps3d_training.synth.from_labels import LabelSource
from ps3d_training.synth.physics.compose import materials_in
from ps3d_training.synth.physics.sample import physics_image_of
from ps3d_training.synth.physics.spec import PhysicsSpec
from ps3d_training.synth.physics.variety import random_physics_spec
from ps3d_training.synth.sample import SimulatedSample


def labelled_spec(source: LabelSource, seed: int, **fixed: Any) -> PhysicsSpec:
    """Draw minerals and scan for a sample that can be cut from ``source``; particles become no larger than they are.

    Args:
        source: the segmentation.
        seed: decides place, orientation and all that is drawn.
        fixed: as for :func:`random_physics_spec`, without what describes a packing.

    Raises:
        InputError: if the shape does not fit into the labels at that scale.
    """
    size = fixed.pop("particle_size_voxels", None)
    drawn = random_physics_spec(seed)
    size = min(source.mean_diameter_voxels, drawn.grains.particle_size_voxels) if size is None else float(size)
    zoom = size / source.mean_diameter_voxels
    sides = [int(n * zoom + 0.01) for n in source.labels.shape]
    shape = fixed.pop("shape", None) or (min(*sides, *drawn.grains.shape),) * 3
    source.check_fits(shape, sides, size)
    fixed |= {"particle_size_voxels": round(size, 4), "shape": shape, "container": False}
    fixed.setdefault("spacing_mm", round(drawn.spacing_mm * drawn.grains.shape[1] / shape[1], 5))
    return random_physics_spec(seed, **fixed)


def labelled_sample(source: LabelSource, spec: PhysicsSpec) -> SimulatedSample:
    """Cut the labels of one sample and scan them. Equal specs give equal bytes on one machine.

    Raises:
        InputError: if no crop with enough grains is found.
    """
    labels, facts, origin = source.cut(spec.grains)
    image, phases = physics_image_of(labels, spec)
    return SimulatedSample(image, labels, spec, facts, origin, phases, materials_in(spec))

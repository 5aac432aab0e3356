"""Labelled CT of crushed grains by the physics of a scan. Needs numpy, scipy and numba only.

spec → packing (who is where) → compose (which mineral) → projector → acquire (what a detector reads) → reconstruct
"""

from ps3d_training.synth.physics.sample import make_physics_sample
from ps3d_training.synth.physics.spec import PhysicsSpec, ScanSettings
from ps3d_training.synth.physics.variety import KINDS, random_physics_spec

__all__ = ["KINDS", "PhysicsSpec", "ScanSettings", "make_physics_sample", "random_physics_spec"]

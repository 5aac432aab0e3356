"""Labelled synthetic CT of crushed grains. Needs numpy and scipy only.

spec → shapes → packing (who is where) → gray (what the scanner would see of it) → artifacts
"""

from ps3d_training.synth.sample import Sample, make_sample
from ps3d_training.synth.spec import SampleSpec, random_spec

__all__ = ["Sample", "SampleSpec", "make_sample", "random_spec"]

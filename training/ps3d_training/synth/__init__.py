"""Labelled synthetic CT of crushed grains. Needs numpy and scipy only; the source ``physics`` numba too.

spec → shapes → packing (who is where) → gray (what the scanner would see of it) → artifacts

A second source, ``physics``, has minerals, a beam and a reconstruction in place of gray values by formula.

Labels of real grains enter where the packing leaves off: from_labels → surfaces → gray → artifacts
"""

from ps3d_training.synth.sample import SimulatedSample, image_of, make_sample
from ps3d_training.synth.spec import SampleSpec
from ps3d_training.synth.variety import NEUTRAL, random_spec

__all__ = ["NEUTRAL", "SampleSpec", "SimulatedSample", "image_of", "make_sample", "random_spec"]

"""From gray values to minerals: pure arithmetic.

phases.py        which gray values are which mineral, counted from the embedding
bins.py          bins of gray values, narrow near the embedding and wide far above it
mixture.py       what a voxel's gray value says of the minerals in it: noise, and voxels that two of them share
propose.py       phases proposed from a histogram
classify.py      one mineral a voxel, for surfaces, grains and neighbours
sums.py          what a slab of a volume knows about the minerals of its particles
unmix.py         histogram of a particle → volume of each mineral in it, with its error
table.py         one row a particle
sample.py        what a sample is made of, with intervals; frames.py: as tables
"""

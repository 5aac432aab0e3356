"""The stages that touch files or engines, each a list of tasks: pure functions of a description, safe to repeat.

segment.py: scan → border-core map. Then particles.py: border-core map → particles, which knows a store only by its
protocol. source_grid.py: particles → table and labels on the source grid. gray.py: the gray scale of a scan.
coarse.py: how large its particles are, before a run. device.py: what a thread needs on a GPU.
"""

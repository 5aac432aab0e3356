"""The stages that touch files or engines, each a list of tasks: pure functions of a description, safe to repeat.

segment.py: scan → border-core map. Then core/particles.py: border-core map → particles, which knows a store only by its
protocol. source_grid.py: particles → table and labels on the source grid. device.py: what a thread needs on a card.
"""

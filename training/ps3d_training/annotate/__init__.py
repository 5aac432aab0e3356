"""Annotation: patches worth a person's time, a semantic step from scribbles, corrections of labels, and their folder.

pick       proposes patches of a scan, and cuts them out
scribbles  gray values and scribbles → what is particle, by a random forest
labels     the labels under correction: split, merge, delete, add, relabel, cut, undo
review     what to look at next
folder     the layout that ``ps3d-rt train prepare`` takes
plugin/    the same in napari
"""

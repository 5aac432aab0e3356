"""Minerals of a scan whose particles are known.

measured.py      scan, labels and table → phases proposed, or minerals; nothing is written
step.py          the same as the last step of a run, into the output that the run makes
of_output.py     the same of an output that is there
folder.py        the folder ``minerals`` of an output
pictures.py      particles in the colours of their minerals, for the report
"""

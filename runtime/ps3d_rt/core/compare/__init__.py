"""Two samples or more beside each other: pure arithmetic.

sample.py       the particles of a sample, of one scan or several
statistics.py   what samples are compared by, and their differences with intervals
two_sample.py   are two samples drawn from one material?
partition.py    where a separation sends what: yield, partition (Tromp) curve, recovery
"""

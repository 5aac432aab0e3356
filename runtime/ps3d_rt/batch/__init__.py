"""Many scans by one command: each gets a folder of its own below OUT, and all together a summary.

samples.py     what a batch is asked for: one :class:`Sample` a scan, from a listing or from plain files
listing.py     metadata.json, samples.csv and folders, read
scans_in.py    which entries of a folder are scans
request.py     what decides the output of a sample: one with the same request need not be made again
engine_pool.py the engine, opened once
run.py         one sample after the other; one that fails is noted, and the rest goes on
summary.py     a row a sample, as CSV and JSON; page.py: as a page
"""

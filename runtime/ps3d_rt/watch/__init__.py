"""A hot folder: every scan that appears in it is segmented once, unattended, whatever happens in between.

config.py      watch.toml
states.py      what may become of a scan: a pure state machine
queue.py       the scans and their states, in SQLite
arrivals.py    when a scan is complete
lock.py        one instance a folder
service.py     the loop
status.py      what runs now, for the page and for monitoring
"""

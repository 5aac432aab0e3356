"""What is sent to whoever helps: how things are here, without scans and without where and whose they are.

shorten.py     paths and names in texts, shortened
collect.py     what an output, a log and a config tell
bundle.py      the zip
"""

"""Benchmarks of ps3d-rt: how fast, and beside what. The commands are ``ps3d-rt bench …``."""

"""The numerical core: arrays and frozen dataclasses in, arrays out. No files, no devices, no printing."""

"""Volumes that lie in many files, one a slice: TIFF, PNG, BMP, JPEG 2000, JPEG."""

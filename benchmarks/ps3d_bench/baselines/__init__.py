"""The methods we compare with, one file each."""

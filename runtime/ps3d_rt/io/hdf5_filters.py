"""Compression filters of HDF5 that come with plugins: loaded where they are needed, named where they are missing."""

from __future__ import annotations

from pathlib import Path

import h5py

from ps3d_rt.errors import CapabilityError

_NAMES = {
    305: "LZO",
    307: "bzip2",
    32000: "LZF",
    32001: "Blosc",
    32004: "LZ4",
    32008: "bitshuffle",
    32013: "ZFP",
    32015: "Zstandard",
    32017: "SZ",
    32018: "FCIDECOMP",
    32019: "JPEG",
    32024: "SZ3",
    32026: "Blosc2",
    32028: "SPERR",
}
"""Source: the list of registered filters, https://github.com/HDFGroup/hdf5_plugins/blob/master/docs/RegisteredFilterPlugins.md"""

_CRASH = (32017, 32024, 32028)
"""Filters whose plugins ended the process at damaged chunks, or did not end: found by trying."""


def load_filters(dataset: h5py.Dataset, path: Path) -> None:
    """Make the filters of ``dataset`` available.

    Raises:
        CapabilityError: if one is not to be had.
    """
    needed = _filters_of(dataset)
    if all(map(h5py.h5z.filter_avail, needed)):
        return
    import hdf5plugin  # noqa: F401, PLC0415 - it registers its filters as it loads

    missing = [code for code in needed if not h5py.h5z.filter_avail(code)]
    if missing:
        said = ", ".join(f"{code} ({_NAMES[code]})" if code in _NAMES else str(code) for code in missing)
        raise CapabilityError(
            f"{path}: the dataset {dataset.name} is compressed with the HDF5 filter {said}, which neither HDF5 nor the "
            "package hdf5plugin has here; install its plugin and let the variable HDF5_PLUGIN_PATH name the folder, or "
            "write the file again without it, where it can be read: h5repack -f NONE IN OUT."
        )


def risks(dataset: h5py.Dataset, path: Path) -> list[str]:
    """Warn of filters that end the process at a chunk that is damaged, which nothing here can check before."""
    crash = [f"{code} ({_NAMES[code]})" for code in _filters_of(dataset) if code in _CRASH]
    return [
        f"{path}: is compressed with the HDF5 filter {name}. If a chunk is damaged, its plugin can end the program "
        "without a message; the file is to blame then: copy it again, or write it again with h5repack -f GZIP=1 IN OUT."
        for name in crash
    ]


def _filters_of(dataset: h5py.Dataset) -> list[int]:
    settings = dataset.id.get_create_plist()
    return [settings.get_filter(index)[0] for index in range(settings.get_nfilters())]

"""Imaris files (``.ims``): HDF5 with one group a level, time point and channel.

The dataset is padded to whole chunks; the size stands in attributes, which are numbers written as single letters.
Source: https://imaris.oxinst.com/support/imaris-file-format
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ps3d_rt.core.grid import Zyx
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import check_shape
from ps3d_rt.io.spacing import StatedSpacing, stated_spacing
from ps3d_rt.io.units import decimal_number

_FINEST = "DataSet/ResolutionLevel 0"


def imaris_channel(file: h5py.File, path: Path) -> h5py.Group | None:
    """Return the group of the only channel of the finest level; None if this is not an Imaris file.

    Raises:
        InputError: if there are several channels or time points.
    """
    level = file.get(_FINEST)
    if not isinstance(level, h5py.Group):
        return None
    channels = [f"{time}/{name}" for time, group in level.items() for name in group]
    if len(channels) != 1 or not isinstance(level[channels[0]].get("Data"), h5py.Dataset):
        raise InputError(
            f"{path}: an Imaris file with {len(channels)} images (time points and channels); a volume has one: "
            f"give it as {path.name}:/{_FINEST}/TimePoint 0/Channel 0/Data."
        )
    return level[channels[0]]


def imaris_shape(channel: h5py.Group, path: Path) -> Zyx:
    """Voxels z, y, x without the padding."""
    stored = channel["Data"].shape
    sides = [_attribute(channel, f"ImageSize{axis}") for axis in "ZYX"]
    shape = check_shape([int(decimal_number(side)) if side.isdecimal() else 0 for side in sides], str(path))
    if len(stored) != 3 or any(n > whole for n, whole in zip(shape, stored, strict=True)):
        raise InputError(f"{path}: says that it has {shape} voxels, and stores {stored}; export it again.")
    return shape


def imaris_spacing(file: h5py.File, shape: Zyx, path: Path) -> StatedSpacing:
    """Say how large a voxel is: the extent of the image, 0 along x, over the voxels; µm if no unit is named."""
    image = file.get("DataSetInfo/Image")
    if image is None:
        return StatedSpacing()
    ends = [[decimal_number(_attribute(image, f"Ext{end}{axis}")) for axis in (2, 1, 0)] for end in ("Min", "Max")]
    sizes = [(high - low) / n for low, high, n in zip(*ends, shape, strict=True)]
    return stated_spacing(sizes, [_attribute(image, "Unit") or None] * 3, str(path), usual_unit="um")


def _attribute(group: h5py.Group, name: str) -> str:
    letters: Any = np.ravel(group.attrs.get(name, ()))
    return "".join(letter.decode("latin-1") if isinstance(letter, bytes) else str(letter) for letter in letters)

"""Save a whole volume that is in memory: samples, references, small results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr

from ps3d_rt.errors import InputError
from ps3d_rt.io import ome
from ps3d_rt.io.volume import SpacingMm, check_dtype, check_shape, check_spacing, stem_of
from ps3d_rt.io.whole import written_whole
from ps3d_rt.io.zarr_writer import create_array, shard_boxes, write_shards

_OME_TIFF_DTYPES = ("bool", "int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64")


def write_volume(
    path: str | Path, array: np.ndarray[Any, Any], spacing_mm: float | Sequence[float] | None = None
) -> None:
    """Write ``array`` as zarr 3 (OME-Zarr 0.5 if the spacing is known), TIFF (OME if the spacing is known) or npy.

    Args:
        path: ends in ``.zarr``, ``.tif``, ``.tiff`` or ``.npy``; must not exist; missing folders are made.
        array: (z, y, x), image or labels, integer, float or bool.
        spacing_mm: millimetres a voxel, one number or z, y, x. An npy file cannot hold it: it is not stored there.

    Raises:
        InputError: if the path, the array or the spacing cannot be used.
    """
    path = Path(path)
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise InputError(f"{path}: cannot write a file of type '{path.suffix}'; use one of {', '.join(_WRITERS)}.")
    check_shape(array.shape, str(path))
    check_dtype(array.dtype, str(path))
    spacing = None if spacing_mm is None else check_spacing(spacing_mm, "spacing")
    with written_whole(path) as partial:
        writer(partial, array, spacing, stem_of(path))


def _write_zarr(path: Path, array: np.ndarray[Any, Any], spacing_mm: SpacingMm | None, name: str) -> None:
    shape = check_shape(array.shape, str(path))
    if spacing_mm is None:
        level = create_array(path, None, shape, array.dtype)
    else:
        zarr.create_group(path, attributes=ome.image_attributes(name, [spacing_mm]))
        level = create_array(path, "0", shape, array.dtype)
    for box in shard_boxes(level):
        write_shards(level, box, array[box.slices])


def _write_tiff(path: Path, array: np.ndarray[Any, Any], spacing_mm: SpacingMm | None, name: str) -> None:
    metadata: dict[str, Any] = {"axes": "ZYX"}
    if spacing_mm is not None:
        if array.dtype.name not in _OME_TIFF_DTYPES:
            raise InputError(
                f"{name}: a TIFF of {array.dtype} cannot hold the spacing; "
                f"allowed are {', '.join(_OME_TIFF_DTYPES)}: convert the array or write zarr."
            )
        for axis, size in zip("ZYX", spacing_mm, strict=True):
            metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "mm"}
    tifffile.imwrite(path, array, photometric="minisblack", ome=spacing_mm is not None, metadata=metadata)


def _write_npy(path: Path, array: np.ndarray[Any, Any], spacing_mm: SpacingMm | None, name: str) -> None:
    with path.open("wb") as file:  # numpy.save would add an ending to the temporary name
        np.save(file, array, allow_pickle=False)


_WRITERS: dict[str, Callable[[Path, np.ndarray[Any, Any], SpacingMm | None, str], None]] = {
    ".zarr": _write_zarr,
    ".tif": _write_tiff,
    ".tiff": _write_tiff,
    ".npy": _write_npy,
}

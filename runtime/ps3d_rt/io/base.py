"""A volume: a 3-D scan that is read box by box, whatever file it comes from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from math import isfinite
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

import numpy as np

from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.errors import InputError

SpacingMm = tuple[float, float, float]
"""Side lengths of a voxel, millimetres, z, y, x."""

PLANES_PER_READ = 16
"""Planes to read at a time from a file that is not chunked along z."""

_SMALLEST_MM, _LARGEST_MM = 5e-5, 5.0
"""Side of a voxel: 0.05 µm to 5 mm."""

_MOST_PLANES_PER_READ = 128
"""Deeper chunks are decoded more than once: to hold a slab as deep would break the memory promise."""


class Volume(ABC):
    """A (z, y, x) volume, read lazily, from any number of threads. Use as a context manager; subclasses are final.

    A volume that ``open_volume`` opened can be pickled: a process that unpickles it opens the file again, once for
    all tasks, so a task must not close it.

    Attributes:
        source: file or folder, for messages.
        name: stem for outputs: ``scan`` for ``scan.ome.zarr``.
        shape: voxels z, y, x; no axis is empty.
        dtype: integer, float or bool, in the machine's byte order.
        spacing_mm: millimetres a voxel, z, y, x; None if neither the caller nor the file says.
        planes_per_read: depth of a slab. Slabs of this depth that start at multiples of it decode nothing twice.
        chunk: voxels z, y, x that are decoded together; chunks start at multiples of it.
        selection: the part that a person wants segmented, as JSON; None: all.
        warnings: what a person must know of the file before believing it, a sentence each, with the cure.
        path: where ``open_volume`` found it, absolute; None for an array.

    A subclass opens its file in ``__init__`` and copies voxels in ``_read_into``.
    """

    def __init__(
        self,
        *,
        source: str,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        spacing_mm: float | Sequence[float] | None,
        chunk: Sequence[int] | None = None,
    ) -> None:
        self.source = source
        self.name = name
        self.shape: Zyx = check_shape(shape, source)
        self.dtype: np.dtype[Any] = check_dtype(dtype, source).newbyteorder("=")
        self.spacing_mm: SpacingMm | None = None if spacing_mm is None else check_spacing(spacing_mm, source)
        self.planes_per_read = PLANES_PER_READ
        self.chunk: Zyx = (1, *self.shape[1:]) if chunk is None else (chunk[0], chunk[1], chunk[2])
        self.warnings: tuple[str, ...] = ()
        self.selection: dict[str, Any] | None = None
        self.path: Path | None = None
        if self.spacing_mm is not None:
            self.warn(*spacing_warnings(self.spacing_mm, source))
        self._reopened_by: tuple[Callable[..., Volume], tuple[Any, ...]] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        if self._reopened_by is None:
            raise InputError(
                f"{self.source}: the volume lies in the memory of this process, where workers cannot read it; "
                "save it to a file and open that, or use one worker."
            )
        return self._reopened_by

    @final
    def read(self, box: Box) -> np.ndarray[Any, Any]:
        """Read the voxels of ``box``.

        Returns:
            (*box.shape,) of :attr:`dtype`, C-contiguous, the caller's own memory.

        Raises:
            InputError: if ``box`` is not inside the volume, or the file cannot be read there.
        """
        if not all(0 <= a <= b <= n for a, b, n in zip(box.start, box.stop, self.shape, strict=True)):
            raise InputError(
                f"{self.source}: the box {box.start} to {box.stop} cannot be read; "
                f"it must lie between (0, 0, 0) and {self.shape}."
            )
        out = np.empty(box.shape, self.dtype)
        self._read_into(out, box)
        return out

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return 3

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray[Any, Any]:
        """Index like an array, by whole numbers and slices along z, y and x; ``...`` stands for axes left out.

        Raises:
            IndexError: if an index is outside the volume, or is neither a whole number nor a slice.
        """
        keys = key if isinstance(key, tuple) else (key,)
        if Ellipsis in keys:
            at = keys.index(Ellipsis)
            keys = (*keys[:at], *[slice(None)] * (4 - len(keys)), *keys[at + 1 :])
        keys = (*keys, *[slice(None)] * (3 - len(keys)))
        if len(keys) != 3 or not all(isinstance(k, slice | int | np.integer) for k in keys):
            raise IndexError(f"{self.source} takes whole numbers and slices of three axes z, y, x, not {key!r}.")
        spans = [
            range(n)[k if isinstance(k, slice) else slice(_within(k, n), _within(k, n) + 1)]
            for n, k in zip(self.shape, keys, strict=True)
        ]
        z, y, x = ((min(span, default=0), max(span, default=-1) + 1) for span in spans)
        values = self.read(Box((z[0], y[0], x[0]), (z[1], y[1], x[1])))
        return values[tuple(slice(None, None, k.step) if isinstance(k, slice) else 0 for k in keys)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """Read the whole volume, for NumPy, dask and napari.

        Raises:
            ValueError: if ``copy`` is False: reading always makes one.
        """
        if copy is False:
            raise ValueError(f"{self.source} is read from a file: there is no array without a copy.")
        values = self.read(Box.of_shape(self.shape))
        return values if dtype is None else values.astype(dtype, copy=False)

    def __repr__(self) -> str:
        size, spacing = " × ".join(map(str, self.shape)), self.spacing_mm
        known = "spacing unknown" if spacing is None else f"{' × '.join(f'{side:g}' for side in spacing)} mm a voxel"
        return f"<{self.name}: {size} voxels, {self.dtype}, {known}>"

    def read_in_place(self, box: Box) -> Any:
        """Give the voxels of ``box`` where they lie: read, or a view of an array that lies on a GPU."""
        return self.read(box)

    def device_for(self, device: str) -> str:
        """Return the device of a run: the one asked for, unless the voxels lie on a GPU.

        Raises:
            InputError: if they lie on another GPU.
        """
        return device

    @abstractmethod
    def _read_into(self, out: np.ndarray[Any, Any], box: Box) -> None:
        """Fill ``out`` with the voxels of ``box``, which is inside the volume but may be empty."""

    def inside(self, box: Box) -> np.ndarray[Any, Any] | None:
        """Return which voxels of ``box`` are selected for segmentation, (*box.shape,) bool; None: all."""
        return None

    def warn(self, *sentences: str) -> None:
        """Add sentences to :attr:`warnings`, each once."""
        self.warnings += tuple(sentence for sentence in dict.fromkeys(sentences) if sentence not in self.warnings)

    def close(self) -> None:  # noqa: B027 - volumes without open files need not override it
        """Release the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _within(index: int, length: int) -> int:
    """Count an index from the start, as an array does.

    >>> _within(-1, 5)
    4
    """
    return range(length)[index]


@final
class ArrayVolume(Volume):
    """An array, in memory or memory-mapped, as a volume.

    Args:
        array: (z, y, x), integer, float or bool, any memory order and byte order.
        spacing_mm: millimetres a voxel: one number, or z, y, x.
        name: stem for outputs.
        source: file the array comes from, for messages.
    """

    def __init__(
        self,
        array: np.ndarray[Any, Any],
        spacing_mm: float | Sequence[float] | None = None,
        *,
        name: str = "volume",
        source: str = "the array",
    ) -> None:
        super().__init__(source=source, name=name, shape=array.shape, dtype=array.dtype, spacing_mm=spacing_mm)
        self._array: np.ndarray[Any, Any] | None = array

    def _read_into(self, out: np.ndarray[Any, Any], box: Box) -> None:
        if self._array is None:
            raise InputError(f"{self.source}: the volume is closed; open it again.")
        out[...] = self._array[box.slices]

    def close(self) -> None:
        """Let go of the array; a memory map is closed with its last reference."""
        self._array = None


def planes_per_read(chunk_planes: int) -> int:
    """Give the least number of planes that is worth a read and does not cut chunks that are ``chunk_planes`` deep.

    >>> [planes_per_read(depth) for depth in (1, 10, 16, 64, 1000)]
    [16, 20, 16, 64, 128]
    """
    return min(-(-PLANES_PER_READ // chunk_planes) * chunk_planes, _MOST_PLANES_PER_READ)


def check_shape(shape: Sequence[int], source: str) -> Zyx:
    """Accept three axes, none of them empty; InputError otherwise."""
    if len(shape) != 3:
        what = "a single 2-D image" if len(shape) == 2 else f"an array with {len(shape)} axes"
        raise InputError(f"{source}: found {what} of shape {tuple(shape)}; a volume has three axes z, y, x.")
    if min(shape) < 1:
        raise InputError(f"{source}: the shape is {tuple(shape)}; every axis needs at least one voxel.")
    return (int(shape[0]), int(shape[1]), int(shape[2]))


def check_dtype(dtype: np.dtype[Any], source: str) -> np.dtype[Any]:
    """Accept an integer, a float up to 64 bit, or bool; InputError otherwise."""
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise InputError(
            f"{source}: the voxels are {dtype}; the allowed types are bool, integers and floats up to 64 bit: "
            "convert the volume."
        )
    return dtype


def spacing_warnings(spacing_mm: SpacingMm, source: str) -> list[str]:
    """Say so if a voxel is smaller or larger than those of micro-CT: most often the unit is another one.

    >>> spacing_warnings((0.01, 0.01, 0.01), "ore.tif")
    []
    """
    if all(_SMALLEST_MM <= size <= _LARGEST_MM for size in spacing_mm):
        return []
    said = ", ".join(f"{size:g}" for size in spacing_mm)
    return [
        f"{source}: the spacing is {said} mm a voxel (z, y, x); micro-CT has 0.00005 to 5 mm. "
        "Check its unit, and pass --spacing in mm: 10 µm are 0.01."
    ]


def check_spacing(spacing_mm: float | Sequence[float], source: str) -> SpacingMm:
    """Accept one number for all axes, or z, y, x, each finite and above 0; InputError otherwise."""
    values = [float(value) for value in np.ravel(spacing_mm)]
    z, y, x = values if len(values) == 3 else values * 3 if len(values) == 1 else (0.0, 0.0, 0.0)
    if not all(isfinite(value) and value > 0 for value in (z, y, x)):
        raise InputError(
            f"{source}: the spacing is {spacing_mm} mm; it must be one number or three (z, y, x), each above 0: "
            "pass --spacing."
        )
    return (z, y, x)

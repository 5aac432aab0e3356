"""Zarr 2 and 3: a plain array, or an OME-Zarr image or label group (0.4 and 0.5). Written are zarr 3 and 0.5."""

from __future__ import annotations

import itertools
import warnings
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, final

import numpy as np
import zarr
from zarr.buffer import cpu
from zarr.errors import ZarrUserWarning
from zarr.storage import LocalStore

from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.io import ome
from ps3d_rt.io.base import SpacingMm, Volume, planes_per_read
from ps3d_rt.io.names import ZARR_MARKS, resolved, stem_of
from ps3d_rt.io.read_errors import read_errors, words_of
from ps3d_rt.io.remote import path_in, remote_errors, remote_reads
from ps3d_rt.io.slabs import OnProgress, shard_boxes, slabs
from ps3d_rt.io.spacing import spacing_that_counts
from ps3d_rt.io.zarr_writer import create_array, shard_of, write_shards

_METADATA = {*ZARR_MARKS, ".zattrs", ".zmetadata"}
_BLOSC_HEADER = 16
_MOST_LISTED = 10


@final
class ZarrVolume(Volume):
    """A zarr array whose axes before z, y, x, if any, have one entry."""

    def __init__(self, array: zarr.Array[Any], spacing_mm: SpacingMm | list[float] | None, path: Path | str) -> None:
        leading = array.shape[:-3]
        if any(n != 1 for n in leading):
            raise InputError(
                f"{path}: the array has shape {array.shape}; axes before z, y, x must have one entry: "
                "save one channel and one time point."
            )
        if not all(array.shards or array.chunks):
            raise InputError(f"{path}: has chunks of {array.shards or array.chunks} voxels; copy or write it again.")
        super().__init__(
            source=str(path),
            name=stem_of(_store_of(path_in(path) if isinstance(path, str) else path)),
            shape=array.shape[len(leading) :],
            dtype=array.dtype,
            spacing_mm=spacing_mm,
            chunk=array.chunks[len(leading) :],
        )
        self.planes_per_read = planes_per_read(array.chunks[len(leading)])
        _check_files(array, path)
        self._array = array
        self._leading = len(leading)
        self._answers = partial(remote_reads, path) if isinstance(path, str) else nullcontext

    def _read_into(self, out: np.ndarray[Any, Any], box: Box) -> None:
        one = (slice(0, 1),) * self._leading
        # Decoded straight into ``out``: a second copy of a slab would count against the memory promise.
        target = cpu.NDBuffer.from_numpy_array(out.reshape((1,) * self._leading + out.shape))
        try:
            with read_errors(self.source, f"a chunk between {box.start} and {box.stop}"), self._answers():
                self._array.get_basic_selection(one + box.slices, out=target)
        except InputError as error:
            file, cause = self._broken_file(box), error.__cause__
            if file is None or not isinstance(cause, Exception):
                raise
            raise InputError(
                f"{self.source}: the chunk file {file} of {file.stat().st_size} bytes is damaged, or another file in "
                f"its place; copy the volume again{words_of(cause)}."
            ) from cause

    def _broken_file(self, box: Box) -> Path | None:
        """Find the first file with voxels of ``box`` that cannot be decoded; None if there is none."""
        if not isinstance(self._array.store, LocalStore):
            return None
        sides = (self._array.shards or self._array.chunks)[self._leading :]
        ranges = (range(a // n, -(-b // n)) for a, b, n in zip(box.start, box.stop, sides, strict=True))
        for place in itertools.product(*ranges):
            key = self._array.metadata.encode_chunk_key((0,) * self._leading + place)
            file = self._array.store.root / self._array.path / key
            corner = tuple(slice(k * n, (k + 1) * n) for k, n in zip(place, sides, strict=True))
            try:
                with read_errors(self.source, "a chunk"):
                    self._array.get_basic_selection((0,) * self._leading + corner)
            except InputError:
                return file if file.is_file() else None
        return None


def open_file(path: Path, spacing_mm: SpacingMm | None) -> Volume:
    """Open the array at ``path``, or the finest level of the image, or of the only labels, of the group there.

    Raises:
        InputError: if nothing of the kind is there, or a part of it is missing or malformed.
    """
    _check_kind(path)
    with read_errors(str(path), "the zarr metadata"):
        node = zarr.open(path, mode="r")
    return _opened(node, path, spacing_mm)


def open_address(address: str, spacing_mm: SpacingMm | None) -> Volume:
    """Open what :func:`open_file` does where fsspec finds it.

    Raises:
        InputError: as there, or if nobody answers.
        CapabilityError: if the package for the address is not installed.
    """
    with remote_errors(address):
        return _opened(zarr.open(address, mode="r"), address, spacing_mm)


def _opened(node: zarr.Array[Any] | zarr.Group, path: Path | str, spacing_mm: SpacingMm | None) -> Volume:
    with read_errors(str(path), "the zarr metadata"):
        if isinstance(node, zarr.Array):
            return ZarrVolume(node, spacing_mm, path)
        group = _image_group(node, path)
        attributes = ome.ome_of(group.attrs.asdict())
        level = ome.finest_path(attributes, str(path))
        array = group.get(level)  # zarr refuses names that lead out of the group
    if not isinstance(array, zarr.Array):
        raise InputError(f"{path}: the finest level, '{level}', is not an array; copy or write the file again.")
    stated = spacing_that_counts(spacing_mm, lambda: ome.spacing_of(attributes, str(path)), str(path))
    volume = ZarrVolume(array, stated.spacing_mm, path)
    volume.warn(*stated.remarks)
    return volume


def _check_kind(path: Path) -> None:
    """Refuse a folder without zarr metadata, and say what it is."""
    if any((path / mark).is_file() for mark in ZARR_MARKS):
        return
    inside = sorted(child.name for child in path.iterdir() if any((child / mark).exists() for mark in ZARR_MARKS))
    if (path / "attributes.json").is_file():
        what, cure = "is N5 or of another kind, not zarr", "convert it to zarr"
    elif inside:
        what, cure = (
            "is a plain folder around zarr",
            f"give the path of one of {', '.join(inside[:_MOST_LISTED])} inside",
        )
    else:
        marks = ", ".join(ZARR_MARKS)
        what, cure = (
            f"has no zarr metadata ({marks}), without which nobody knows its shape",
            "copy the whole folder again",
        )
    raise InputError(f"{path}: {what}; {cure}.")


def write(path: Path, volume: Volume, on_progress: OnProgress) -> None:
    """Write ``volume`` as an OME-Zarr image of one resolution, or as a plain array if its spacing is not known."""
    if volume.spacing_mm is None:
        level = create_array(path, None, volume.shape, volume.dtype)
    else:
        zarr.create_group(path, attributes=ome.image_attributes(volume.name, [volume.spacing_mm]))
        level = create_array(path, "0", volume.shape, volume.dtype)
    for box, voxels in slabs(volume, shard_boxes(volume.shape, volume.dtype.itemsize, shard_of(level)), on_progress):
        write_shards(level, box, voxels)


def _check_files(array: zarr.Array[Any], path: Path | str) -> None:
    """Refuse what would be read as other voxels without a word: empty shards, and Blosc chunks that were cut short.

    zarr takes a shard without a byte for one that was never written. Blosc takes the length of a chunk from the chunk's
    first 16 bytes (bytes 12 to 15, little endian), and reads past its end if there are fewer.
    """
    blosc = array.shards is None and type((array.compressors or (None,))[-1]).__name__ in {"Blosc", "BloscCodec"}
    if not isinstance(array.store, LocalStore) or not (array.shards or blosc):
        return
    for file in (array.store.root / array.path).rglob("*"):
        if not file.is_file() or file.name in _METADATA:
            continue
        size = file.stat().st_size
        if not size:
            raise InputError(f"{path}: the chunk file {file} is empty; copy the volume again.")
        if blosc:
            with file.open("rb") as chunk:
                told = int.from_bytes(chunk.read(_BLOSC_HEADER)[12:], "little")
            if told != size:
                raise InputError(
                    f"{path}: the chunk file {file} has {size} bytes, its start (Blosc) gives {told}: it is cut "
                    "short, or another file in its place; copy the volume again."
                )


def _image_group(group: zarr.Group, path: Path | str) -> zarr.Group:
    """Return the group with ``multiscales``: this one, or the only entry of its ``labels``."""
    attributes = ome.ome_of(group.attrs.asdict())
    if "multiscales" in attributes:
        return group
    labels = group if "labels" in attributes else group.get("labels")
    names: list[str] = []
    if isinstance(labels, zarr.Group):
        names = list(ome.ome_of(labels.attrs.asdict()).get("labels", ()))
        only = labels[names[0]] if len(names) == 1 else None
        if isinstance(only, zarr.Group) and "multiscales" in ome.ome_of(only.attrs.asdict()):
            return only
    inside = [f"labels/{name}" for name in names] or _names_in(group)
    if "plate" in attributes or "well" in attributes:
        raise InputError(f"{path}: is a plate or well with many images; give the path of one image inside.")
    listed = ", ".join([*inside[:_MOST_LISTED], *(["…"] if len(inside) > _MOST_LISTED else [])])
    cure = f"give the path of one of {listed} inside." if inside else "give the path of a zarr array."
    raise InputError(f"{path}: a zarr group without an OME-Zarr image; {cure}")


def _names_in(group: zarr.Group) -> list[str]:
    with warnings.catch_warnings():
        # Other files may lie in a group; zarr warns of each.
        warnings.simplefilter("ignore", ZarrUserWarning)
        return sorted(group.keys())


def _store_of(path: Path) -> Path:
    """Return the folder that outputs are named after: ``scan.zarr`` for ``scan.zarr/0``."""
    path = resolved(path)
    return next((folder for folder in (path, *path.parents) if folder.suffix == ".zarr"), path)

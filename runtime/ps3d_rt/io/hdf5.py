"""HDF5: a dataset, ``scan.h5:/group/data``, or the only one with three axes; sizes from ``element_size_um``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, final

import h5py
import numpy as np

from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import PLANES_PER_READ, SpacingMm, Volume, planes_per_read
from ps3d_rt.io.hdf5_bitshuffle import bitshuffled
from ps3d_rt.io.hdf5_filters import load_filters, risks
from ps3d_rt.io.imaris import imaris_channel, imaris_shape, imaris_spacing
from ps3d_rt.io.json_text import parse_json
from ps3d_rt.io.names import file_and_inside, stem_of
from ps3d_rt.io.read_errors import read_errors
from ps3d_rt.io.slabs import OnProgress, shard_boxes, slabs
from ps3d_rt.io.spacing import StatedSpacing, spacing_that_counts, stated_spacing
from ps3d_rt.io.units import decimal_number

_CHUNK = 64
_NAME = "data"
"""Of the dataset, in files that we write."""
_MOST_LISTED = 10
_TRUNCATED = re.compile(r"truncated file: eof = (\d+),.* stored_eof = (\d+)")
"""What the HDF5 library says of a file that was cut."""


@final
class Hdf5Volume(Volume):
    """A dataset whose other axes, if any, have one entry; owns its file.

    Args:
        dataset: open.
        axes: which of its axes are z, y, x.
        shape: voxels z, y, x; the dataset may be padded beyond.
        spacing_mm: millimetres a voxel, z, y, x.
        path: file and dataset, for messages.
    """

    def __init__(self, dataset: h5py.Dataset, axes: Zyx, shape: Zyx, spacing_mm: SpacingMm | None, path: Path) -> None:
        super().__init__(
            source=str(path),
            name=stem_of(path),
            shape=shape,
            dtype=dataset.dtype,
            spacing_mm=spacing_mm,
            chunk=tuple(dataset.chunks[axis] for axis in axes) if dataset.chunks else None,
        )
        self.planes_per_read = planes_per_read(dataset.chunks[axes[0]]) if dataset.chunks else PLANES_PER_READ
        self._dataset, self._bitshuffled = dataset, bitshuffled(dataset)
        self._axes = axes

    def _read_into(self, out: np.ndarray[Any, Any], box: Box) -> None:
        if not self._dataset:
            raise InputError(f"{self.source}: the volume is closed; open it again.")
        if not out.size:
            return
        where: list[int | slice] = [0] * self._dataset.ndim
        for axis, part in zip(self._axes, box.slices, strict=True):
            where[axis] = part
        stored = sorted(self._axes)
        with read_errors(self.source, f"a chunk between {box.start} and {box.stop}"):
            if self._bitshuffled is not None:
                self._bitshuffled.check(tuple(where))
            # Into ``out`` as the file has it: a second copy of a slab would count against the memory promise.
            if self._axes == tuple(stored):
                self._dataset.read_direct(out, source_sel=tuple(where))
            else:
                voxels = self._dataset[tuple(where)]
                out[...] = voxels.transpose([stored.index(axis) for axis in self._axes])

    def close(self) -> None:
        """Close the file."""
        if self._dataset:
            self._dataset.file.close()


def open_file(path: Path, spacing_mm: SpacingMm | None) -> Volume:
    """Open the dataset that ``path`` names after a colon, or the only one there.

    Raises:
        InputError: if the file is broken, the dataset is not there or not 3-D, or its voxels lie in other files.
        CapabilityError: if it is compressed with a filter that is not there.
    """
    file_path, inside = file_and_inside(path)
    _check_signature(file_path)
    with read_errors(str(file_path), "the HDF5 file"):
        try:
            file = h5py.File(file_path, "r")
        except OSError as error:
            if ends := _TRUNCATED.search(str(error)):
                raise InputError(
                    f"{file_path}: has {ends[1]} bytes, of {ends[2]} that it had when it was written: it is cut short; "
                    "copy or export it again."
                ) from error
            raise
    try:
        with read_errors(str(path), "the dataset"):
            return _open_dataset(file, path, file_path, inside, spacing_mm)
    except BaseException:
        file.close()
        raise


def _check_signature(path: Path) -> None:
    """Refuse HDF4, which has the same endings, and what is neither."""
    with read_errors(str(path), "the HDF5 file"), path.open("rb") as file:
        if file.read(4) == b"\x0e\x03\x13\x01":
            raise InputError(f"{path}: is HDF4, an older format; convert it to HDF5 (h4toh5).")
    if not h5py.is_hdf5(path):
        raise InputError(f"{path}: is not an HDF5 file, or its start is damaged; copy or export it again.")


def _open_dataset(file: h5py.File, path: Path, file_path: Path, inside: str, spacing_mm: SpacingMm | None) -> Volume:
    channel = None if inside else imaris_channel(file, path)
    axes: Zyx
    if channel is not None:
        dataset, axes, shape = channel["Data"], (0, 1, 2), imaris_shape(channel, path)
        read = partial(imaris_spacing, file, shape, path)
    else:
        dataset = _find(file, file_path, inside)
        axes = _axes_of(dataset, path)
        z, y, x = (dataset.shape[axis] for axis in axes)
        shape, read = (z, y, x), partial(_spacing_of, dataset, axes, path)
    stated = spacing_that_counts(spacing_mm, read, str(path))
    load_filters(dataset, path)
    volume = Hdf5Volume(dataset, axes, shape, stated.spacing_mm, path)
    volume.warn(*stated.remarks, *risks(dataset, path), *_rescaling(dataset, path))
    return volume


def _walk(file: h5py.File) -> Iterator[tuple[str, Any, Any]]:
    """Give every link with its name and what it leads to, each object once.

    h5py's own walk crashes the process at a name that is no UTF-8. Here such names are passed over.
    """
    seen, waiting = set(), [("", file["/"])]
    while waiting:
        prefix, group = waiting.pop()
        for name in group:
            if isinstance(name, bytes):
                continue
            link = group.get(name, getlink=True)
            item: Any = None if isinstance(link, h5py.ExternalLink) else group.get(name)
            if isinstance(link, h5py.HardLink):
                address = h5py.h5o.get_info(item.id).addr
                if address in seen:
                    continue
                seen.add(address)
                if isinstance(item, h5py.Group):
                    waiting.append((f"{prefix}/{name}", item))
            yield f"{prefix}/{name}", link, item


def _find(file: h5py.File, path: Path, inside: str) -> h5py.Dataset:
    names: list[str] = []
    links: list[str] = []
    loose: list[str] = []
    for name, link, item in sorted(_walk(file), key=lambda found: found[0]):
        if isinstance(link, h5py.ExternalLink):
            links.append(f"{name} is {link.path} in {link.filename}")
        elif isinstance(link, h5py.SoftLink) and item is None:
            loose.append(f"{name} points to {link.path}, which is not there")
        elif isinstance(link, h5py.HardLink) and isinstance(item, h5py.Dataset) and item.ndim >= 3:
            names.append(name)
    inside = inside or (names[0] if len(names) == 1 else "")
    linked = file.get(inside, getlink=True) if inside else None
    if isinstance(linked, h5py.ExternalLink):
        _refuse_links(path, [f"{inside} is {linked.path} in {linked.filename}"])
    dataset = file.get(inside) if inside else None
    if not isinstance(dataset, h5py.Dataset):
        if links and not names:
            _refuse_links(path, links)
        listed = ", ".join([*names[:_MOST_LISTED], *(["…"] if len(names) > _MOST_LISTED else [])]) or "none"
        what = f"there is no dataset {inside}" if inside else f"{len(names)} datasets have three axes"
        broken = "".join(f" The link {link}." for link in loose[:_MOST_LISTED])
        raise InputError(f"{path}: {what}; give one as {path.name}:/NAME. The file has: {listed}.{broken}")
    elsewhere = [source.file_name for source in dataset.virtual_sources()] if dataset.is_virtual else []
    elsewhere += [name for name, _, _ in dataset.external or ()]
    if dataset.file.filename != file.filename:
        elsewhere.append(dataset.file.filename)
    if elsewhere or dataset.is_virtual:
        files = ", ".join(dict.fromkeys(map(str, elsewhere[:_MOST_LISTED]))) or "other files"
        raise InputError(
            f"{path}: the voxels of {inside} lie in other files ({files}); give the one that holds them, or copy them "
            "into this one (h5repack)."
        )
    return dataset


def _refuse_links(path: Path, links: list[str]) -> NoReturn:
    said = "; ".join(links[:_MOST_LISTED])
    raise InputError(
        f"{path}: the voxels lie in other files: {said}. Give the file that holds them, with the dataset after a colon."
    )


def _axes_of(dataset: h5py.Dataset, path: Path) -> Zyx:
    """Find the axes z, y and x: as ilastik's ``axistags`` say, else the last three."""
    tags = dataset.attrs.get("axistags")
    keys = list("zyx") if tags is None else _tagged(tags, path)
    if tags is None:
        keys = ["?"] * (dataset.ndim - 3) + keys
    fits = len(keys) == dataset.ndim and {"z", "y", "x"} <= set(keys)
    if not fits or any(n != 1 for key, n in zip(keys, dataset.shape, strict=True) if key not in "zyx"):
        raise InputError(
            f"{path}: the dataset has shape {dataset.shape}, axes {', '.join(keys)}; it must have z, y, x, "
            "and all others must have one entry: save one channel and one time point."
        )
    return keys.index("z"), keys.index("y"), keys.index("x")


def _tagged(tags: Any, path: Path) -> list[str]:
    try:
        return [str(axis["key"]) for axis in parse_json(tags)["axes"]]
    except (TypeError, ValueError, LookupError) as error:
        raise InputError(f"{path}: the attribute axistags names no axes as ilastik's does; remove it.") from error


def _spacing_of(dataset: h5py.Dataset, axes: Zyx, path: Path) -> StatedSpacing:
    """Say how large a voxel is: ``element_size_um``, in the order of the dataset's axes, as ImageJ has it.

    Source: https://imswitch.readthedocs.io/en/stable/Hdf5datafile.html
    """
    if "element_size_um" not in dataset.attrs:
        return StatedSpacing()
    sizes = [decimal_number(str(size)) for size in np.ravel(dataset.attrs["element_size_um"])]
    if len(sizes) == 3:  # one for each axis of space, whatever other axes there are
        sizes = [sizes[sorted(axes).index(axis)] for axis in axes]
    elif len(sizes) == dataset.ndim:
        sizes = [sizes[axis] for axis in axes]
    else:
        return StatedSpacing(
            None, (f"{path}: element_size_um has {len(sizes)} numbers, not one an axis: pass --spacing in mm.",)
        )
    return stated_spacing(sizes, ["µm"] * 3, str(path))


def _rescaling(dataset: h5py.Dataset, path: Path) -> list[str]:
    """Attributes of netCDF that give stored numbers another meaning, which is left aside."""
    scale, offset = (dataset.attrs.get(name, usual) for name, usual in (("scale_factor", 1), ("add_offset", 0)))
    if decimal_number(str(np.ravel(scale)[0])) == 1 and decimal_number(str(np.ravel(offset)[0])) == 0:
        return []
    return [f"{path}: gray values are the stored ones times {scale} plus {offset}, it says; the stored ones are taken."]


def write(path: Path, volume: Volume, on_progress: OnProgress) -> None:
    """Write ``volume`` as the dataset ``/data``, in compressed chunks, with ``element_size_um``."""
    z, y, x = volume.shape
    chunk = (min(_CHUNK, z), min(_CHUNK, y), min(_CHUNK, x))
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset(
            _NAME, volume.shape, volume.dtype, chunks=chunk, compression="gzip", compression_opts=1, shuffle=True
        )
        if volume.spacing_mm is not None:
            dataset.attrs["element_size_um"] = [1000 * size for size in volume.spacing_mm]
        for box, voxels in slabs(volume, shard_boxes(volume.shape, volume.dtype.itemsize, chunk), on_progress):
            dataset[box.slices] = voxels

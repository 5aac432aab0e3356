"""OME-Zarr metadata: what an image group says (0.4, 0.5), and what ours say (0.5). Dictionaries only, no files.

Source: https://ngff.openmicroscopy.org/0.5/ (and 0.4): multiscales, coordinateTransformations, labels, image-label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from ps3d_rt.errors import InputError
from ps3d_rt.io.units import mm_per

VERSION = "0.5"
_MALFORMED = (KeyError, IndexError, TypeError, AttributeError, ValueError)


def ome_of(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the OME part of a group's attributes: under ``ome`` since 0.5, at the top in 0.4."""
    ome = attributes.get("ome", attributes)
    return ome if isinstance(ome, Mapping) else {}


def finest_path(ome: Mapping[str, Any], source: str) -> str:
    """Path of the finest level, relative to the group; its last three axes are z, y, x.

    Raises:
        InputError: if the metadata is incomplete or the axes differ.
    """
    try:
        multiscale = ome["multiscales"][0]
        axes = [axis["name"] for axis in multiscale["axes"]]
        path = str(multiscale["datasets"][0]["path"])  # ordered from fine to coarse
    except _MALFORMED as error:
        raise InputError(
            f"{source}: the OME-Zarr metadata lacks {error}; versions 0.4 and 0.5 are read: "
            "write it again, or give the path of an array inside."
        ) from error
    if axes[-3:] != ["z", "y", "x"]:
        raise InputError(f"{source}: the axes are {', '.join(map(str, axes))}; the last three must be z, y, x.")
    return path


def spacing_of(ome: Mapping[str, Any], source: str) -> list[float] | None:
    """Millimetres a voxel of the finest level, z, y, x; None if the metadata gives no scale or no unit of length.

    Raises:
        InputError: if a scale is malformed.
    """
    multiscale = ome["multiscales"][0]
    try:
        units = [mm_per(axis.get("unit")) for axis in multiscale["axes"][-3:]]
        scales = [
            [float(value) for value in transform["scale"]]
            for part in (multiscale["datasets"][0], multiscale)
            for transform in part.get("coordinateTransformations", ())
            if transform["type"] == "scale"
        ]
        if not scales or None in units:
            return None
        return [prod(factors) for factors in zip(units, *(scale[-3:] for scale in scales), strict=True)]
    except _MALFORMED as error:
        raise InputError(f"{source}: the OME-Zarr scale cannot be read ({error}); pass --spacing.") from error


def image_attributes(name: str, spacings_mm: Sequence[Sequence[float]], *, folder: str = "") -> dict[str, Any]:
    """Return the attributes of an image group with levels ``0``, ``1``, … in ``folder``, finest first.

    Args:
        name: shown by viewers.
        spacings_mm: millimetres a voxel, z, y, x, of each level.
        folder: where the levels are, relative to the group.
    """
    datasets = [
        {
            "path": f"{folder}/{level}".lstrip("/"),
            "coordinateTransformations": [{"type": "scale", "scale": list(spacing)}],
        }
        for level, spacing in enumerate(spacings_mm)
    ]
    axes = [{"name": axis, "type": "space", "unit": "millimeter"} for axis in "zyx"]
    return {"ome": {"version": VERSION, "multiscales": [{"name": name, "axes": axes, "datasets": datasets}]}}


def label_attributes(name: str, spacings_mm: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Return the attributes of one label image, ``labels/NAME``; coarser levels take the nearest voxel."""
    attributes = image_attributes(name, spacings_mm)
    attributes["ome"]["multiscales"][0]["type"] = "nearest"
    attributes["ome"]["image-label"] = {"source": {"image": "../../"}}
    return attributes


def labels_attributes(names: Sequence[str]) -> dict[str, Any]:
    """Return the attributes of the group ``labels``, which lists the label images inside."""
    return {"ome": {"version": VERSION, "labels": list(names)}}

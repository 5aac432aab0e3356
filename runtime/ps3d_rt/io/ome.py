"""OME-Zarr metadata: what an image group says (0.4, 0.5), and what ours say (0.5). Dictionaries only, no files.

Source: https://ngff.openmicroscopy.org/0.5/ (and 0.4): multiscales, coordinateTransformations, labels, image-label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from ps3d_rt.errors import InputError
from ps3d_rt.io.spacing import StatedSpacing, stated_spacing

VERSION = "0.5"
_MALFORMED = (KeyError, IndexError, TypeError, AttributeError, ValueError)


def ome_of(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the OME part of a group's attributes: under ``ome`` since 0.5, at the top in 0.4."""
    ome = attributes.get("ome", attributes)
    return ome if isinstance(ome, Mapping) else {}


def finest_path(ome: Mapping[str, Any], source: str) -> str:
    """Path of the finest level, relative to the group; its last three axes are z, y, x.

    Axes are objects since 0.4, names in 0.3, and before always t, c, z, y, x.

    Raises:
        InputError: if the metadata is incomplete or the axes differ.
    """
    multiscale = _multiscale(ome, source)
    axes = multiscale.get("axes", list("tczyx"))
    names = [axis.get("name") if isinstance(axis, Mapping) else axis for axis in axes] if _is_list(axes) else []
    if names[-3:] != ["z", "y", "x"]:
        said = ", ".join(map(str, names)) or "not named"
        raise InputError(f"{source}: the axes are {said}; the last three must be z, y, x: write the file again.")
    levels = multiscale.get("datasets")
    level = levels[0] if _is_list(levels) and levels else None  # ordered from fine to coarse
    if not isinstance(level, Mapping) or not isinstance(level.get("path"), str):
        raise InputError(
            f"{source}: the OME-Zarr metadata name no array; write the file again, or give the path of one inside."
        )
    return str(level["path"])


def spacing_of(ome: Mapping[str, Any], source: str) -> StatedSpacing:
    """Say how large a voxel of the finest level is.

    Raises:
        InputError: if a scale is malformed.
    """
    multiscale = _multiscale(ome, source)
    axes = multiscale.get("axes", ())
    if not all(isinstance(axis, Mapping) for axis in axes) or not axes:
        version = multiscale.get("version", "0.3 or older")
        return StatedSpacing(
            None, (f"{source}: is OME-Zarr {version}, which holds no voxel size: pass --spacing in mm.",)
        )
    try:
        scales = [
            [float(value) for value in transform["scale"][-3:]]
            for part in (multiscale["datasets"][0], multiscale)
            for transform in part.get("coordinateTransformations", ())
            if transform["type"] == "scale"
        ]
        sizes = [prod(factors) for factors in zip((1, 1, 1), *scales, strict=True)] if scales else []
    except _MALFORMED as error:
        raise InputError(
            f"{source}: the scale in the OME-Zarr metadata is not one number an axis: write it again."
        ) from (error)
    units = [axis.get("unit") for axis in axes[-3:]]
    return stated_spacing(sizes, [unit if isinstance(unit, str) else None for unit in units], source)


def _multiscale(ome: Mapping[str, Any], source: str) -> Mapping[str, Any]:
    multiscales = ome.get("multiscales")
    first = multiscales[0] if _is_list(multiscales) and multiscales else None
    if not isinstance(first, Mapping):
        raise InputError(
            f"{source}: the OME-Zarr metadata (multiscales) name no image; versions up to 0.5 are read: write it again "
            "or give the path of an array inside."
        )
    return first


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


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

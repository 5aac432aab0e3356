"""An output in napari: the scan, the labels at all their resolutions, and the table as their features."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import numpy as np
import zarr

from ps3d_rt.core.measure import ParticleTable
from ps3d_rt.errors import CapabilityError, not_installed
from ps3d_rt.io.base import Volume
from ps3d_rt.io.labels_writer import GROUP, LabelsZarr
from ps3d_rt.output import Output
from ps3d_rt.stages.gray_scale import volume_scale
from ps3d_rt.view.colours import colours_by


def import_napari(module: str = "napari") -> Any:
    """Import napari.

    Raises:
        CapabilityError: if it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise not_installed(
            f"napari does not load ({error}), and a browser would do too (--neuroglancer)", "ps3d-rt[annotate]"
        ) from error


def open_viewer(title: str) -> Any:
    """Open napari's window.

    Raises:
        CapabilityError: if napari is not installed, or cannot show a window here.
    """
    napari = import_napari()
    if sys.platform == "linux" and not any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"))):
        # Qt would end the process without a word of ours.
        raise CapabilityError(f"napari needs a screen, and this session has none (DISPLAY is not set); {_INSTEAD}.")
    try:
        return napari.Viewer(title=title)
    except Exception as error:
        raise _no_window(error) from error


def run_viewer() -> None:
    """Show napari's window until it is closed.

    Raises:
        CapabilityError: if it cannot be shown.
    """
    try:
        import_napari().run()
    except Exception as error:
        raise _no_window(error) from error


_INSTEAD = "look at the output in a browser: ps3d-rt view OUT --neuroglancer, or its report.html"


def _no_window(error: Exception) -> CapabilityError:
    said = " ".join(str(error).split()) or type(error).__name__
    return CapabilityError(f"napari cannot show its window, which needs a screen and OpenGL; {_INSTEAD} – {said}")


def add_layers(viewer: Any, output: Output, color_by: str | None = None) -> None:
    """Add the layers of an output to a viewer, or to its model.

    Args:
        viewer: ``napari.Viewer`` or ``napari.components.ViewerModel``.
        output: of a run; stays open as long as the viewer shows it.
        color_by: column of the table; None gives every particle any colour.

    Raises:
        InputError: if there is no such column.
        CapabilityError: if napari is not installed.
    """
    path = output.labels_path
    levels = [zarr.open_array(path / GROUP / str(i), mode="r") for i in range(LabelsZarr(path).levels)]
    add_arrays(viewer, output.scan, levels, output.table, output.record.scan.spacing_mm, color_by)


def add_arrays(
    viewer: Any, scan: Volume | None, levels: list[Any], table: ParticleTable, spacing_mm: Any, color_by: str | None
) -> None:
    """Add a scan, if there is one, and labels, at one resolution or more, the finest first.

    Args:
        viewer: as for :func:`add_layers`.
        scan: stays open as long as the viewer shows it.
        levels: arrays, or what reads like them.
        table: of the particles.
        spacing_mm: side of a voxel, z, y, x.
        color_by: as for :func:`add_layers`.
    """
    place = {"scale": spacing_mm, "units": ["mm"] * 3, "axis_labels": ("z", "y", "x")}
    colours = {} if color_by is None else {"colormap": _colormap(table, color_by)}
    if scan is not None:
        scale = volume_scale(scan)
        limits = (scale.mean - 3 * scale.std, scale.mean + 3 * scale.std)
        viewer.add_image(scan, name="scan", multiscale=False, contrast_limits=limits, **place)
    features = {"index": table.label, **table.columns()}
    many = len(levels) > 1
    data = levels if many else levels[0]
    viewer.add_labels(data, name="particles", multiscale=many, features=features, opacity=0.5, **colours, **place)


def _colormap(table: ParticleTable, column: str) -> Any:
    colours = np.concatenate([colours_by(table, column), np.ones((len(table), 1))], axis=1)
    by_label = dict(zip(table.label.tolist(), colours, strict=True))
    transparent = np.zeros(4)
    return import_napari("napari.utils.colormaps").DirectLabelColormap(
        color_dict={None: transparent, 0: transparent, **by_label}
    )

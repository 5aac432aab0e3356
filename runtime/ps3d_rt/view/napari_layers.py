"""An output in napari: the scan, the labels at all their resolutions, and the table as their features."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
import zarr

from ps3d_rt.core.grid import Box
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


@contextmanager
def viewer_window(title: str) -> Iterator[Any]:
    """Open napari's window for the block that fills it, then show it until it is closed.

    Raises:
        CapabilityError: if napari is not installed, or cannot show a window here.
    """
    napari = import_napari()
    instead = "look at the output in a browser: ps3d-rt view OUT --neuroglancer, or its report.html"
    if sys.platform == "linux" and not any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"))):
        # Qt would end the process without a word of ours.
        raise CapabilityError(f"napari needs a screen, and this session has none (DISPLAY is not set); {instead}.")
    try:
        viewer = napari.Viewer(title=title)
    except Exception as error:
        raise _no_window(error, instead) from error
    yield viewer
    try:
        napari.run()
    except Exception as error:
        raise _no_window(error, instead) from error


def _no_window(error: Exception, instead: str) -> CapabilityError:
    said = " ".join(str(error).split()) or type(error).__name__
    return CapabilityError(f"napari cannot show its window, which needs a screen and OpenGL; {instead} – {said}")


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
    place = {"scale": output.record.scan.spacing_mm, "units": ["mm"] * 3, "axis_labels": ("z", "y", "x")}
    colours = {} if color_by is None else {"colormap": _colormap(output.table, color_by)}
    if output.scan is not None:
        scale = volume_scale(output.scan)
        limits = (scale.mean - 3 * scale.std, scale.mean + 3 * scale.std)
        viewer.add_image(_Lazy(output.scan), name="scan", multiscale=False, contrast_limits=limits, **place)
    path = output.labels_path
    levels = [zarr.open_array(path / GROUP / str(i), mode="r") for i in range(LabelsZarr(path).levels)]
    features = {"index": output.table.label, **output.table.columns()}
    viewer.add_labels(levels, name="particles", multiscale=True, features=features, opacity=0.5, **colours, **place)


def _colormap(table: ParticleTable, column: str) -> Any:
    colours = np.concatenate([colours_by(table, column), np.ones((len(table), 1))], axis=1)
    by_label = dict(zip(table.label.tolist(), colours, strict=True))
    transparent = np.zeros(4)
    return import_napari("napari.utils.colormaps").DirectLabelColormap(
        color_dict={None: transparent, 0: transparent, **by_label}
    )


class _Lazy:
    """A volume that looks like an array to napari, which asks for planes."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self.shape, self.dtype, self.ndim = volume.shape, volume.dtype, 3

    def __getitem__(self, key: Any) -> np.ndarray[Any, Any]:
        keys = key if isinstance(key, tuple) else (key,)
        keys = (*keys, *[slice(None)] * (3 - len(keys)))
        spans = [
            range(n)[k] if isinstance(k, slice) else range(int(k), int(k) + 1)
            for n, k in zip(self.shape, keys, strict=True)
        ]
        z, y, x = ((min(span, default=0), max(span, default=-1) + 1) for span in spans)
        values = self._volume.read(Box((z[0], y[0], x[0]), (z[1], y[1], x[1])))
        return values[tuple(slice(None, None, k.step) if isinstance(k, slice) else 0 for k in keys)]

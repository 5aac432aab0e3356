"""What the runner makes of the host's slices, parameters and label types; needs no compox."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from ps3d_rt.errors import InputError
from ps3d_rt.events import Event, StageAdvanced, StageStarted

Array = np.ndarray[Any, Any]
LABEL_TYPES = ("uint8", "uint16", "uint32")
STAGES = ("gray scale", "size estimate", "network", "particles", "confidence", "table", "labels")
ENDS = (0.02, 0.12, 0.85, 0.92, 0.94, 0.97, 1.0)
"""How far a run is when each stage is done: the network takes most of it."""


def as_volume(slices: Array) -> Array:
    """Give a stack of slices as a volume.

    Raises:
        InputError: if the slices have colours.
    """
    if slices.ndim != 3:
        raise InputError(
            f"the images have shape {slices.shape}; slices of one gray value a voxel are needed: convert them."
        )
    return slices.astype(np.float32) if slices.dtype == np.float16 else slices


def spacing_of(parameters: dict[str, Any]) -> float:
    """Read the side of a voxel, mm.

    Raises:
        InputError: if it is not given: the host hands out slices without it.
    """
    spacing = float(parameters.get("spacing") or 0.0)
    if not spacing > 0:
        raise InputError(f"spacing is {spacing}; set the parameter to the side of a voxel in mm, such as 0.01.")
    return spacing


def particle_size_of(parameters: dict[str, Any]) -> float | Literal["auto"]:
    """Read the rough mean diameter of the particles, mm; 0 estimates it.

    >>> particle_size_of({"particle_size": 0.29}), particle_size_of({})
    (0.29, 'auto')
    """
    return float(parameters.get("particle_size") or 0.0) or "auto"


def device_of(host: str) -> str:
    """Name the host's device as a run does.

    >>> device_of("cpu"), device_of("gpu"), device_of("cuda:1")
    ('cpu', 'cuda:0', 'cuda:1')
    """
    return "cuda:0" if host in ("gpu", "cuda") else host


def fitting(labels: Array, particles: int, label_type: str) -> Array:
    """Give labels the type that the host asked for.

    Args:
        labels: 0..N, N = ``particles``.
        particles: how many there are.
        label_type: one of :data:`LABEL_TYPES`.

    Raises:
        InputError: if they do not fit: no label is ever cut off.
    """
    if label_type not in LABEL_TYPES:
        raise InputError(f"label_type is {label_type!r}; choose one of {', '.join(LABEL_TYPES)}.")
    most = int(np.iinfo(label_type).max)
    if particles > most:
        wider = next(name for name in LABEL_TYPES if particles <= np.iinfo(name).max)
        raise InputError(
            f"{particles} particles were found, and labels of {label_type} tell {most} apart; set label_type to "
            f"{wider}, or segment a part of the scan."
        )
    return labels.astype(label_type)


class HostProgress:
    """Tells the host how far a run is, from 0 to 1 and never back."""

    def __init__(self, tell: Callable[[float], object]) -> None:
        self._tell = tell
        self._total = 1
        self._told = 0.0

    def __call__(self, event: Event) -> None:
        """Hear an event of the run."""
        if isinstance(event, StageStarted):
            self._total = max(1, event.total)
        elif isinstance(event, StageAdvanced) and event.stage in STAGES:
            place = STAGES.index(event.stage)
            start = ENDS[place - 1] if place else 0.0
            self._told = max(self._told, start + (ENDS[place] - start) * min(1.0, event.done / self._total))
            self._tell(self._told)

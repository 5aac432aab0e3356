"""How well a model segments labelled scans, as predict would do it: before a training, and after."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ps3d_rt.core.arrays import Array
from ps3d_rt.core.metrics import evaluate
from ps3d_rt.engines import Engine
from ps3d_rt.io.base import ArrayVolume
from ps3d_rt.model import ModelBundle
from ps3d_rt.pipeline import RunResult, predict_volume
from ps3d_rt.plan import PredictConfig

MEASURES = ("f1_instance", "f1", "merger_ratio", "splitter_ratio")


@dataclass(frozen=True, eq=False)
class LabelledPart:
    """A part of a scan with labels."""

    name: str
    image: Array
    """(z, y, x) gray values."""
    labels: Array
    """(z, y, x) particle ids, 0 elsewhere."""
    known: Array | None
    """(z, y, x) truth values: where it is labelled; None: all of it."""
    spacing_mm: tuple[float, float, float]
    particle_size_mm: float


def segment_part(
    bundle: ModelBundle, engine: Engine, image: Array, spacing_mm: tuple[float, float, float], size_mm: float | None
) -> RunResult:
    """Segment a part of a scan in memory, as ``predict`` would; the size is estimated if it is None."""
    config = PredictConfig(spacing_mm=spacing_mm, particle_size_mm=size_mm, overlap=bundle.overlap)
    return predict_volume(ArrayVolume(image, spacing_mm, name="part"), bundle, engine, config)


def score(bundle: ModelBundle, engine: Engine, parts: Iterable[LabelledPart]) -> list[dict[str, Any]]:
    """Segment labelled parts and compare; where nobody has labelled counts nowhere.

    Returns:
        for every part its name, its particles and :data:`MEASURES`.
    """
    rows = []
    for part in parts:
        found = segment_part(bundle, engine, part.image, part.spacing_mm, part.particle_size_mm).labels
        truth = part.labels
        if part.known is not None:
            found, truth = (np.where(part.known, ids, 0) for ids in (found, truth))
        metrics = evaluate(found, truth)
        measured = {name: round(float(getattr(metrics, name)), 4) for name in MEASURES}
        rows.append({"name": part.name, "particles": len(np.setdiff1d(truth, [0])), **measured})
    return rows


def mean_of(rows: list[dict[str, Any]], measure: str = "f1_instance") -> float:
    """Mean over the parts; NaN without any."""
    return float(np.mean([row[measure] for row in rows])) if rows else float("nan")

"""Whether a scan is like those that a model was trained on: by its statistics, beside those of the training samples.

The statistics of the training samples are taken for one cloud: a mean and a covariance, of numbers on scales on which
clouds are round (:data:`SCALES`). How far a scan lies from it is its Mahalanobis distance, per root of the numbers that
are known: about 1 for a training sample. One number that is far off changes it little, so the largest deviation of any
counts too. Unlike is what lies a third farther, by either, than nearly all training samples do from the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.errors import InputError

Statistics = Mapping[str, float]
"""From :func:`ps3d_rt.core.scan_statistics.to_statistics`."""
Floats = NDArray[np.float64]


def _log(value: float) -> float:
    return float(np.log(max(value, 1e-3)))


def _root(value: float) -> float:
    return float(np.sqrt(max(value, 0.0)))


def _plain(value: float) -> float:
    return value


SCALES: dict[str, tuple[Callable[[float], float], str]] = {
    "background": (_plain, "gray value of the embedding"),
    "noise": (_log, "noise"),
    "noise_over_3": (_log, "graininess of the noise"),
    "noise_over_8": (_log, "unevenness of the embedding"),
    "noise_across_planes": (_log, "noise from plane to plane"),
    "dark_share": (_root, "share of dark spots in the embedding"),
    "bright_share": (_root, "share of bright matter that is no particle"),
    "level_p10": (_plain, "contrast of the darkest particles"),
    "level_p50": (_plain, "contrast of the typical particle"),
    "level_p90": (_plain, "contrast of the brightest particles"),
    "texture": (_log, "noise inside of particles"),
    "edge_over_1": (_plain, "sharpness of edges"),
    "edge_over_3": (_plain, "width of edges"),
    "fill": (_root, "share of particles in the volume"),
    "contact_share": (_root, "share of the surfaces that touch"),
    "size": (_log, "size of the particles on the network's grid"),
    "size_spread": (_log, "spread of the sizes"),
}
"""Statistic → the scale that it is compared on, and what it is called."""
LEAST_SAMPLES = 8
USUAL, MARGIN = 0.95, 1.35
"""Share of the training samples, and how much farther from the others than these a scan may lie: odd ones among the
training samples do not move the limit."""
TOLD = 3
"""Statistics that are named where a scan is unlike, at most."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingCloud:
    """The statistics of the samples that a model was trained on."""

    names: tuple[str, ...]
    mean: Floats
    """(k,) on the scales of :data:`SCALES`, as the next."""
    covariance: Floats
    """(k, k)"""
    low: Floats
    """(k,) least and largest value among the samples, as measured."""
    high: Floats
    limit: float
    """Distance from which on a scan is unlike."""
    deviation_limit: float
    """Deviations of one statistic from which on it is, too."""
    samples: int

    def to_json(self) -> dict[str, Any]:
        """Give the content of the field ``training_statistics`` of a bundle."""
        arrays = {name: np.round(getattr(self, name), 6).tolist() for name in ("mean", "covariance", "low", "high")}
        limits = {name: round(getattr(self, name), 4) for name in ("limit", "deviation_limit")}
        return {"names": list(self.names), **arrays, **limits, "samples": self.samples}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TrainingCloud:
        """Read what :meth:`to_json` gave.

        Raises:
            InputError: if it is something else.
        """
        try:
            names = tuple(str(name) for name in content["names"])
            mean, covariance, low, high = (
                np.asarray(content[name], np.float64) for name in ("mean", "covariance", "low", "high")
            )
            limit, deviation_limit = float(content["limit"]), float(content["deviation_limit"])
            samples = int(content["samples"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"the model's training_statistics are damaged; export it again – {error}") from error
        k = (len(names),)
        fits = mean.shape == low.shape == high.shape == k and covariance.shape == k * 2
        if (
            not fits
            or set(names) - SCALES.keys()
            or not np.isfinite([limit, deviation_limit, *mean, *covariance.flat]).all()
        ):
            raise InputError("the model's training_statistics do not belong together; export the model again.")
        return cls(names, mean, covariance, low, high, limit, deviation_limit, samples)


@dataclass(frozen=True, slots=True)
class Likeness:
    """How a scan compares with the training samples."""

    distance: float
    limit: float
    deviation: float
    """Of the statistic that is farthest off."""
    deviation_limit: float
    apart: tuple[str, ...]
    """Statistics beyond all training samples, the farthest first."""

    @property
    def is_unlike(self) -> bool:
        """Whether the scan lies outside of what the model has seen."""
        return self.distance > self.limit or self.deviation > self.deviation_limit


def learn_cloud(rows: Sequence[Statistics]) -> TrainingCloud:
    """Take the statistics of training samples together.

    A statistic that fewer than half of them have is left out, and so is one that never changes.

    Raises:
        InputError: if there are fewer than eight.
    """
    if len(rows) < LEAST_SAMPLES:
        raise InputError(
            f"{len(rows)} samples were measured; {LEAST_SAMPLES} or more are needed to tell what is like them."
        )
    table = np.array([[_scaled(row, name) for name in SCALES] for row in rows])
    seen = np.isfinite(table)
    spread = np.array(
        [np.ptp(column[there]) if there.any() else 0.0 for column, there in zip(table.T, seen.T, strict=True)]
    )
    kept = (seen.mean(axis=0) >= 0.5) & (spread > 1e-9)
    names = tuple(name for name, keep in zip(SCALES, kept, strict=True) if keep)
    table = table[:, kept]
    measured = [[row[name] for row in rows if name in row] for name in names]
    mean, covariance = _moments(table)
    distances, deviations = zip(*_from_the_others(table), strict=True)
    return TrainingCloud(
        names=names,
        mean=mean,
        covariance=covariance,
        low=np.array([min(values) for values in measured]),
        high=np.array([max(values) for values in measured]),
        limit=MARGIN * float(np.quantile(distances, USUAL)),
        deviation_limit=MARGIN * float(np.quantile(deviations, USUAL)),
        samples=len(rows),
    )


def compare(statistics: Statistics, cloud: TrainingCloud) -> Likeness:
    """Say how far a scan lies from the training samples, and in what."""
    row = np.array([_scaled(statistics, name) for name in cloud.names])
    off = _deviations(row, cloud.mean, cloud.covariance)
    beyond = [
        (float(-off[k]), name)
        for k, name in enumerate(cloud.names)
        if name in statistics and not cloud.low[k] <= statistics[name] <= cloud.high[k]
    ]
    return Likeness(
        distance=_distance(row, cloud.mean, cloud.covariance),
        limit=cloud.limit,
        deviation=float(np.max(off[np.isfinite(off)], initial=0.0)),
        deviation_limit=cloud.deviation_limit,
        apart=tuple(name for _, name in sorted(beyond)),
    )


def likeness_facts(statistics: Statistics, cloud: TrainingCloud) -> dict[str, Any]:
    """Say for ``run.json`` how a scan compares with the training samples."""
    found = compare(statistics, cloud)
    ends = np.stack([cloud.low, cloud.high], axis=1).tolist()
    ranges = dict(zip(cloud.names, ends, strict=True))
    return {
        "distance": round(found.distance, 3),
        "limit": round(found.limit, 3),
        "deviation": round(found.deviation, 3),
        "deviation_limit": round(found.deviation_limit, 3),
        "unlike": found.is_unlike,
        "apart": {name: ranges[name] for name in found.apart[:TOLD]},
        "statistics": {name: round(value, 5) for name, value in statistics.items()},
    }


def _scaled(row: Statistics, name: str) -> float:
    return SCALES[name][0](row[name]) if name in row else np.nan


def _moments(table: Floats) -> tuple[Floats, Floats]:
    """Mean and covariance of rows; what a row lacks is taken for the mean, and few rows shrink towards no relation."""
    mean = np.nanmean(table, axis=0)
    # One number far off must not hide all others: a sample counts with at most three deviations.
    deviation = np.maximum(np.nanstd(table, axis=0), 1e-6)
    filled = np.clip(np.where(np.isfinite(table), table - mean, 0.0), -3 * deviation, 3 * deviation)
    covariance = filled.T @ filled / len(table)
    shrink = table.shape[1] / (table.shape[1] + len(table))
    return mean, (1 - shrink) * covariance + shrink * np.diag(np.diag(covariance))


def _from_the_others(table: Floats) -> list[tuple[float, float]]:
    """Give the distance of every row from all the others, and its largest deviation."""
    found = []
    for k, row in enumerate(table):
        moments = _moments(np.delete(table, k, 0))
        found.append((_distance(row, *moments), float(np.nanmax(_deviations(row, *moments)))))
    return found


def _deviations(row: Floats, mean: Floats, covariance: Floats) -> Floats:
    """How far each number is off, in standard deviations; NaN where it is not known."""
    deviations: Floats = np.abs(row - mean) / np.sqrt(np.diag(covariance))
    return deviations


def _distance(row: Floats, mean: Floats, covariance: Floats) -> float:
    known = np.isfinite(row)
    if not known.any():
        return 0.0
    away = (row - mean)[known]
    inverse = np.linalg.pinv(covariance[np.ix_(known, known)], hermitian=True)
    squared = max(0.0, float(away @ inverse @ away))
    return sqrt(squared / int(known.sum()))

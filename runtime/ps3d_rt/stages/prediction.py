"""Everything that decides the labels of a run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from typing import Any

from ps3d_rt.core.size_trials import SizeEstimate
from ps3d_rt.engines.base import Engine
from ps3d_rt.io.base import Volume
from ps3d_rt.model import ModelBundle
from ps3d_rt.plan import PredictConfig, RunPlan
from ps3d_rt.stages.gray_scale import GrayAnalysis
from ps3d_rt.versions import versions

Opened = tuple[Volume, ModelBundle, Engine, PredictConfig]
"""What a run needs: a scan, a model, an open engine of the model, and how."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One volume, one model, one engine: everything that decides the labels."""

    volume: Volume
    model: ModelBundle
    engine: Engine
    config: PredictConfig
    plan: RunPlan
    gray: GrayAnalysis
    scan: dict[str, Any] = field(default_factory=dict)
    """What tells the volume from any other: a run that is resumed needs it."""
    estimate: SizeEstimate | None = None
    """How the particle size came about; None if it was given."""
    size_key: str = ""
    """What decided the estimate, if there is one."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Of the stages before the plan."""

    def identity(self) -> dict[str, Any]:
        """Give what decides the bytes of the output and the list of tasks, as JSON: what a run goes on by."""
        known = identity_before_plan(self.volume, self.model, self.engine, self.config, self.gray, self.scan)
        return {**known, "plan": self.plan.identity()}


def identity_before_plan(
    volume: Volume, model: ModelBundle, engine: Engine, config: PredictConfig, gray: GrayAnalysis, scan: dict[str, Any]
) -> dict[str, Any]:
    """Give what is known before the particle size is; arguments as the fields of :class:`Prediction`."""
    return {
        "versions": versions(),
        "scan": {"name": volume.name, "dtype": volume.dtype.name, **scan},
        "spacing_mm": config.spacing_mm,
        "gray": asdict(gray.scale),
        "gray_bins": asdict(gray.bins),
        "outside": gray.facts()["outside_value"],
        "selection": volume.selection,
        "skip_empty": config.skip_empty,
        "engine": asdict(replace(engine.spec, reason="", warnings=())),  # what is said decides nothing
        "model": {"sha256": model.hash_in(engine.spec.choice), **asdict(model.rules), "core_bias": model.core_bias},
        "lowpass": model.lowpass,
    }


@dataclass(frozen=True)
class KnownSize:
    """An estimate of the particle size that an earlier run made."""

    key: str
    """Of all that decided it: :func:`size_key`."""
    estimate: SizeEstimate


def size_key(identity: dict[str, Any], overlap: float) -> str:
    """Name what decides an estimate of the particle size: a run with the same key takes it over.

    Args:
        identity: from :func:`identity_before_plan`.
        overlap: of the patches.
    """
    return sha256(json.dumps([identity, overlap], sort_keys=True).encode()).hexdigest()

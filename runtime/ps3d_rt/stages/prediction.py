"""What a run is: everything that decides its labels."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ps3d_rt.core.size_trials import SizeEstimate
from ps3d_rt.engines.base import Engine
from ps3d_rt.io.base import Volume
from ps3d_rt.model import ModelBundle
from ps3d_rt.plan import PredictConfig, RunPlan
from ps3d_rt.stages.gray_scale import GrayLook
from ps3d_rt.versions import versions


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One volume, one model, one engine: everything that decides the labels."""

    volume: Volume
    model: ModelBundle
    engine: Engine
    config: PredictConfig
    plan: RunPlan
    gray: GrayLook
    scan: dict[str, Any] = field(default_factory=dict)
    """What tells the volume from any other: a run that is resumed needs it."""
    estimate: SizeEstimate | None = None
    """How the particle size came about; None if it was given."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Of the stages before the plan."""

    def spec(self) -> dict[str, Any]:
        """Give what decides the bytes of the output and the list of tasks, as JSON: runs of one spec are one run."""
        return {
            "versions": versions(),
            "scan": {"name": self.volume.name, "dtype": self.volume.dtype.name, **self.scan},
            "spacing_mm": self.config.spacing_mm,
            "gray": asdict(self.gray.scale),
            "outside": self.gray.facts()["outside_value"],
            "selection": self.volume.selection,
            "skip_empty": self.config.skip_empty,
            "engine": asdict(self.engine.spec),
            "model": {
                "sha256": self.model.hash,
                **asdict(self.model.rules),
                "core_bias": self.model.core_bias,
            },
            "lowpass": self.model.lowpass,
            "plan": self.plan.spec(),
        }

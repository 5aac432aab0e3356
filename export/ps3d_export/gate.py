"""The accuracy gate: an engine segments labelled samples beside the float32 reference, and is refused if it loses.

    f1_instance of the reference − f1_instance of the engine, means over the samples:  at most 0.005
    scores that are NaN or infinite:                                                   none

Scores differ a little in every lower precision; what counts is whether particles come out the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, final

import numpy as np

from ps3d_export.samples import CalibrationScan
from ps3d_rt.core.arrays import array_namespace
from ps3d_rt.core.metrics import evaluate
from ps3d_rt.engines import Engine
from ps3d_rt.engines.cache import Verdict
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import ArrayVolume
from ps3d_rt.model import ModelBundle
from ps3d_rt.pipeline import predict_volume
from ps3d_rt.plan import PredictConfig

MOST_LOSS = 0.005
"""Of F1_instance."""
LEAST_REFERENCE = 0.3
"""F1_instance of the reference, below which the samples are not for this model: nothing could be lost."""
MEASURES = ("f1_instance", "merger_ratio", "splitter_ratio")


def judge(engine: Engine, reference: Engine, bundle: ModelBundle, samples: Iterable[CalibrationScan]) -> Verdict:
    """Run both on every sample.

    Args:
        engine: to be judged.
        reference: the same model in float32.
        bundle: says how to normalize and to post-process; of either, they agree in that.
        samples: labelled, not seen in training.

    Returns:
        Whether it passes, and what was measured, as JSON: for ``engine`` and ``reference`` the means of the three
        measures, ``patches_per_s``, ``not_finite`` (scores) and ``spec``; their ``difference`` (engine − reference)
        and the ``standard_error`` of that of f1_instance; and the three measures of every sample.

    Raises:
        InputError: if there is no sample, or the reference finds too little in them to lose anything.
    """
    both = {"engine": Watched(engine), "reference": Watched(reference)}
    rows: list[dict[str, Any]] = []
    for sample in samples:
        found = {name: _measured(watched, bundle, sample) for name, watched in both.items()}
        rows.append({"name": sample.name, "particles": len(np.setdiff1d(sample.instances, [0])), **found})
    if not rows:
        raise InputError("there is no sample to judge with; give some: --samples FOLDER.")
    means = {name: {m: float(np.mean([row[name][m] for row in rows])) for m in MEASURES} for name in both}
    if means["reference"]["f1_instance"] < LEAST_REFERENCE:
        raise InputError(
            f"the float32 reference reaches F1_instance {means['reference']['f1_instance']:.3f} on these samples; "
            f"at least {LEAST_REFERENCE} is needed for a comparison. Give samples of the model's own material."
        )
    difference = {m: means["engine"][m] - means["reference"][m] for m in MEASURES}
    passed = difference["f1_instance"] >= -MOST_LOSS and both["engine"].not_finite == 0
    told = {name: means[name] | watched.facts() for name, watched in both.items()}
    apart = [row["engine"]["f1_instance"] - row["reference"]["f1_instance"] for row in rows]
    limits = {
        "most_loss": MOST_LOSS,
        "standard_error": float(np.std(apart, ddof=1) / len(apart) ** 0.5) if len(apart) > 1 else None,
    }
    return Verdict(passed, told | {"difference": difference, **limits, "samples": rows})


def reason(verdict: Verdict) -> str:
    """Say in a sentence what a verdict rests on."""
    engine, difference = verdict.measured["engine"], verdict.measured["difference"]
    if engine["not_finite"]:
        return f"{engine['not_finite']} scores are NaN or infinite."
    return (
        f"F1_instance is {engine['f1_instance']:.4f}, {difference['f1_instance']:+.4f} against float32; "
        f"{-MOST_LOSS} is allowed."
    )


def _measured(watched: Watched, bundle: ModelBundle, sample: CalibrationScan) -> dict[str, float]:
    config = PredictConfig(
        spacing_mm=sample.spacing_mm, particle_size_mm=sample.particle_size_mm, overlap=bundle.overlap
    )
    volume = ArrayVolume(sample.image, sample.spacing_mm, name=sample.name)
    metrics = evaluate(predict_volume(volume, bundle, watched, config).labels, sample.instances)
    return {measure: float(getattr(metrics, measure)) for measure in MEASURES}


@final
class Watched(Engine):
    """An engine that is timed, and whose scores are looked at. Does not own what it watches."""

    def __init__(self, engine: Engine) -> None:
        """Watch ``engine``."""
        self._engine = engine
        self._warm = False
        self.spec = engine.spec
        self.patches = 0
        self.seconds = 0.0
        self.not_finite = 0

    def _infer(self, patches: Any) -> Any:
        xp = array_namespace(patches)
        if not self._warm:  # kernels are loaded and chosen in the first call
            int(xp.sum(xp.isfinite(self._engine.infer(patches))))
            self._warm = True
        start = time.perf_counter()
        scores = self._engine.infer(patches)
        # On a GPU this waits for the scores, so it belongs to the time.
        self.not_finite += scores.size - int(xp.sum(xp.isfinite(scores)))
        self.seconds += time.perf_counter() - start
        self.patches += len(patches)
        return scores

    def facts(self) -> dict[str, Any]:
        """Say what was seen, as JSON."""
        return {
            "patches_per_s": round(self.patches / self.seconds, 3) if self.seconds else None,
            "not_finite": self.not_finite,
            "spec": asdict(self.spec),
        }

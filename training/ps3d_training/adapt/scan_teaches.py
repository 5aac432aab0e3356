"""A model that learns from a scan without a single label, and is adopted only if it segments better.

1. the model segments two parts of the scan: one to learn from, one that is left out;
2. the first part is measured, and labelled samples in its likeness are rendered (:mod:`ps3d_training.adapt.render`);
3. the model is trained on from its own weights, beside old samples;
4. both models are judged on the part that was left out, and on fresh old samples (:mod:`ps3d_training.adapt.judge`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from ps3d_rt.engines import open_engine
from ps3d_rt.io.base import Volume
from ps3d_rt.model import ModelBundle, check_place, load_model, write_bundle
from ps3d_rt.report.drawing import overlay, shades_of
from ps3d_training import dataset
from ps3d_training.adapt.go_on import Continuation, add_precisions, prepare_old, train_on
from ps3d_training.adapt.hold_back import write_parts
from ps3d_training.adapt.judge import Judgement, judge, reasons_against
from ps3d_training.adapt.look import look_at_part
from ps3d_training.adapt.parts import SegmentedPart, segmented_parts
from ps3d_training.adapt.render import render_samples
from ps3d_training.adapt.score import LabelledPart, mean_of, score, segment_part
from ps3d_training.adapt.update import begin, work_folder
from ps3d_training.capability import require_training_packages
from ps3d_training.recipe_sources import draw_specs
from ps3d_training.synth.folder import make

RESULT = "adapt.json"
OWN_SEEDS = 90_000
"""From the first seed of a source to those of the samples that both models are judged on."""

Teach = Callable[[SegmentedPart, ModelBundle, int], Iterator[LabelledPart]]
"""Makes labelled samples of a part of a scan: the part, the model that segmented it, and how many."""


def in_its_likeness(part: SegmentedPart, bundle: ModelBundle, count: int) -> Iterator[LabelledPart]:
    """Render samples that look like a part; their labels are true."""
    yield from render_samples(look_at_part(part, bundle.target_size_voxels), count, part.name)


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """How a scan teaches a model."""

    how: Continuation
    samples: int = 24
    """Rendered, of each scan."""
    own_samples: int = 6
    """Simulated like those of the first training, to see that nothing is forgotten."""
    teach: Teach = field(default=in_its_likeness)
    with_int8: bool = True


def adapt(
    scans: Sequence[Volume],
    out: Path,
    adaptation: Adaptation,
    *,
    init: str = "default",
    particle_size_mm: float | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Train a model on in the likeness of scans; write it if it is better on what they left out.

    Args:
        scans: open; with a spacing.
        out: bundle to write, ``NAME.ps3d``; nothing is written there if the new model is not adopted.
        adaptation: how.
        init: name or path of the bundle to begin with.
        particle_size_mm: mean diameter of the particles; None: estimated.
        overwrite: replace a bundle that is there.

    Returns:
        ``adopted``, ``reasons`` against it, what both models were judged by, and ``picture``; the same is in
        ``adapt.json`` in the work folder.

    Raises:
        InputError: if a scan is too small or shows nothing sure, or the model cannot be trained on.
        InterruptedRun: when stopped by the keyboard; the same call goes on.
    """
    require_training_packages()
    check_place(out, overwrite=overwrite)
    how, bundle, work = adaptation.how, load_model(init), work_folder(out)
    begin(work, {"init": bundle.hash, "scans": [scan.name for scan in scans], "samples": adaptation.samples})
    how.say(f"segmenting parts of {len(scans)} scans with {bundle.name}")
    with open_engine(bundle, device="cpu") as engine:
        parts = [segmented_parts(scan, bundle, engine, particle_size_mm) for scan in scans]
    names = _prepare_taught([part for part, _ in parts], bundle, adaptation, work)
    prepare_old(how, how.plan(bundle), work)
    candidate = train_on(how, bundle, names, work, work / "candidate.ps3d")
    how.say("judging both models on what was left out")
    left_out = [part for _, part in parts]
    own = list(_own_samples(adaptation))
    before, after = (judged(model, left_out, own) for model in (bundle, candidate))
    against = reasons_against(before.mean, after.mean, (before.own, after.own))
    if not against:
        _adopt(candidate, out, adaptation, overwrite=overwrite)
    picture = work / "before_and_after.png"
    picture.write_bytes(side_by_side(left_out[0], before.labels, after.labels))
    result = {
        "adopted": not against,
        "bundle": None if against else str(out),
        "reasons": against,
        "before": before.facts(),
        "after": after.facts(),
        "picture": str(picture),
    }
    (work / RESULT).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def _prepare_taught(parts: list[SegmentedPart], bundle: ModelBundle, adaptation: Adaptation, work: Path) -> set[str]:
    """Make the samples of the parts and prepare them, unless that was done; give their names."""
    listing = work / "taught.json"
    if not listing.is_file():
        adaptation.how.say(f"making {adaptation.samples} labelled samples of each")
        taught = [
            replace(sample, name=f"taught{number}_{k:03d}")
            for number, part in enumerate(parts)
            for k, sample in enumerate(adaptation.teach(part, bundle, adaptation.samples))
        ]
        folder = write_parts(work / "new", taught)
        dataset.prepare(folder, work / "prepared", adaptation.how.plan(bundle), overwrite=True)
        listing.write_text(json.dumps([sample.name for sample in taught]), encoding="utf-8")
    return set(json.loads(listing.read_text(encoding="utf-8")))


def _own_samples(adaptation: Adaptation) -> Iterator[LabelledPart]:
    for spec in draw_specs(adaptation.how.sources, adaptation.own_samples, OWN_SEEDS):
        sample = make(spec)
        yield LabelledPart(
            str(spec.seed), sample.image, sample.labels, None, (spec.spacing_mm,) * 3, sample.particle_size_mm
        )


@dataclass(frozen=True, eq=False)
class Judged:
    """What a model is judged by."""

    parts: list[Judgement]
    """Of each scan, on what was left out."""
    own: float
    """F1_instance on samples like those of the first training; NaN without any."""
    labels: Any
    """(z, y, x) of the first scan's part."""

    @property
    def mean(self) -> Judgement:
        """Mean over the scans."""
        names = ("agreement", "foreground", "dropped")
        means = {name: float(np.mean([getattr(part, name) for part in self.parts])) for name in names}
        return Judgement(**means, particles=sum(part.particles for part in self.parts))

    def facts(self) -> dict[str, Any]:
        """Give all as JSON."""
        return {**self.mean.facts(), "own_f1_instance": None if np.isnan(self.own) else round(self.own, 4)}


def judged(bundle: ModelBundle, parts: Sequence[SegmentedPart], own: Sequence[LabelledPart]) -> Judged:
    """Judge a model in fp32 on the CPU."""
    with open_engine(bundle, device="cpu", precision="fp32") as engine:
        first = parts[0]
        labels = segment_part(bundle, engine, first.image, first.spacing_mm, first.particle_size_mm).labels
        return Judged([judge(bundle, engine, part) for part in parts], mean_of(score(bundle, engine, own)), labels)


def _adopt(candidate: ModelBundle, out: Path, adaptation: Adaptation, *, overwrite: bool) -> None:
    files = {name: candidate.path / name for name in candidate.sha256}
    written = write_bundle(out, replace(candidate, name=out.stem), files, overwrite=overwrite)
    if adaptation.with_int8:
        adaptation.how.say("adding 8-bit networks, and judging all precisions")
        add_precisions(written)


def side_by_side(part: SegmentedPart, before: Any, after: Any) -> bytes:
    """Draw the middle plane with the outlines of two segmentations beside each other, as PNG."""
    middle = part.image.shape[0] // 2
    gray = part.image[middle]
    scale = max(1, 512 // max(gray.shape))
    drawn = [overlay(gray, labels[middle], scale, shades=shades_of(gray)) for labels in (before, after)]
    gap = np.full((drawn[0].shape[0], 8, 3), 255, np.uint8)
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(np.concatenate([drawn[0], gap, drawn[1]], axis=1))))

"""Ways to scale gray values, with the same weights: F1 and F1_instance on samples as different as scans are.

    python benchmarks/gray_scale.py [--model PATH] [--samples loose,dense-a] [--only-changes]

The samples are simulated (``ps3d_training.synth``) and were never in the accuracy benchmark. Without a network, it is
measured too how far embedding and contrast move when the same scene is embedded in twice the resin, when its corners
are filled, when it is saved as 8 bit, and so on.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ps3d_bench.environment import write_result
from ps3d_bench.script import add_model, result_head, run_script, script_parser
from ps3d_rt.core.arrays import Array
from ps3d_rt.core.embedding import Embedding, find_embedding
from ps3d_rt.core.metrics import evaluate
from ps3d_rt.core.outside import SampledVoxels, leave_out_constant
from ps3d_rt.engines import Engine, open_engine
from ps3d_rt.io.base import ArrayVolume
from ps3d_rt.model import ModelBundle, load_model
from ps3d_rt.pipeline import predict_volume
from ps3d_rt.plan import PredictConfig
from ps3d_training.synth import SampleSpec, SimulatedSample, make_sample, random_spec

Scale = Callable[[Array, Embedding], Array]
LOOSE: dict[str, Any] = {"touching": 0.08, "fill": 0.25}
DENSE: dict[str, Any] = {"touching": 0.9, "fill": 0.7}
FLOOR = -1.5


def _spec(seed: int, size: float, side: int, **fixed: Any) -> SampleSpec:
    return random_spec(seed, particle_size_voxels=size, shape=(side,) * 3, **fixed)


SAMPLES = {
    "loose": _spec(985003, 18, 96, **LOOSE),
    "noisy": _spec(985001, 14, 96, **LOOSE),
    "spacers": _spec(985007, 20, 112, **LOOSE),
    "far-apart": _spec(985011, 18, 112, phases=(1.8, 3.2, 6.0), spacer_gray=1.1, matrix_gray=1.0, **LOOSE),
    "very-far-apart": _spec(985047, 16, 96, phases=(1.4, 3.0, 12.0), fill=0.4, touching=0.3, size_spread=0.6),
    "dense-a": _spec(985021, 18, 96, phases=(1.8, 2.2, 3.0), **DENSE),
    "dense-b": _spec(985025, 20, 96, phases=(1.3, 1.9, 2.4), size_spread=0.6, **DENSE),
    "dense-c": _spec(985027, 16, 96, phases=(1.8, 2.5, 6.0), bubbles=0.0, spacers=0.0, **DENSE),
    "tube": _spec(985031, 16, 112, container=True, container_radius=0.4, container_offset=0.0, **LOOSE),
    "sparse": _spec(985041, 16, 96, fill=0.03, touching=0.0),
    "bubbles": _spec(985043, 18, 96, fill=0.2, touching=0.2, bubbles=0.15),
    "in-air": _spec(985045, 18, 96, fill=0.6, touching=0.8, matrix_gray=0.0, bubbles=0.0),
}


def straight(image: Array, found: Embedding) -> Array:
    """Put the embedding at −0.5 and typical particles at 1.3, with the ceiling that weights have seen."""
    return np.clip(-0.5 + 1.8 * (image - found.gray) / (1.3 * found.contrast), FLOOR, 4.5)


def arsinh(image: Array, found: Embedding) -> Array:
    """Straight near the embedding, a logarithm far above it."""
    return np.maximum(-0.5 + 1.6 * np.arcsinh((image - found.gray) / found.contrast), FLOOR)


def steep(image: Array, found: Embedding) -> Array:
    """Compress more: straight up to a third of the contrast only."""
    return np.maximum(-0.5 + 0.95 * np.arcsinh(3 * (image - found.gray) / found.contrast), FLOOR)


def root(image: Array, found: Embedding) -> Array:
    """Compress less far above: a square root, straight around the embedding."""
    ratio = (image - found.gray) / found.contrast
    bent = -0.5 + 1.8 * np.sign(ratio) * (np.sqrt(1 + 2 * np.abs(ratio)) - 1) / 0.9
    floored: Array = np.maximum(bent, FLOOR)
    return floored


CANDIDATES: dict[str, Scale] = {"straight": straight, "arsinh": arsinh, "steep": steep, "root": root}


class Trial:
    """A model with its engine; scores what it finds."""

    def __init__(self, bundle: ModelBundle, engine: Engine) -> None:
        self.bundle, self.engine = bundle, engine
        self.as_shown = replace(
            bundle, gray_scheme="constants", gray_mean=0.0, gray_std=1.0, gray_floor=None, gray_ceiling=None
        )

    def labels(self, image: Array, sample: SimulatedSample, bundle: ModelBundle) -> Array:
        config = PredictConfig(
            spacing_mm=(sample.spec.spacing_mm,) * 3,
            particle_size_mm=sample.particle_size_mm,
            overlap=bundle.overlap,
        )
        found: Array = predict_volume(ArrayVolume(image), bundle, self.engine, config).labels
        return found

    def compare(self, sample: SimulatedSample) -> dict[str, Any]:
        """Score the model's own scale and the candidates."""
        parts = [SampledVoxels((0, 0, 0), sample.image)]
        found = find_embedding(parts, sample.image.shape)
        shown = {name: scale(sample.image.astype(np.float64), found) for name, scale in CANDIDATES.items()}
        runs = {"volume": self.labels(sample.image, sample, self.bundle)}
        runs |= {name: self.labels(image.astype(np.float32), sample, self.as_shown) for name, image in shown.items()}
        return {name: _scores(labels, sample.labels) for name, labels in runs.items()}


@dataclass(frozen=True)
class Form:
    """The same scene in another form."""

    image: Array
    factor: float = 1.0
    offset: float = 0.0
    """Gray values of the scene are those of the first form times ``factor``, plus ``offset``."""
    scene: Array | None = None
    """(z, y, x) of the first form: what of it is still to be seen; None: all."""


def forms_of(image: Array, plain: Embedding) -> dict[str, Form]:
    """Put a scene into twice the resin, fill its corners, save it as 8 bit, and so on.

    Args:
        image: (z, y, x) gray values.
        plain: the embedding found in it.
    """
    radius, side = _radius(image.shape), image.shape[1]
    low, high = np.percentile(image, [0.1, 99.9])
    step = 255 / (high - low)
    within = radius <= side / 2 - 0.5
    clipped = np.clip((image - low) * step, 0, 255).round().astype(np.uint8)
    # The last plane touches the resin that is put beside it, and particles there are no longer cut by a face.
    all_but_last = np.ones(image.shape, bool)
    all_but_last[:, :, -1] = False
    return {
        "corners 0": Form(np.where(within, image, 0.0), scene=within),
        "corners 65535": Form(np.where(within, image, 65535.0), scene=within),
        "scaled and shifted": Form(image * 0.15 - 1000, 0.15, -1000.0),
        "8 bit": Form(clipped, step, -low * step),
        "twice the resin": Form(_embedded(image, plain), scene=all_but_last),
        "saturated": Form(np.minimum(image, plain.gray + 1.5 * plain.contrast)),
        "bright container": Form(_walled(image, plain), scene=radius <= 0.42 * side),
    }


def changes(sample: SimulatedSample) -> dict[str, dict[str, float]]:
    """Tell how the scale follows the same scene in other forms: shift of the embedding, ratio of the contrasts."""
    image = sample.image.astype(np.float64)
    plain = embedding_of(image)
    rows = {}
    for name, form in forms_of(image, plain).items():
        found = embedding_of(form.image)
        moved = found.gray - (plain.gray * form.factor + form.offset)
        rows[name] = {
            "embedding_moves_in_noise": round(moved / (plain.noise * form.factor), 3),
            "contrast_ratio": round(found.contrast / (plain.contrast * form.factor), 3),
        }
    return rows


def embedding_of(image: Array) -> Embedding:
    """Find the embedding as a run does, without what lies outside."""
    parts, _ = leave_out_constant([SampledVoxels((0, 0, 0), image)], image.shape)
    return find_embedding(parts, image.shape)


def _radius(shape: tuple[int, ...]) -> Array:
    _, height, width = shape
    y, x = np.ogrid[:height, :width]
    return np.broadcast_to(np.hypot(y - (height - 1) / 2, x - (width - 1) / 2), shape)


def _embedded(image: Array, found: Embedding) -> Array:
    """Put as much plain embedding beside the sample as there is sample."""
    return np.concatenate([image, np.random.default_rng(0).normal(found.gray, found.noise, image.shape)], axis=2)


def _walled(image: Array, found: Embedding) -> Array:
    """Put the sample into a tube as bright as three times the particles, with air outside."""
    noise = np.random.default_rng(0).normal(0, found.noise, image.shape)
    radius, side = _radius(image.shape), image.shape[1]
    walled = np.where(radius > 0.42 * side, found.gray + 3 * found.contrast + noise, image)
    return np.where(radius > 0.46 * side, found.gray - 1.2 * found.contrast + noise, walled)


def _scores(labels: Array, reference: Array) -> dict[str, float]:
    metrics = evaluate(labels, reference)
    return {"f1": round(metrics.f1, 4), "f1_instance": round(metrics.f1_instance, 4)}


def chosen(words: str) -> Iterator[tuple[str, SimulatedSample]]:
    for name in SAMPLES if words == "all" else words.split(","):
        yield name, make_sample(SAMPLES[name])


def main(arguments: Sequence[str]) -> None:
    parser = script_parser(__file__, __doc__)
    add_model(parser)
    parser.add_argument("--samples", default="all", help=f"of {', '.join(SAMPLES)}")
    parser.add_argument("--only-changes", action="store_true", help="without the network: seconds")
    options = parser.parse_args(arguments)
    bundle = load_model(options.model)
    rows, moved = [], []
    with nullcontext() if options.only_changes else open_engine(bundle) as engine:
        for name, sample in chosen(options.samples):
            head = {"sample": name, "fill": round(sample.facts["fill"], 3)}
            moved.append(head | changes(sample))
            if engine is not None:
                rows.append(head | Trial(bundle, engine).compare(sample))
            print(json.dumps((rows or moved)[-1]), file=sys.stderr, flush=True)
    data = "simulated samples of this script, seeds 985001 to 985047"
    write_result(
        options.out, result_head(__file__, arguments, data, bundle=bundle) | {"candidates": rows, "changes": moved}
    )


if __name__ == "__main__":
    run_script(main)

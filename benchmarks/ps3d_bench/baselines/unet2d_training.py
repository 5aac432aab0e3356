"""Train the network of ``unet2d.py``: nnU-Net's 2-D U-Net in plain torch, on z-slices of labelled scans.

1. scans at their own resolution, gray values standardized over the volume; target: is there a particle;
2. random crops of slices, mirrored, transposed, gray values varied a little;
3. Dice and cross-entropy on every resolution but the coarsest, AdamW, learning rate along a half cosine;
4. ONNX, checked against torch, and its Dice on whole scans that were held out.

Only slices across z are seen: that is how the network is used, and how a person labels slice by slice. Particle size is
not normalized, which is what this baseline lacks. It follows nnU-Net's 2-D configuration, except for the width, the
optimizer, and the rotated and scaled crops, which it does without.

Sources: Gotkowski et al., Powder Technology 434 (2024) 119286, section on baselines; Isensee et al., Nature Methods 18
(2021) 203.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet

from ps3d_bench.baselines.unet2d import MULTIPLE, SliceNetwork, padded
from ps3d_rt.core.arrays import Array
from ps3d_rt.core.normalize import GrayScale, gray_scale, zscore
from ps3d_rt.errors import InputError, Ps3dError
from ps3d_rt.io.atomic_write import atomic_write
from ps3d_rt.io.samples import find_samples
from ps3d_training.checkpoint import read_checkpoint, write_checkpoint
from ps3d_training.to_bundle import OPSET, TOLERANCE
from ps3d_training.trainer import cpu_has_bfloat16

PAUSE_STEPS = 200
"""From one checkpoint, with a look at the held-out scans, to the next."""
PLANES_APART = 8
"""At a pause every eighth slice is looked at; in the end all are."""
VARIED_SHARE = 0.2
"""How often each variation of gray values happens."""


@dataclass(frozen=True, kw_only=True)
class UNetRecipe:
    """What is trained; a checkpoint goes on only with the same."""

    width: int = 24
    """Features of the first stage; they double with every stage, up to 320. nnU-Net's are 32."""
    stages: int = 6
    """Resolutions, full one included; six at most, as ``unet2d.py`` pads slices to multiples of 32."""
    side: int = 128
    """Of a crop, pixels."""
    batch: int = 8
    """Crops a step."""
    learning_rate: float = 1e-3
    """At the start; falls to 0."""
    seed: int = 0
    """Of weights and crops."""

    def __post_init__(self) -> None:
        if self.width < 1 or self.batch < 1 or not self.learning_rate > 0:
            raise InputError(f"width, batch and learning rate must be above 0: {self}.")
        if not 2 <= self.stages <= 6:
            raise InputError(f"stages is {self.stages}; it is 2 to 6.")
        step = 2 ** (self.stages - 1)
        # A norm has nothing to normalize over when the coarsest stage is a single pixel.
        if self.side % step or self.side < 2 * step:
            raise InputError(
                f"side is {self.side}; with {self.stages} stages it is {2 * step} or a multiple of {step}."
            )

    @property
    def features(self) -> list[int]:
        return [min(320, self.width * 2**stage) for stage in range(self.stages)]


@dataclass(frozen=True)
class Budget:
    """When training ends: after so many steps, or so many seconds of training, earlier calls included."""

    steps: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.steps, self.seconds) if value is not None]
        if len(given) != 1 or given[0] <= 0:
            raise InputError(f"the training ends after a number of steps or of seconds, one of them, above 0: {self}.")

    def spent(self, steps: int, seconds: float) -> float:
        """Share of the budget that is used; the learning rate follows it.

        >>> Budget(steps=200).spent(50, 3600.0)
        0.25
        """
        return steps / self.steps if self.steps is not None else seconds / (self.seconds or 1)


@dataclass(frozen=True)
class TrainingScan:
    """One labelled volume in memory, in its own dtype: many fit."""

    name: str
    image: Array
    """(z, y, x) gray values."""
    particles: Array
    """(z, y, x) bool."""
    scale: GrayScale


def load_scans(folder: Path) -> list[TrainingScan]:
    """Read all samples of a folder in the published layout.

    Raises:
        InputError: if a sample is incomplete, or image and labels differ in shape.
    """
    scans = []
    for sample in find_samples(folder):
        image, instances = sample.read()
        scans.append(TrainingScan(sample.name, image, instances > 0, gray_scale(image)))
    return scans


def hold_out(scans: Sequence[TrainingScan], most: int) -> tuple[list[TrainingScan], list[TrainingScan]]:
    """Hold out scans, spread over the list: at most ``most`` and a fifth of them, at least one.

    Returns:
        what is trained on, what is held out.

    Raises:
        InputError: if there is only one scan.
    """
    if len(scans) < 2:
        raise InputError("one sample cannot be trained on and held out; a folder of two or more is needed.")
    count = max(1, min(most, len(scans) // 5))
    away = {int((i + 0.5) * len(scans) / count) for i in range(count)}
    return [scan for i, scan in enumerate(scans) if i not in away], [scans[i] for i in sorted(away)]


def draw_batch(scans: Sequence[TrainingScan], recipe: UNetRecipe, step: int) -> tuple[Array, Array]:
    """Draw the crops of a step: the same ones whenever it is asked for the same step.

    Returns:
        (batch, 1, side, side) float32, standardized and varied; (batch, side, side) int64, 1 where a particle is.
    """
    draw = np.random.default_rng((recipe.seed, step))
    crops = [_crop(scans[int(draw.integers(len(scans)))], recipe.side, draw) for _ in range(recipe.batch)]
    images, targets = zip(*crops, strict=True)
    return np.stack(images)[:, None], np.stack(targets).astype(np.int64)


def _crop(scan: TrainingScan, side: int, draw: np.random.Generator) -> tuple[Array, Array]:
    depth, *sides = scan.image.shape
    z = draw.integers(depth)
    starts = [draw.integers(max(0, have - side) + 1) for have in sides]
    at = (z, *(slice(start, start + side) for start in starts))
    # A slice that is too small goes on mirrored, labels and all: nothing about it is made up.
    more = [(0, max(0, side - have)) for have in sides]
    image, target = (np.pad(part[at], more, mode="symmetric") for part in (scan.image, scan.particles))
    flips = tuple(slice(None, None, int(draw.choice((1, -1)))) for _ in sides)
    image, target = image[flips], target[flips]
    if draw.random() < 0.5:
        image, target = image.T, target.T
    return vary_gray(zscore(image, scan.scale), draw), target


def vary_gray(image: Array, draw: np.random.Generator) -> Array:
    """Add noise, brighten or darken, stretch the contrast, bend the gray scale; each seldom and a little."""
    chosen = draw.random(4) < VARIED_SHARE
    if chosen[0]:
        image = image + np.float32(draw.uniform(0, 0.3)) * draw.standard_normal(image.shape, dtype=np.float32)
    if chosen[1]:
        image = image + np.float32(draw.uniform(-0.3, 0.3))
    if chosen[2]:
        image = image.mean() + (image - image.mean()) * np.float32(draw.uniform(0.75, 1.25))
    low, extent = image.min(), np.ptp(image)
    if chosen[3] and extent > 0:
        image = low + extent * ((image - low) / extent) ** np.float32(draw.uniform(0.7, 1.5))
    return image


def build_network(recipe: UNetRecipe) -> PlainConvUNet:
    """Build nnU-Net's plain 2-D U-Net; it gives a list of scores, the finest first."""
    return PlainConvUNet(
        input_channels=1,
        n_stages=recipe.stages,
        features_per_stage=recipe.features,
        conv_op=torch.nn.Conv2d,
        kernel_sizes=3,
        strides=[1] + [2] * (recipe.stages - 1),
        n_conv_per_stage=2,
        num_classes=2,
        n_conv_per_stage_decoder=2,
        conv_bias=True,
        norm_op=torch.nn.InstanceNorm2d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=torch.nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=True,
    )


def loss_of(outputs: Sequence[torch.Tensor], target: torch.Tensor) -> torch.Tensor:
    """Weigh Dice and cross-entropy of every resolution, each half as much as the next finer; 0 is perfect.

    Args:
        outputs: (n, 2, y, x) scores, finest first; the coarsest does not count where there is another.
        target: (n, y, x) int64.
    """
    total, weights = torch.zeros(()), 0.0
    for level, scores in enumerate(outputs[:-1] or outputs):
        step = 2**level
        # The middle of the pixels that a coarse one stands for.
        coarse = target[:, step // 2 :: step, step // 2 :: step]
        total = total + _dice_and_cross_entropy(scores.float(), coarse) / step
        weights += 1 / step
    return total / weights


def _dice_and_cross_entropy(scores: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    particle = scores.softmax(dim=1)[:, 1]
    dice = (2 * (particle * target).sum() + 1e-5) / (particle.sum() + target.sum() + 1e-5)
    return torch.nn.functional.cross_entropy(scores, target) + 1 - dice


def dice_of(found: Array, particles: Array) -> float:
    """Dice of two masks of one shape; of two empty ones 1."""
    sizes = int(found.sum()) + int(particles.sum())
    return 2 * int((found & particles).sum()) / sizes if sizes else 1.0


@dataclass(frozen=True)
class Pause:
    """What is known at a checkpoint."""

    steps: int
    spent: float
    """Share of the budget."""
    seconds: float
    """Of training, with the looks at held-out scans."""
    loss: float
    """Mean since the last pause."""
    dice: float
    """Of the foreground, mean over the held-out scans, every eighth slice."""


class Training:
    """A network on its way; with ``Budget(steps=…)`` a stopped one ends as one that was never stopped."""

    def __init__(
        self, recipe: UNetRecipe, scans: Sequence[TrainingScan], held_out: Sequence[TrainingScan], checkpoint: Path
    ) -> None:
        self.recipe, self.scans, self.held_out, self.checkpoint = recipe, scans, held_out, checkpoint
        torch.manual_seed(recipe.seed)
        self.network = build_network(recipe)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), recipe.learning_rate, weight_decay=1e-2)
        self.steps, self.seconds = 0, 0.0
        self.pauses: list[Pause] = []
        if checkpoint.exists():
            self._go_on()

    def run(self, budget: Budget, on_pause: Callable[[Pause], None]) -> None:
        """Train until the budget is spent."""
        started = perf_counter() - self.seconds
        spent, losses = budget.spent(self.steps, self.seconds), []
        while spent < 1:
            losses.append(self._step(self.recipe.learning_rate * (1 + math.cos(math.pi * spent)) / 2))
            self.steps += 1
            spent = budget.spent(self.steps, perf_counter() - started)
            if self.steps % PAUSE_STEPS == 0 or spent >= 1:
                dice = float(np.mean([self._dice(scan) for scan in self.held_out]))
                self.seconds = perf_counter() - started
                spent = budget.spent(self.steps, self.seconds)
                self.pauses.append(Pause(self.steps, spent, self.seconds, float(np.mean(losses)), dice))
                losses = []
                self._save()
                on_pause(self.pauses[-1])

    def _step(self, rate: float) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        image, target = map(torch.from_numpy, draw_batch(self.scans, self.recipe, self.steps))
        self.optimizer.zero_grad(set_to_none=True)
        with _autocast():
            outputs = self.network(image)
        loss = loss_of(outputs, target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 12, error_if_nonfinite=True)
        self.optimizer.step()
        return float(loss.detach())

    def _dice(self, scan: TrainingScan) -> float:
        planes = slice(PLANES_APART // 2 % len(scan.image), None, PLANES_APART)
        particles = scan.particles[planes]
        found = np.empty(particles.shape, np.bool_)
        with torch.inference_mode(), _autocast():
            for z, plane in enumerate(zscore(scan.image[planes], scan.scale)):
                scores = self.network(torch.from_numpy(padded(plane)))[0][0]
                found[z] = (scores[1] > scores[0])[: plane.shape[0], : plane.shape[1]].numpy()
        return dice_of(found, particles)

    def _plan(self) -> dict[str, Any]:
        return asdict(self.recipe) | {"trained_on": [scan.name for scan in self.scans]}

    def _save(self) -> None:
        content = {
            "plan": self._plan(),
            "network_weights": self.network.state_dict(),
            "optimizer_state": self.optimizer.state_dict(),
            "steps": self.steps,
            "seconds": self.seconds,
            "pauses": [asdict(pause) for pause in self.pauses],
        }
        write_checkpoint(self.checkpoint, content)

    def _go_on(self) -> None:
        content = read_checkpoint(self.checkpoint)
        plan = self._plan()
        different = [name for name in plan if content["plan"].get(name) != plan[name]]
        if different:
            raise InputError(
                f"{self.checkpoint} is of a training with another {', '.join(different)}. "
                f"Start it with the same again, or choose another file."
            )
        self.network.load_state_dict(content["network_weights"])
        self.optimizer.load_state_dict(content["optimizer_state"])
        self.steps, self.seconds = content["steps"], content["seconds"]
        self.pauses = [Pause(**fields) for fields in content["pauses"]]


def _autocast() -> AbstractContextManager[Any]:
    return torch.autocast("cpu", torch.bfloat16) if cpu_has_bfloat16() else nullcontext()


def write_onnx(network: PlainConvUNet, path: Path) -> float:
    """Export ``image`` (1, 1, y, x) → ``scores`` (1, 2, y, x), softmax, y and x any multiples of 32.

    Returns:
        The largest difference of a score between ONNX Runtime and torch.

    Raises:
        Ps3dError: if it is above 1e-4; then nothing is written.
    """
    import onnxruntime  # noqa: PLC0415 - heavy
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass  # noqa: PLC0415 - heavy

    network.decoder.deep_supervision = False
    scored = torch.nn.Sequential(network, torch.nn.Softmax(dim=1)).eval()
    sides = {axis + 2: MULTIPLE * torch.export.Dim(f"{name}_tiles", min=2) for axis, name in enumerate("yx")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch about itself
        program: Any = torch.onnx.export(
            scored,
            (torch.zeros((1, 1, 3 * MULTIPLE, 4 * MULTIPLE)),),
            input_names=["image"],
            output_names=["scores"],
            opset_version=OPSET,
            dynamic_shapes=(sides,),
            dynamo=True,
            verbose=False,
        )
    ClearMetadataAndDocStringPass()(program.model)  # the exporter notes the paths of this machine
    network = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    draw, worst = np.random.default_rng(0), 0.0
    for shape in ((2 * MULTIPLE, 5 * MULTIPLE), (6 * MULTIPLE, 3 * MULTIPLE)):
        image = draw.standard_normal((1, 1, *shape), dtype=np.float32)
        with torch.inference_mode():
            expected = scored(torch.from_numpy(image)).numpy()
        (scores,) = session.run(["scores"], {"image": image})
        worst = max(worst, float(np.abs(scores - expected).max()))
    if not worst <= TOLERANCE:
        raise Ps3dError(f"{path.name} differs from torch by {worst:.2g} in a score; {TOLERANCE:g} is allowed.")
    with atomic_write(path, overwrite=True) as unfinished:
        unfinished.write_bytes(network)
    return worst


def train(
    folder: Path, out: Path, recipe: UNetRecipe, budget: Budget, *, held_out: int, on_pause: Callable[[Pause], None]
) -> dict[str, Any]:
    """Train on the samples of ``folder`` and write the network; started again, it goes on where it was.

    Args:
        folder: holds ``images``, ``instance_seg`` and ``metadata.json``.
        out: ONNX file to write; the checkpoint lies beside it, as ``.pth``.
        recipe: what is trained.
        budget: how long, earlier calls included.
        held_out: samples that are not trained on, at most.
        on_pause: called after every checkpoint.

    Returns:
        What is known of the network; plain values.

    Raises:
        InputError: if ``out`` is there and not from a training with this checkpoint, or a sample is incomplete.
        Ps3dError: if ONNX Runtime and torch disagree by more than 1e-4.
    """
    checkpoint = out.with_suffix(".pth")
    if out.exists() and not checkpoint.exists():
        raise InputError(f"{out} exists, and no {checkpoint.name} to go on from. Choose another file.")
    out.parent.mkdir(parents=True, exist_ok=True)
    scans, kept = hold_out(load_scans(folder), held_out)
    training = Training(recipe, scans, kept, checkpoint)
    training.run(budget, on_pause)
    difference = write_onnx(training.network, out)
    network = SliceNetwork(out, torch.get_num_threads())
    dice = {scan.name: round(dice_of(network.foreground(scan.image), scan.particles), 4) for scan in kept}
    return {
        "recipe": asdict(recipe),
        "parameters": sum(weights.numel() for weights in training.network.parameters()),
        "steps": training.steps,
        "seconds": round(training.seconds, 1),
        "threads": torch.get_num_threads(),
        "bfloat16": cpu_has_bfloat16(),
        "trained_on": [scan.name for scan in scans],
        "dice_held_out_mean": round(float(np.mean(list(dice.values()))), 4),
        "dice_held_out": dice,
        "pauses": [asdict(pause) for pause in training.pauses],
        "onnx_to_torch_difference": difference,
        "sha256": sha256(out.read_bytes()).hexdigest(),
    }

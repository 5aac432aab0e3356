"""Which of a model's precisions runs on this CPU: the fastest that is as good, timed once and remembered.

1. Candidates are fp32 and what passed the accuracy gate when the model was made.
2. Each scores the same drawn patch for a part of a second. One that gives other classes than fp32 is not taken: that
   can only be a kernel that is wrong on this CPU.
3. The fastest runs. A lower precision that is hardly faster is not worth it.
4. The choice is kept in the user's cache, under the CPU, the versions, the bundle and the threads.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.grid import Zyx
from ps3d_rt.core.normalize import EmbeddingScale, GrayScale, network_input
from ps3d_rt.engines.base import Engine
from ps3d_rt.engines.cache import replace_file, user_folder
from ps3d_rt.errors import CapabilityError, InputError
from ps3d_rt.io.json_text import read_json
from ps3d_rt.model import ModelBundle

logger = logging.getLogger(__name__)

SECONDS = 1.0
"""For all candidates together, beside opening them."""
LEAST_GAIN = 1.1
"""A lower precision is taken from this speed on, relative to the higher one."""
LEAST_KEPT = 0.99
"""Share of the drawn patch's voxels that must keep the class that fp32 gives them."""
LAYOUT = 1
"""Part of every key; raise it when the same key must give another choice."""

Open = Callable[[str], Engine]
"""Opens the model in a precision; raises CapabilityError where this CPU does not have it."""


@dataclass(frozen=True)
class Choice:
    """The precision that runs, and why."""

    precision: str
    reason: str


def candidates(bundle: ModelBundle) -> tuple[str, ...]:
    """Name what may run, the most accurate first."""
    lower = ("bf16", *bundle.precisions)
    return ("fp32", *(name for name in lower if bundle.gates.get(name, {}).get("passed") is True))


def choose(bundle: ModelBundle, cpu: Mapping[str, Any], threads: int, open_in: Open) -> Choice:
    """Return what this machine chose before; the first time, let it choose.

    Args:
        bundle: the model; its gates say which precisions are candidates.
        cpu: what tells this CPU and its engine from others, JSON.
        threads: that the engine will use.
        open_in: how the engine is opened.
    """
    names = candidates(bundle)
    if len(names) == 1:
        return Choice("fp32", "no lower precision passed the accuracy gate")
    key = {"layout": LAYOUT, "cpu": cpu, "threads": threads, "files": bundle.sha256, "candidates": names}
    name = sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    path = user_folder() / "precision" / f"{name}.json"
    try:
        found = read_json(path)["choice"]
        return Choice(str(found["precision"]), str(found["reason"]))
    except FileNotFoundError:
        logger.info("trying %s on this CPU, once: about %.0f s", ", ".join(names), SECONDS + len(names))
    except (OSError, ValueError, LookupError, TypeError) as error:
        logger.warning("%s cannot be read (%s); the precision is chosen again.", path, error)
    choice = time_candidates(bundle, names, open_in)
    try:
        replace_file(path, (json.dumps({"key": key, "choice": asdict(choice)}, indent=2) + "\n").encode())
    except InputError as error:
        logger.warning("the precision will be chosen again in the next run: %s", error)
    return choice


def time_candidates(bundle: ModelBundle, names: Sequence[str], open_in: Open) -> Choice:
    """Let every candidate score the same patch, and take the fastest that is right.

    Args:
        bundle: says how patches look.
        names: the candidates, fp32 first, then from the most to the least accurate.
        open_in: how the engine is opened.
    """
    patch = draw_patch(bundle.patch, bundle.target_size_voxels, scheme=bundle.gray_scheme)
    expected: NDArray[np.intp] | None = None
    speeds: dict[str, float] = {}
    refused: list[str] = []
    for name in names:
        try:
            engine = open_in(name)
        except CapabilityError as error:
            logger.info("%s is no candidate: %s", name, error)
            continue
        with engine:
            patches = np.repeat(patch[None, None], engine.spec.batch, axis=0)
            classes = engine.infer(patches)[0].argmax(axis=0)
            expected = classes if expected is None else expected
            kept = float((classes == expected).mean())
            if kept < LEAST_KEPT:
                logger.warning("%s is wrong on this CPU: %.2f %% of the voxels keep their class.", name, 100 * kept)
                refused.append(name)
            else:
                speeds[name] = _patches_per_s(engine, patches, SECONDS / len(names))
    best = next(iter(speeds))
    for name, speed in speeds.items():
        if speed >= LEAST_GAIN * speeds[best]:
            best = name
    told = ", ".join(f"{name} {speeds[name]:.3g}" for name in sorted(speeds, key=lambda name: -speeds[name]))
    return Choice(best, f"{told} patches/s on this CPU" + "".join(f"; {name} is wrong on it" for name in refused))


def _patches_per_s(engine: Engine, patches: NDArray[np.float32], seconds: float) -> float:
    """Call an engine for a while; the fastest call counts, since other work on the machine disturbed it least."""
    calls: list[float] = []
    while sum(calls) < seconds:
        start = time.perf_counter()
        engine.infer(patches)
        calls.append(time.perf_counter() - start)
    return len(patches) / min(calls)


def draw_patch(shape: Zyx, diameter: float, *, scheme: str) -> NDArray[np.float32]:
    """Draw balls in a lattice, some of them touching, with noise: all classes are in their scores.

    Args:
        shape: of the patch, voxels.
        diameter: of the balls, voxels.
        scheme: gray scale of the model; balls have one contrast above what they lie in.

    Returns:
        ``shape`` float32, network input.
    """
    index = np.indices(shape, np.float32)
    pitch = np.float32(1.05 * diameter)
    far = np.sqrt(sum((at % pitch - pitch / 2) ** 2 for at in index))
    noise = np.random.default_rng(0).normal(0, 0.05, shape)
    gray = np.clip((diameter / 2 - far) / 2 + 0.5, 0, 1) + noise
    scale = EmbeddingScale(0, 1) if scheme == "embedding" else GrayScale(float(gray.mean()), float(gray.std()))
    result: NDArray[np.float32] = network_input(gray.astype(np.float32), scale)
    return result

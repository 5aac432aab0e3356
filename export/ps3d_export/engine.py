"""Engines built before they are needed, so that the first run does not wait for it."""

from __future__ import annotations

import logging
import tempfile
import time
from pathlib import Path

import numpy as np

from ps3d_rt.devices import device_named
from ps3d_rt.devices.gpus import Gpu, find_gpu
from ps3d_rt.engines import Engine
from ps3d_rt.engines.base import OnnxNetwork
from ps3d_rt.engines.cache import CachedEngine, EngineCache, EngineKey
from ps3d_rt.engines.factory import precision_of
from ps3d_rt.engines.tensorrt import TensorRtEngine
from ps3d_rt.engines.tensorrt_build import NORMS, build_into, engine_key
from ps3d_rt.errors import CapabilityError
from ps3d_rt.model import ModelBundle

logger = logging.getLogger(__name__)

TIMED_CALLS = 5


def export_engine(
    bundle: ModelBundle, *, flavour: str, device: str = "auto", cache: EngineCache | None = None
) -> list[CachedEngine]:
    """Build the engine of every network of a model, or find it in the cache.

    On a GPU, where a flavour knows several kinds of instance normalization, all are built and timed, and the
    fastest is kept.

    Args:
        bundle: its own precision is that of the engine.
        flavour: ``tensorrt`` or ``tensorrt-rtx``.
        device: ``cuda:N``; ``auto`` is the first GPU, or none: ``tensorrt-rtx`` builds for every GPU then.
        cache: None: the user's.

    Raises:
        CapabilityError: if TensorRT or the GPU it needs is missing.
    """
    cache = cache or EngineCache()
    gpu = _gpu(device)
    built = []
    for path in bundle.onnx_paths:
        key = engine_key(path, flavour=flavour, patch=bundle.patch, precision=precision_of(bundle), gpu=gpu)
        engine = cache.find(key)
        if engine is None:
            norms = NORMS[flavour] if gpu is not None else NORMS[flavour][:1]
            engine = build_into(cache, key, path) if len(norms) == 1 else _fastest(cache, key, path, norms, gpu)
        built.append(engine)
    return built


def _gpu(device: str) -> Gpu | None:
    try:
        return find_gpu(device)
    except CapabilityError as error:
        if device != "auto":
            raise
        logger.info("no GPU is used to build: %s", error)
        return None


def _fastest(cache: EngineCache, key: EngineKey, onnx: Path, norms: tuple[str, ...], gpu: Gpu | None) -> CachedEngine:
    """Build the engine with each norm, run it, and keep the one with the most patches a second."""
    device = "auto" if gpu is None else gpu.device
    found: dict[str, tuple[float, bytes, CachedEngine]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for norm in norms:
            trial = EngineCache(Path(scratch) / norm)
            built = build_into(trial, key, onnx, norm=norm)
            network = OnnxNetwork(path=onnx, patch=key.patch, precision=key.precision)
            with TensorRtEngine(network, flavour=key.flavour, device=device, cache=trial) as engine:
                found[norm] = patches_per_s(engine), built.path.read_bytes(), built
    speeds = {norm: round(speed, 3) for norm, (speed, _, _) in found.items()}
    logger.info("patches/s by norm: %s", speeds)
    _, content, best = found[max(speeds, key=lambda norm: speeds[norm])]
    return cache.store(key, content, best.manifest["facts"] | {"patches_per_s_by_norm": speeds})


def patches_per_s(engine: Engine) -> float:
    """Time an engine on full batches of noise, after a first call that is not counted."""
    spec, device = engine.spec, device_named(engine.spec.device)
    noise = np.random.default_rng(0).standard_normal((spec.batch, 1, *spec.patch), dtype=np.float32)
    seconds = []
    with device.active():
        patches = device.upload(noise)
        for _ in range(1 + TIMED_CALLS):
            start = time.perf_counter()
            float(engine.infer(patches)[0, 0, 0, 0, 0])  # waits for the GPU
            seconds.append(time.perf_counter() - start)
    return spec.batch * TIMED_CALLS / sum(seconds[1:])

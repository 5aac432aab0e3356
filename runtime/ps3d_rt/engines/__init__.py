"""Engines: what turns patches into scores. :func:`open_engine` picks one and says which.

    base.py          what every engine is
    openvino.py      the default on a CPU: bf16 where the CPU has it, else fp32
    onnxruntime.py   the portable second on a CPU: fp32
    ensemble.py      several networks as one
    mirrored.py      a network and its mirror images as one
    fake.py          a formula instead of a network, for tests

Nothing here imports OpenVINO or ONNX Runtime until an engine is opened.
"""

from __future__ import annotations

import logging
from functools import lru_cache, partial
from pathlib import Path

from ps3d_rt.engines.base import Engine, EngineSpec
from ps3d_rt.engines.ensemble import EnsembleEngine
from ps3d_rt.engines.fake import FakeEngine
from ps3d_rt.engines.mirrored import MirroredEngine
from ps3d_rt.engines.onnxruntime import OnnxRuntimeEngine
from ps3d_rt.engines.openvino import OpenVinoEngine
from ps3d_rt.errors import CapabilityError, InputError
from ps3d_rt.model import ModelBundle, load_model

__all__ = ["CPU_ENGINES", "Engine", "EngineSpec", "open_engine"]

logger = logging.getLogger(__name__)

CPU_ENGINES = {"openvino": OpenVinoEngine, "onnxruntime": OnnxRuntimeEngine}
"""Name → class, in the order ``auto`` tries them: fastest first."""
GPU_ENGINES = ("tensorrt", "tensorrt-rtx", "onnxruntime-cuda")
"""Known by name so that asking for one gets an honest answer; none is in this version."""


def open_engine(
    bundle: ModelBundle,
    *,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    mirror: bool | None = None,
) -> Engine:
    """Load a model's network, or its ensemble, into an engine.

    Args:
        bundle: the model.
        engine: ``auto`` takes the first of :data:`CPU_ENGINES` that loads; or one of them by name; or ``fake``.
        device: ``auto`` or ``cpu``.
        precision: ``auto``, ``fp32`` or ``bf16``.
        threads: CPU threads to use; None means all physical cores.
        mirror: whether scores are averaged over mirror images; None: along the model's axes, if it names any;
            True: along all three if it names none.

    Returns:
        The engine; its ``spec`` says which it is and what it really computes in.

    Raises:
        CapabilityError: if the engine, device or precision is not available here.
        InputError: if it is none that ps3d-rt knows, or the model's network cannot be read.
    """
    opened = _choose(bundle, engine, device, precision, threads)
    axes = bundle.mirror_axes or ((0, 1, 2) if mirror else ())
    if axes and mirror is not False:
        opened = MirroredEngine(opened, axes)
    opened.reopen = partial(_reopened, bundle.path, opened.spec.name, device, precision, threads, mirror)
    return opened


@lru_cache(maxsize=1)
def _reopened(path: Path, engine: str, device: str, precision: str, threads: int | None, mirror: bool | None) -> Engine:
    """Open an engine once a process, whatever the number of tasks that come with it."""
    bundle = load_model(path)
    return open_engine(bundle, engine=engine, device=device, precision=precision, threads=threads, mirror=mirror)


def _choose(bundle: ModelBundle, engine: str, device: str, precision: str, threads: int | None) -> Engine:
    if device.startswith("cuda") or engine in GPU_ENGINES:
        raise CapabilityError(
            f"engine {engine!r} on device {device!r}: this version of ps3d-rt runs networks on the CPU only; "
            f"use --device cpu and --engine {_either('auto', *CPU_ENGINES)}."
        )
    if device not in ("auto", "cpu"):
        raise InputError(f"device is {device!r}; use auto or cpu.")
    if engine == "fake":
        return FakeEngine(bundle.patch)
    if engine not in ("auto", *CPU_ENGINES):
        raise InputError(f"engine is {engine!r}; use {_either('auto', *CPU_ENGINES)}.")
    if engine != "auto":
        return _open(engine, bundle, precision, threads)
    reasons = []
    for name in CPU_ENGINES:
        try:
            return _open(name, bundle, precision, threads)
        except CapabilityError as error:
            logger.warning("engine %s is not available: %s", name, error)
            reasons.append(str(error))
    raise CapabilityError(" ".join(reasons))


def _open(name: str, bundle: ModelBundle, precision: str, threads: int | None) -> Engine:
    members = [
        CPU_ENGINES[name](path, bundle.patch, precision=precision, threads=threads) for path in bundle.onnx_paths
    ]
    engine = members[0] if len(members) == 1 else EnsembleEngine(members)
    logger.info("%d network(s) on %s: %s, %s", len(members), engine.spec.device, name, engine.spec.precision)
    return engine


def _either(*names: str) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"

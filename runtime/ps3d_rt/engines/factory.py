"""Which engine a model runs in: :func:`open_engine` chooses it and says which.

Nothing falls back in silence. With ``auto``, what did not load is logged with the reason, and the engine's ``spec``
says what runs. An engine asked for by name runs, or an error says what is missing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

from ps3d_rt.core.arrays import gpu_index
from ps3d_rt.devices.gpus import Gpu, find_gpu
from ps3d_rt.devices.several import ONLY_GPU, find_devices
from ps3d_rt.engines.base import Engine, OnnxNetwork
from ps3d_rt.engines.batches import DeviceLimits
from ps3d_rt.engines.ensemble import EnsembleEngine
from ps3d_rt.engines.mirrored import MirroredEngine
from ps3d_rt.engines.onnxruntime import OnnxRuntimeEngine
from ps3d_rt.engines.onnxruntime_cuda import OnnxRuntimeCudaEngine
from ps3d_rt.engines.openvino import OpenVinoEngine, cpu_facts
from ps3d_rt.engines.precision import Choice, choose
from ps3d_rt.engines.shared import SharedEngine
from ps3d_rt.engines.tensorrt import TensorRtEngine
from ps3d_rt.engines.tensorrt_build import is_installed
from ps3d_rt.errors import CapabilityError, InputError
from ps3d_rt.model import ModelBundle, load_model
from ps3d_rt.workers import usable_cores

logger = logging.getLogger(__name__)

CPU_ENGINES: dict[str, Callable[..., Engine]] = {"openvino": OpenVinoEngine, "onnxruntime": OnnxRuntimeEngine}
"""Name → class, in the order ``auto`` tries them: fastest first."""
SMALL_GPU_ENGINES: dict[str, Callable[..., Engine]] = {
    "openvino-gpu": partial(OpenVinoEngine, device="GPU"),
    "onnxruntime-directml": partial(OnnxRuntimeEngine, name="onnxruntime-directml"),
    "onnxruntime-coreml": partial(OnnxRuntimeEngine, name="onnxruntime-coreml"),
}
"""Name → class, for GPUs of laptops; only by their names, for none has been run by us. Arrays stay on the CPU."""
GPU_ENGINES = ("tensorrt", "tensorrt-rtx", "onnxruntime-cuda")
"""Names, in the order ``auto`` tries them on a GPU."""
LOWER = ("int8",)
"""Precisions that a bundle may carry beside its own."""
KNOWN = f"auto, {', '.join((*GPU_ENGINES, *SMALL_GPU_ENGINES))}, {' or '.join(CPU_ENGINES)}"


@dataclass(frozen=True)
class EngineRequest:
    """What was asked for; the fields are those of :func:`open_engine`."""

    engine: str
    device: str
    precision: str
    mirror: bool | None
    limits: DeviceLimits


def open_engine(
    bundle: ModelBundle,
    *,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    mirror: bool | None = None,
    limits: DeviceLimits | None = None,
) -> Engine:
    """Load a model's network, or its ensemble, into an engine.

    Args:
        bundle: the model.
        engine: one of :data:`GPU_ENGINES` or :data:`CPU_ENGINES` by name; ``auto`` takes the first that
            loads on the device, and none that failed the accuracy gate.
        device: ``cpu``, or ``cuda:N``; ``auto`` is the first GPU if an engine loads there, else the CPU. Several
            GPUs are ``cuda:0,cuda:1``, or ``cuda:all``: the engine is opened on the first, and the ``spec`` lists
            the others, where :mod:`ps3d_rt.pipeline` opens it in processes of their own.
        precision: on a CPU ``fp32``, ``bf16``, or one that the bundle carries, such as ``int8``; ``auto`` is the
            fastest that passed the accuracy gate (:mod:`ps3d_rt.engines.precision`), or bf16 where the CPU has it
            and none was judged. On a GPU it is the one the model was exported in.
        mirror: whether scores are averaged over mirror images; None: along the model's axes, if it names any;
            True: along all three if it names none.
        limits: threads on a CPU, batch and memory on a GPU; None: the defaults.

    Returns:
        The engine; its ``spec`` says which it is, where it runs and what it really computes in.

    Raises:
        CapabilityError: if the engine, device or precision is not available here, or failed the accuracy gate.
        InputError: if it is none that ps3d-rt knows, or the model's network cannot be read.
    """
    first, *others = find_devices(device)
    request = EngineRequest(engine, first, precision, mirror, limits or DeviceLimits())
    opened = _open(bundle, request)
    found = opened.spec
    several = bool(others) and found.device == first
    place = ONLY_GPU if several else found.device
    again = replace(request, engine=found.name, device=place, precision=found.choice or precision)
    return SharedEngine(opened, partial(_reopen, bundle.path, again), tuple(others) if several else ())


def _open(bundle: ModelBundle, request: EngineRequest) -> Engine:
    opened = _choose(bundle, request)
    axes = bundle.mirror_axes or ((0, 1, 2) if request.mirror else ())
    return MirroredEngine(opened, axes) if axes and request.mirror is not False else opened


@lru_cache(maxsize=1)
def _reopen(path: Path, request: EngineRequest) -> Engine:
    """Open an engine once in each process, however many tasks need it."""
    return _open(load_model(path), request)


def _choose(bundle: ModelBundle, request: EngineRequest) -> Engine:
    on_cpu = (*CPU_ENGINES, *SMALL_GPU_ENGINES)  # as far as arrays are concerned
    if request.engine not in ("auto", *GPU_ENGINES, *on_cpu):
        raise InputError(f"engine is {request.engine!r}; use {KNOWN}.")
    kind = "any" if request.device == "auto" else "cpu" if gpu_index(request.device) is None else "gpu"
    if (request.engine in GPU_ENGINES and kind == "cpu") or (request.engine in on_cpu and kind == "gpu"):
        raise InputError(
            f"engine {request.engine} does not run on device {request.device}; leave one of them out. "
            f"On GPUs run {', '.join(GPU_ENGINES)}, on the CPU {', '.join(CPU_ENGINES)}."
        )
    if request.engine != "auto":
        return _load(request.engine, bundle, request)
    check_gate_of(bundle)
    if kind == "cpu":
        return _first(CPU_ENGINES, bundle, request)
    gpu: Gpu | None = None
    try:
        gpu = find_gpu(request.device)
        return _first(GPU_ENGINES, bundle, replace(request, device=gpu.device))
    except CapabilityError as error:
        if kind == "gpu":
            raise
        if gpu is None:
            logger.debug("the CPU is used: %s", error)
        else:
            logger.warning("%s (%s) is not used, the CPU is: %s", gpu.device, gpu.name, error)
    return _first(CPU_ENGINES, bundle, request)


def check_gate_of(bundle: ModelBundle) -> None:
    """Refuse a model whose ``provenance`` says that it failed the accuracy gate.

    Raises:
        CapabilityError: if it did.
    """
    gate = bundle.provenance.get("gate")
    if isinstance(gate, dict) and gate.get("passed") is False:
        raise CapabilityError(
            f"the model {bundle.name!r} failed the accuracy gate ({gate}); take the model it was exported from, "
            f"or name the engine to use it all the same: {KNOWN.removeprefix('auto, ')}."
        )


def precision_of(bundle: ModelBundle) -> str:
    """Say what a model was exported in: ``fp32``, ``fp16`` or ``int8``."""
    return str(bundle.provenance.get("precision", "fp32"))


def _first(names: Iterable[str], bundle: ModelBundle, request: EngineRequest) -> Engine:
    """Open the first engine that loads; log why those before it do not."""
    reasons: dict[str, str] = {}
    for name in names:
        try:
            opened = _load(name, bundle, request)
        except CapabilityError as error:
            reasons[name] = str(error)
            continue
        for other, reason in reasons.items():
            # Few GPUs are for both flavours of TensorRT: that one is not installed is nothing to act on.
            level = logging.WARNING if other not in GPU_ENGINES or is_installed(other) else logging.DEBUG
            logger.log(level, "engine %s is not available: %s", other, reason)
        return opened
    raise CapabilityError(" ".join(reasons.values()))


def _load(name: str, bundle: ModelBundle, request: EngineRequest) -> Engine:
    if name not in GPU_ENGINES:
        engine = _load_on_cpu(name, bundle, request)
    else:
        engine = _as_one([_load_on_gpu(name, bundle, path, request) for path in bundle.onnx_paths])
    logger.debug("%d network(s) on %s: %s, %s", len(bundle.members), engine.spec.device, name, engine.spec.precision)
    return engine


def _as_one(members: list[Engine]) -> Engine:
    return members[0] if len(members) == 1 else EnsembleEngine(members)


def _load_on_cpu(name: str, bundle: ModelBundle, request: EngineRequest) -> Engine:
    own = precision_of(bundle)

    def opened(precision: str) -> Engine:
        kind, hint = (CPU_ENGINES | SMALL_GPU_ENGINES)[name], precision if precision in ("fp32", "bf16") else "auto"
        paths = bundle.paths_in(precision)
        return _as_one([kind(path, bundle.patch, precision=hint, threads=request.limits.threads) for path in paths])

    if request.precision != "auto":
        _check_precision(name, bundle, request.precision)
        choice, engine = Choice(request.precision, "asked for"), opened(request.precision)
    elif name == "openvino" and own == "fp32" and bundle.gates:
        choice = choose(bundle, cpu_facts(), request.limits.threads or usable_cores(), opened)
        engine = opened(choice.precision)
    else:
        engine = opened("auto")
        choice = Choice(engine.spec.precision if own == "fp32" else own, "no other was judged")
    engine.spec = replace(engine.spec, choice=choice.precision, reason=choice.reason)
    return engine


def _check_precision(name: str, bundle: ModelBundle, precision: str) -> None:
    """Refuse a precision by name that a model does not have.

    Raises:
        CapabilityError: if it could be added to the model, or another engine has it.
        InputError: if there is no such precision.
    """
    if precision in ("fp32", "bf16", precision_of(bundle)):
        return
    if precision not in LOWER:
        raise InputError(f"precision is {precision!r}; use auto, fp32, bf16 or {' or '.join(LOWER)}.")
    if precision not in bundle.precisions:
        raise CapabilityError(
            f"the model {bundle.name!r} has no networks in {precision}; use another precision, or add them: "
            "ps3d-rt export precisions."
        )
    if name != "openvino":
        raise CapabilityError(f"{name} has no fast {precision} on a CPU; use engine openvino, or precision fp32.")


def _load_on_gpu(name: str, bundle: ModelBundle, onnx_path: Path, request: EngineRequest) -> Engine:
    precision = precision_of(bundle)
    if request.precision not in ("auto", precision):
        raise CapabilityError(
            f"precision {request.precision!r} on a GPU: there a model runs in the one it was exported in, {precision}; "
            "export it in another (ps3d-rt export onnx), or use --device cpu."
        )
    if name == "onnxruntime-cuda":
        return OnnxRuntimeCudaEngine(
            onnx_path, bundle.patch, precision=precision, device=request.device, limits=request.limits
        )
    return TensorRtEngine(
        OnnxNetwork(path=onnx_path, patch=bundle.patch, precision=precision),
        flavour=name,
        device=request.device,
        allow_failed_gate=request.engine == name,
        limits=request.limits,
    )

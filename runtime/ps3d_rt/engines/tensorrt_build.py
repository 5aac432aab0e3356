"""ONNX → TensorRT engine, for both flavours.

The network is strongly typed: it computes in the types that its ONNX file says, nothing is lowered behind its back
(but for TF32, which counts as fp32 on every GPU that has it). The patch is fixed, and so is the batch: there is one
optimization profile a batch, and in each every shape is known when kernels are chosen.

TensorRT (``tensorrt``) times its kernels on the GPU it builds for, and the engine runs on that GPU only.
TensorRT-RTX (``tensorrt-rtx``) needs no GPU to build: kernels are compiled where the engine is used.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache as once
from hashlib import file_digest
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ps3d_rt.core.grid import Zyx
from ps3d_rt.devices.gpus import Gpu
from ps3d_rt.engines.base import CLASSES
from ps3d_rt.engines.cache import CachedEngine, EngineCache, EngineKey
from ps3d_rt.errors import CapabilityError, InputError, not_installed

logger = logging.getLogger(__name__)

BATCHES = (1, 2, 4, 8)
"""Patches a call that engines are built for."""
MEMORY_BYTES = 4 * 2**30
"""Scratch memory that a single layer may ask for while kernels are chosen."""
MODULES = {"tensorrt": ("tensorrt",), "tensorrt-rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings")}
"""Flavour → names of its module; the second is the same, installed without the metapackage."""
NORMS = {"tensorrt": ("native", "plugin"), "tensorrt-rtx": ("native",)}
"""Flavour → the kinds of instance normalization it has; the first is the default."""
RTX_EVERY_GPU = ((8, 0), (8, 6), (8, 9), (12, 0), (12, 1))
"""Compute capabilities that a TensorRT-RTX engine runs on as built without a GPU (NVIDIA, support matrix of 1.7)."""
_PRECISIONS = {"FLOAT": "fp32", "HALF": "fp16", "BF16": "bf16", "INT8": "int8", "FP8": "fp8"}
_ARITHMETIC = ("CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY")


def load_tensorrt(flavour: str) -> Any:
    """Import the module of a flavour.

    Raises:
        CapabilityError: naming the extra, if it does not load.
        InputError: if there is no such flavour.
    """
    if flavour not in MODULES:
        raise InputError(f"flavour is {flavour!r}; use {' or '.join(MODULES)}.")
    reasons = []
    for name in MODULES[flavour]:
        try:
            return import_module(name)
        except (ImportError, OSError) as error:
            reasons.append(str(error))
    raise not_installed(f"{flavour} does not load ({'; '.join(reasons)})", f"ps3d-rt[{flavour}]")


def is_installed(name: str) -> bool:
    """Whether the module of a flavour is installed; other engines count as installed. Nothing is imported."""
    return name not in MODULES or any(find_spec(module) is not None for module in MODULES[name])


@once
def log_of(tensorrt: Any) -> Any:
    """Make the logger that all of TensorRT shares: it passes messages on, and keeps the last error in ``error``."""
    severity = tensorrt.ILogger.Severity
    # Nobody can act on its warnings: every scale of an 8-bit network makes one.
    levels = {severity.INTERNAL_ERROR: logging.ERROR, severity.ERROR: logging.ERROR, severity.WARNING: logging.INFO}

    class Log(tensorrt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            tensorrt.ILogger.__init__(self)
            self.error = "it does not say why"

        def log(self, severity: Any, message: str) -> None:
            level = levels.get(severity, logging.DEBUG)
            if level == logging.ERROR:
                self.error = message
            # An error becomes an exception of ours, which quotes it.
            logger.log(min(level, logging.WARNING), "%s: %s", tensorrt.__name__, message)

    return Log()


def engine_key(
    onnx: Path,
    *,
    flavour: str,
    patch: Zyx,
    precision: str,
    gpu: Gpu | None = None,
    batches: tuple[int, ...] = BATCHES,
) -> EngineKey:
    """Name an engine before it is built.

    Args:
        onnx: the network.
        flavour: ``tensorrt`` or ``tensorrt-rtx``.
        patch: input of the network, voxels z, y, x.
        precision: what the network is exported in: ``fp32``, ``fp16`` or ``int8``.
        gpu: the GPU it is for; None: every GPU that tensorrt-rtx builds for ahead of time.
        batches: patches a call, ascending.

    Raises:
        CapabilityError: if TensorRT does not load, or ``tensorrt`` has no GPU to build for.
    """
    version = load_tensorrt(flavour).__version__
    if gpu is None and flavour == "tensorrt":
        raise CapabilityError("tensorrt builds for the GPU in this machine, and there is none; use tensorrt-rtx.")
    bound = gpu is not None and (flavour == "tensorrt" or gpu.capability not in RTX_EVERY_GPU)
    with onnx.open("rb") as file:
        onnx_sha256 = file_digest(file, "sha256").hexdigest()
    return EngineKey(
        onnx_sha256=onnx_sha256,
        flavour=flavour,
        version=version,
        gpu=gpu.identity if gpu is not None and bound else "",
        precision=precision,
        patch=patch,
        batches=batches,
    )


def build_into(cache: EngineCache, key: EngineKey, onnx: Path, *, norm: str = "native") -> CachedEngine:
    """Build the engine of a key and keep it; one that was there is replaced.

    Raises:
        CapabilityError: if TensorRT cannot build it here.
        InputError: if the network is not one, or not of the key's precision.
    """
    logger.info("building a %s engine from %s, once for this network and GPU", key.flavour, onnx.name)
    engine, facts = build(
        onnx, flavour=key.flavour, patch=key.patch, batches=key.batches, norm=norm, for_this_gpu=bool(key.gpu)
    )
    if key.precision not in facts["precision"].split("+"):
        raise InputError(
            f"{onnx} computes in {facts['precision']}, its model says {key.precision}; export the model again."
        )
    return cache.store(key, engine, facts)


def build(
    onnx: Path,
    *,
    flavour: str,
    patch: Zyx,
    batches: Sequence[int] = BATCHES,
    norm: str = "native",
    for_this_gpu: bool = False,
) -> tuple[bytes, dict[str, Any]]:
    """Build an engine.

    Args:
        onnx: network with input (B, 1, z, y, x) float32 and output (B, 3, z, y, x) float32, B open.
        flavour: ``tensorrt`` or ``tensorrt-rtx``.
        patch: input of the network, voxels z, y, x.
        batches: patches a call, one optimization profile each, ascending.
        norm: instance normalization by TensorRT's own layer, ``native``, or by its ``plugin``.
        for_this_gpu: compile tensorrt-rtx for the GPU in this machine, which must be there; needed for
            compute capabilities outside :data:`RTX_EVERY_GPU`. Engines of ``tensorrt`` always are.

    Returns:
        The engine, and what is known of it, as JSON: ``inputs``, ``outputs``, ``precision`` (what its convolutions
        compute in), ``layers`` (kind → number), ``norm``, ``batches``, ``version``, ``gpus`` and ``build_seconds``.

    Raises:
        CapabilityError: if TensorRT does not load, has no such norm or cannot build the network here.
        InputError: if the file is not such a network, or an option is none of the above.
    """
    trt = load_tensorrt(flavour)
    if norm not in NORMS[flavour]:
        raise CapabilityError(f"{flavour} has no {norm!r} instance normalization; use {' or '.join(NORMS[flavour])}.")
    log = log_of(trt)
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)  # lives as long as the network, whose weights it holds
    if norm == "plugin":
        trt.init_libnvinfer_plugins(log, "")
        parser.clear_flag(trt.OnnxParserFlag.NATIVE_INSTANCENORM)
    if not parser.parse_from_file(str(onnx)):
        errors = [parser.get_error(i) for i in range(parser.num_errors)]
        says = "; ".join(error.desc() for error in errors)
        if any(error.code().name == "MODEL_DESERIALIZE_FAILED" for error in errors):
            raise InputError(f"{onnx} is not an ONNX network; export the model again. {flavour} says: {says}")
        raise CapabilityError(
            f"{flavour} {trt.__version__} cannot take {onnx.name}; use another engine. It says: {says}"
        )
    _check(network, onnx, patch)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, MEMORY_BYTES)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # layers can be inspected on a GPU; costs nothing
    if flavour == "tensorrt-rtx" and for_this_gpu:
        config.num_compute_capabilities = 1
        config.set_compute_capability(trt.ComputeCapability.CURRENT, 0)
    for batch in batches:
        profile = builder.create_optimization_profile()
        profile.set_shape(network.get_input(0).name, *3 * ((batch, 1, *patch),))  # smallest, best, largest
        config.add_optimization_profile(profile)
    start = time.perf_counter()
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise CapabilityError(f"{flavour} {trt.__version__} cannot build an engine from {onnx.name}: {log.error}")
    facts = {
        "inputs": _tensors(network.num_inputs, network.get_input),
        "outputs": _tensors(network.num_outputs, network.get_output),
        "precision": _precision(network),
        "layers": dict(Counter(layer.type.name for layer in _layers(network))),
        "norm": norm,
        "batches": list(batches),
        "version": f"{flavour} {trt.__version__}",
        "gpus": "every GPU" if flavour == "tensorrt-rtx" and not for_this_gpu else "this GPU",
        "build_seconds": round(time.perf_counter() - start, 3),
    }
    return bytes(engine), facts


def _check(network: Any, onnx: Path, patch: Zyx) -> None:
    """Refuse a network that does not turn patches into scores, B open."""
    if (network.num_inputs, network.num_outputs) != (1, 1):
        raise InputError(f"{onnx} has {network.num_inputs} inputs and {network.num_outputs} outputs, not one of each.")
    for kind, tensor, channels in (("takes", network.get_input(0), 1), ("gives", network.get_output(0), CLASSES)):
        shape, wanted = tuple(tensor.shape), (-1, channels, *patch)
        if shape != wanted or tensor.dtype.name != "FLOAT":
            raise InputError(
                f"{onnx} {kind} {shape} {tensor.dtype.name}, not {wanted} FLOAT, -1 for the open batch; "
                "export the model again."
            )


def _layers(network: Any) -> Iterator[Any]:
    return (network.get_layer(i) for i in range(network.num_layers))


def _tensors(count: int, get: Any) -> list[dict[str, Any]]:
    tensors = (get(i) for i in range(count))
    return [{"name": t.name, "shape": list(t.shape), "type": t.dtype.name} for t in tensors]


def _precision(network: Any) -> str:
    """Say what the convolutions compute in: the type of their input, or the one it was quantized to."""
    made_by = {layer.get_output(i).name: layer for layer in _layers(network) for i in range(layer.num_outputs)}
    found = set()
    for layer in _layers(network):
        if layer.type.name in _ARITHMETIC:
            tensor = layer.get_input(0)
            maker = made_by.get(tensor.name)
            if maker is not None and maker.type.name == "DEQUANTIZE":
                tensor = maker.get_input(0)
            found.add(_PRECISIONS.get(tensor.dtype.name, tensor.dtype.name.lower()))
    return "+".join(sorted(found))

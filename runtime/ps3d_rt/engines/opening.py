"""Which engine a model runs in: :func:`open_engine` chooses it and says which.

Nothing falls back in silence. With ``auto``, what did not load is logged with the reason, and the engine's ``spec``
says what runs; what was asked for by name is there or an error says what is missing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

from ps3d_rt.core.arrays import card_of
from ps3d_rt.engines.base import Engine
from ps3d_rt.engines.batches import CardUse
from ps3d_rt.engines.cards import OWN_CARD, Card, find_card, find_devices
from ps3d_rt.engines.ensemble import EnsembleEngine
from ps3d_rt.engines.mirrored import MirroredEngine
from ps3d_rt.engines.onnxruntime import OnnxRuntimeEngine
from ps3d_rt.engines.onnxruntime_cuda import OnnxRuntimeCudaEngine
from ps3d_rt.engines.openvino import OpenVinoEngine
from ps3d_rt.engines.tensorrt import TensorRtEngine
from ps3d_rt.engines.tensorrt_build import is_installed
from ps3d_rt.errors import CapabilityError, InputError
from ps3d_rt.model import ModelBundle, load_model

logger = logging.getLogger(__name__)

CPU_ENGINES = {"openvino": OpenVinoEngine, "onnxruntime": OnnxRuntimeEngine}
"""Name → class, in the order ``auto`` tries them: fastest first."""
GPU_ENGINES = ("tensorrt", "tensorrt-rtx", "onnxruntime-cuda")
"""Names, in the order ``auto`` tries them on a card."""
KNOWN = f"auto, {', '.join(GPU_ENGINES)}, {' or '.join(CPU_ENGINES)}"


@dataclass(frozen=True)
class Wish:
    """What was asked for; the fields are those of :func:`open_engine`."""

    engine: str
    device: str
    precision: str
    threads: int | None
    mirror: bool | None
    use: CardUse


def open_engine(
    bundle: ModelBundle,
    *,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    mirror: bool | None = None,
    use: CardUse | None = None,
) -> Engine:
    """Load a model's network, or its ensemble, into an engine.

    Args:
        bundle: the model.
        engine: one of :data:`GPU_ENGINES` or :data:`CPU_ENGINES` by name; ``auto`` takes the first that
            loads on the device, and none that failed the accuracy gate.
        device: ``cpu``, or ``cuda:N``; ``auto`` is the first card if an engine loads there, else the CPU. Several
            cards are ``cuda:0,cuda:1``, or ``cuda:all``: the engine is opened on the first, and the ``spec`` lists
            the others, where :mod:`ps3d_rt.pipeline` opens it in processes of their own.
        precision: ``auto``; on a CPU also ``fp32`` or ``bf16``. On a card it is the one the model was exported in.
        threads: CPU threads to use; None means all physical cores.
        mirror: whether scores are averaged over mirror images; None: along the model's axes, if it names any;
            True: along all three if it names none.
        use: batch and memory on a card; None: the defaults.

    Returns:
        The engine; its ``spec`` says which it is, where it runs and what it really computes in.

    Raises:
        CapabilityError: if the engine, device or precision is not available here, or failed the accuracy gate.
        InputError: if it is none that ps3d-rt knows, or the model's network cannot be read.
    """
    first, *others = find_devices(device)
    opened = _open(bundle, Wish(engine, first, precision, threads, mirror, use or CardUse()))
    if others and opened.spec.device == first:
        wish = Wish(opened.spec.name, OWN_CARD, precision, threads, mirror, use or CardUse())
        opened.spec = replace(opened.spec, more_devices=tuple(others))
        opened.reopen = partial(_reopened, bundle.path, wish)
    return opened


def _open(bundle: ModelBundle, wish: Wish) -> Engine:
    opened = _choose(bundle, wish)
    chosen = replace(wish, engine=opened.spec.name, device=opened.spec.device)
    axes = bundle.mirror_axes or ((0, 1, 2) if wish.mirror else ())
    if axes and wish.mirror is not False:
        opened = MirroredEngine(opened, axes)
    opened.reopen = partial(_reopened, bundle.path, chosen)
    return opened


@lru_cache(maxsize=1)
def _reopened(path: Path, wish: Wish) -> Engine:
    """Open an engine once a process, whatever the number of tasks that come with it."""
    return _open(load_model(path), wish)


def _choose(bundle: ModelBundle, wish: Wish) -> Engine:
    if wish.engine not in ("auto", *GPU_ENGINES, *CPU_ENGINES):
        raise InputError(f"engine is {wish.engine!r}; use {KNOWN}.")
    kind = "any" if wish.device == "auto" else "cpu" if card_of(wish.device) is None else "card"
    if (wish.engine in GPU_ENGINES and kind == "cpu") or (wish.engine in CPU_ENGINES and kind == "card"):
        raise InputError(
            f"engine {wish.engine} does not run on device {wish.device}; leave one of them out. "
            f"On cards run {', '.join(GPU_ENGINES)}, on the CPU {', '.join(CPU_ENGINES)}."
        )
    if wish.engine != "auto":
        return _load(wish.engine, bundle, wish)
    check_gate_of(bundle)
    if kind == "cpu":
        return _first(CPU_ENGINES, bundle, wish)
    card: Card | None = None
    try:
        card = find_card(wish.device)
        return _first(GPU_ENGINES, bundle, replace(wish, device=card.device))
    except CapabilityError as error:
        if kind == "card":
            raise
        if card is None:
            logger.debug("the CPU is used: %s", error)
        else:
            logger.warning("%s (%s) is not used, the CPU is: %s", card.device, card.name, error)
    return _first(CPU_ENGINES, bundle, wish)


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


def _first(names: Iterable[str], bundle: ModelBundle, wish: Wish) -> Engine:
    """Open the first engine that loads; log why those before it do not."""
    reasons: dict[str, str] = {}
    for name in names:
        try:
            opened = _load(name, bundle, wish)
        except CapabilityError as error:
            reasons[name] = str(error)
            continue
        for other, reason in reasons.items():
            # Few cards are for both flavours of TensorRT: that one is not installed is nothing to act on.
            level = logging.WARNING if other not in GPU_ENGINES or is_installed(other) else logging.DEBUG
            logger.log(level, "engine %s is not available: %s", other, reason)
        return opened
    raise CapabilityError(" ".join(reasons.values()))


def _load(name: str, bundle: ModelBundle, wish: Wish) -> Engine:
    if name in CPU_ENGINES:
        members = [
            CPU_ENGINES[name](path, bundle.patch, precision=wish.precision, threads=wish.threads)
            for path in bundle.onnx_paths
        ]
    else:
        members = [_load_on_card(name, bundle, path, wish) for path in bundle.onnx_paths]
    engine = members[0] if len(members) == 1 else EnsembleEngine(members)
    logger.debug("%d network(s) on %s: %s, %s", len(members), engine.spec.device, name, engine.spec.precision)
    return engine


def _load_on_card(name: str, bundle: ModelBundle, onnx_path: Path, wish: Wish) -> Engine:
    precision = precision_of(bundle)
    if wish.precision not in ("auto", precision):
        raise CapabilityError(
            f"precision {wish.precision!r} on a card: there a model runs in the one it was exported in, {precision}; "
            "export it in another (ps3d-rt export onnx), or use --device cpu."
        )
    if name == "onnxruntime-cuda":
        return OnnxRuntimeCudaEngine(onnx_path, bundle.patch, precision=precision, device=wish.device, use=wish.use)
    return TensorRtEngine(
        onnx_path,
        bundle.patch,
        flavour=name,
        precision=precision,
        device=wish.device,
        allow_failed_gate=wish.engine == name,
        use=wish.use,
    )

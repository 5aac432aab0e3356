"""``ps3d-rt doctor``: what is installed, what runs here, and what to install for more."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer

from ps3d_rt.errors import CapabilityError, InputError

EXTRAS = {
    "train": ("nnunetv2", "train on your own material"),
    "gpu": ("cupy-cuda13x", "run on an NVIDIA GPU"),
    "tensorrt": ("tensorrt", "the fastest engine on data-centre GPUs"),
    "tensorrt-rtx": ("tensorrt-rtx-cu13", "the fastest engine on RTX workstations"),
}
"""Extra → the package it is recognised by, and what it is for."""


def doctor(as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False) -> None:
    """Report versions, devices, the engines that run here, the bundled models, and extras that could be installed.

    Every engine runs one patch; on a GPU it is built first, if it has not been. Ends with exit code 3 if
    ``ps3d-rt predict`` cannot work here.

    Example: ps3d-rt doctor
    """
    found = examine()
    typer.echo(json.dumps(found, indent=2) if as_json else as_text(found))
    if not found["ready"]:
        raise CapabilityError("no engine could run a bundled model here; the sections models and engines say why.")


def examine() -> dict[str, Any]:
    """Look at everything; nothing that is broken stops the rest from being looked at."""
    from ps3d_rt.versions import versions  # noqa: PLC0415 - keeps --help fast

    models = _models()
    whole = [model["model"] for model in models if model["ok"]]
    engines = _engines(whole[0] if whole else None)
    return {
        "ready": any(engine["ok"] for engine in engines),
        "versions": versions(),
        "devices": _devices(),
        "models": models,
        "engines": engines,
        "extras": [
            {"extra": extra, "ok": _is_installed(package), "for": purpose, "install": f'pip install "ps3d-rt[{extra}]"'}
            for extra, (package, purpose) in EXTRAS.items()
        ],
    }


def as_text(found: dict[str, Any]) -> str:
    """Write the report as aligned plain text, a section a topic."""
    lines: list[str] = []
    for section, content in found.items():
        if isinstance(content, dict):
            rows = [list(map(str, item)) for item in content.items()]
        elif isinstance(content, list):
            rows = [list(map(_word, row.values())) for row in content] or [["none"]]
        else:
            continue
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines += ["", section]
        lines += ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join(lines[1:])


def _word(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _models() -> list[dict[str, Any]]:
    from ps3d_rt.model import bundled_models, load_model  # noqa: PLC0415

    rows = []
    for name in bundled_models():
        try:
            rows.append({"model": name, "ok": True, "detail": load_model(name).hash})
        except InputError as error:
            rows.append({"model": name, "ok": False, "detail": str(error)})
    return rows


def _engines(model: str | None) -> list[dict[str, Any]]:
    """Open every engine with a bundled model and let it run one patch."""
    import numpy as np  # noqa: PLC0415

    from ps3d_rt.devices import device_named  # noqa: PLC0415
    from ps3d_rt.engines import CPU_ENGINES, GPU_ENGINES, open_engine  # noqa: PLC0415
    from ps3d_rt.model import load_model  # noqa: PLC0415

    rows = []
    for name in (*GPU_ENGINES, *CPU_ENGINES):
        row = {"engine": name, "ok": False, "device": "-", "precision": "-", "detail": "no bundled model to try it"}
        if model is not None:
            try:
                with open_engine(load_model(model), engine=name) as engine:
                    spec, device = engine.spec, device_named(engine.spec.device)
                    device.download(engine.infer(device.upload(np.zeros((1, 1, *spec.patch), np.float32))))
                row |= {"ok": True, "device": spec.device, "precision": spec.precision, "detail": ""}
            except (CapabilityError, InputError) as error:
                row["detail"] = str(error)
        rows.append(row)
    return rows


def _devices() -> list[dict[str, Any]]:
    from ps3d_rt.devices.gpus import find_gpus  # noqa: PLC0415

    rows = [{"device": "cpu", "name": platform.processor() or platform.machine(), "detail": f"{os.cpu_count()} cores"}]
    try:
        for gpu in find_gpus():
            (major, minor), (cuda, release) = gpu.capability, gpu.cuda
            detail = f"{gpu.memory_bytes / 2**30:.0f} GiB, compute capability {major}.{minor}, CUDA {cuda}.{release}"
            rows.append({"device": gpu.device, "name": gpu.name, "detail": detail})
    except CapabilityError as error:
        rows.append({"device": "cuda", "name": "none", "detail": str(error)})
    return rows


def _is_installed(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False

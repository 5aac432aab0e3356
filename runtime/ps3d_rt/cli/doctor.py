"""``ps3d-rt doctor``: what is installed, what runs here, and what to install for more."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Annotated, Any

import typer

from ps3d_rt.errors import CapabilityError, InputError
from ps3d_rt.installing import install_command

logger = logging.getLogger(__name__)

PURPOSES = {
    "annotate": "look at results and labels in napari",
    "bench": "compare with other methods, draw plots",
    "cluster": "run on several machines",
    "dicom": "read DICOM",
    "excel": "write .xlsx",
    "export": "models in other precisions, engines",
    "gpu": "run on an NVIDIA GPU",
    "s3": "read from and write to object stores",
    "serve": "a page for the operator",
    "tensorrt": "the fastest engine on data-centre GPUs",
    "tensorrt-rtx": "the fastest engine on RTX workstations",
    "train": "train on your own material",
}
"""What the extras are for."""
_FOR_DEVELOPERS = {"dev", "docs"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False,
    bundle: Annotated[Path | None, typer.Option(help="Zip to write for whoever helps; no scan data in it.")] = None,
    about: Annotated[
        list[Path] | None, typer.Option(help="Output, log or watch.toml to put into it; may be repeated.")
    ] = None,
) -> None:
    """Say whether predict works here and how fast to expect it: machine, engines, models, extras and versions.

    Every engine runs one patch; on a GPU it is built first, if it has not been. Ends with exit code 3 if predict cannot
    work here. With --bundle the same goes into a zip, with records and logs of what went wrong.

    Example: ps3d-rt doctor --bundle support.zip --about result
    """
    write = None if bundle is None and not about else _bundle_writer(bundle, about or [])
    found = examine()
    typer.echo(json.dumps(found, indent=2) if as_json else as_text(found))
    if write is not None:
        write(found)
    if not found["ready"]:
        raise CapabilityError("no engine could run a bundled model here; the sections models and engines say why.")


def _bundle_writer(path: Path | None, about: list[Path]) -> Callable[[dict[str, Any]], object]:
    """Collect what goes into a bundle, and give what writes it; what is amiss shows before the engines are tried."""
    from ps3d_rt.support.bundle import SupportBundle  # noqa: PLC0415 - loads the stages

    if path is None:
        raise InputError("--about says what goes into the zip of --bundle; give its name too.")
    bundle = SupportBundle.about(path, about)

    def write(found: dict[str, Any]) -> None:
        names = bundle.write(as_text(found), found)
        logger.info("%s holds %s. Look through it before you send it.", path, ", ".join(names))

    return write


def examine() -> dict[str, Any]:
    """Look at everything; nothing that is broken stops the rest from being looked at."""
    from ps3d_rt.machine import machine_facts  # noqa: PLC0415 - keeps --help fast
    from ps3d_rt.versions import release, versions  # noqa: PLC0415

    models = _models()
    whole = [model["model"] for model in models if model["ok"]]
    engines = _engines(whole[0] if whole else None)
    ready = any(engine["ok"] for engine in engines)
    return {
        "ready": ready,
        "verdict": _verdict(engines) if ready else "predict does not work here: see models and engines",
        "machine": machine_facts(),
        "devices": _devices(),
        "engines": engines,
        "models": models,
        "extras": _extras(),
        "versions": {"release": release(), **versions()},
    }


def _verdict(engines: list[dict[str, Any]]) -> str:
    best = next(engine for engine in engines if engine["ok"])
    return f"predict works here, with {best['engine']} in {best['precision']} on {best['device']}"


def as_text(found: dict[str, Any]) -> str:
    """Write the report as aligned plain text: the verdict, then a section a topic; a reason stands there once."""
    lines, said = [f"{found['verdict']}."], set[str]()
    for section, content in found.items():
        if isinstance(content, dict):
            rows = [list(map(str, item)) for item in content.items()]
        elif isinstance(content, list):
            rows = [list(map(_word, _once(row, said).values())) for row in content] or [["none"]]
        else:
            continue
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines += ["", section]
        lines += ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join(lines)


def _once(row: dict[str, Any], said: set[str]) -> dict[str, Any]:
    """Leave out the end of a reason that was given before, such as a missing GPU."""
    detail = row.get("detail", "")
    known = max((text for text in said if detail.endswith(text)), key=len, default="")
    said.add(detail)
    return row if not known else row | {"detail": detail.removesuffix(known) + "as above"}


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
    from ps3d_rt.machine import cpu_name  # noqa: PLC0415

    rows = [{"device": "cpu", "name": cpu_name(), "detail": f"{os.cpu_count()} cores"}]
    try:
        for gpu in find_gpus():
            (major, minor), (cuda, release) = gpu.capability, gpu.cuda
            detail = f"{gpu.memory_bytes / 2**30:.0f} GiB, compute capability {major}.{minor}, CUDA {cuda}.{release}"
            rows.append({"device": gpu.device, "name": gpu.name, "detail": detail})
    except CapabilityError as error:
        rows.append({"device": "cuda", "name": "none", "detail": str(error)})
    return rows


def _extras() -> list[dict[str, Any]]:
    """List what could be installed beside, and whether it is: all packages that an extra names without conditions."""
    needed: dict[str, list[str]] = {}
    for line in requires("ps3d-rt") or []:
        if (found := re.fullmatch(r"([\w.-]+).*; *extra == ['\"]([\w-]+)['\"]", line)) and found[
            2
        ] not in _FOR_DEVELOPERS:
            needed.setdefault(found[2], []).append(found[1])
    return [
        {
            "extra": extra,
            "ok": all(map(_is_installed, packages)),
            "for": PURPOSES.get(extra, ""),
            "install": install_command(f"ps3d-rt[{extra}]"),
        }
        for extra, packages in sorted(needed.items())
    ]


def _is_installed(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False

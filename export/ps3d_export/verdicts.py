"""A model through the gate: against which model it is judged, on what, and where the verdict is kept."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ps3d_export.gate import judge
from ps3d_export.samples import GATE, read_samples, simulate
from ps3d_rt.devices.gpus import find_gpu
from ps3d_rt.engines import EngineSpec, open_engine
from ps3d_rt.engines.cache import CachedEngine, EngineCache, Verdict
from ps3d_rt.engines.factory import precision_of
from ps3d_rt.engines.tensorrt_build import MODULES, engine_key
from ps3d_rt.errors import InputError
from ps3d_rt.model import MANIFEST, SUFFIX, ModelBundle, bundled_models, load_model, write_bundle


def judge_model(
    model: str | Path,
    *,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    reference: str | None = None,
    samples: Path | None = None,
) -> tuple[Verdict, list[Path]]:
    """Judge one engine of a model and keep the verdict.

    Args:
        model: name of a bundled model, or path of a bundle.
        engine: as of :func:`ps3d_rt.engines.open_engine`, as the next two.
        device: where it runs; the float32 reference runs on the CPU.
        precision: of the engine.
        reference: name or path of the float32 model; None: it is looked for.
        samples: labelled samples; None: simulated ones.

    Returns:
        The verdict, and the files it was written to.

    Raises:
        InputError: if the model is a zip, which cannot be written to, or its origin is not found.
    """
    bundle = load_model(model)
    if Path(model).is_file():
        raise InputError(f"{model} is a zip, and the verdict is kept in the model; unpack it first.")
    against = reference_of(bundle, reference)
    with (
        tempfile.TemporaryDirectory() as scratch,
        open_engine(without_verdict(bundle), engine=engine, device=device, precision=precision) as judged,
        open_engine(against, device="cpu", precision="fp32") as expected,
    ):
        folder = simulate(Path(scratch), GATE) if samples is None else samples
        verdict = judge(judged, expected, bundle, read_samples(folder))
    return verdict, record(bundle, judged.spec, verdict)


def reference_of(bundle: ModelBundle, named: str | None = None) -> ModelBundle:
    """Find the float32 model to judge against: the one a variant was exported from, else the model itself.

    Args:
        bundle: to be judged.
        named: name or path of it; None: a bundled model, or one in the same folder.

    Raises:
        InputError: if it is not found, or is another model.
    """
    origin = bundle.provenance.get("exported_from")
    if origin is None:
        return bundle
    beside = bundle.path.parent / f"{origin['name']}{SUFFIX}"
    if named is not None:
        found = load_model(named)
    elif origin["name"] in bundled_models():
        found = load_model(origin["name"])
    elif beside.exists():
        found = load_model(beside)
    else:
        raise InputError(f"{bundle.name} was exported from {origin['name']!r}; say where that is: --reference PATH.")
    if found.hash != origin["hash"]:
        raise InputError(
            f"{bundle.name} was not exported from this {found.name!r}, its networks are others (sha256); "
            "say where the right one is: --reference PATH."
        )
    return found


def without_verdict(bundle: ModelBundle) -> ModelBundle:
    """Forget an earlier verdict, so that it cannot keep the engine from being judged again."""
    return replace(bundle, provenance={key: value for key, value in bundle.provenance.items() if key != "gate"})


def record(bundle: ModelBundle, spec: EngineSpec, verdict: Verdict, cache: EngineCache | None = None) -> list[Path]:
    """Keep a verdict with what it is about.

    1. a built engine: in its manifest in the cache;
    2. a variant that ran on another engine: in the provenance of its bundle;
    3. a lower precision of a model on a CPU: in the gates of its bundle;
    4. a model in float32: nowhere.

    Returns:
        The files that were written.
    """
    if spec.name in MODULES:
        engines = cached_engines(bundle, spec, cache or EngineCache())
        return [engine.record_gate(verdict).path.with_suffix(".json") for engine in engines]
    if "exported_from" in bundle.provenance:
        return [record_in_bundle(bundle, verdict).path / MANIFEST]
    if spec.choice in ("bf16", *bundle.precisions):
        gates = bundle.gates | {spec.choice: in_short(verdict, spec)}
        return [_rewritten(replace(bundle, gates=gates)).path / MANIFEST]
    return []


def record_in_bundle(bundle: ModelBundle, verdict: Verdict) -> ModelBundle:
    """Write the bundle again with the verdict in its provenance."""
    return _rewritten(replace(bundle, provenance=bundle.provenance | {"gate": asdict(verdict)}))


def in_short(verdict: Verdict, spec: EngineSpec) -> dict[str, Any]:
    """Give the verdict without the single samples, as JSON."""
    measured = verdict.measured
    return {
        "passed": verdict.passed,
        "computed_in": spec.precision,
        "f1_instance": measured["engine"]["f1_instance"],
        "difference": measured["difference"],
        "standard_error": measured["standard_error"],
        "samples": len(measured["samples"]),
    }


def _rewritten(bundle: ModelBundle) -> ModelBundle:
    return write_bundle(bundle.path, bundle, {name: bundle.path / name for name in bundle.sha256}, overwrite=True)


def cached_engines(bundle: ModelBundle, spec: EngineSpec, cache: EngineCache) -> list[CachedEngine]:
    """Find the engines that a model runs in on a GPU."""
    gpu = find_gpu(spec.device)
    keys = [
        engine_key(path, flavour=spec.name, patch=bundle.patch, precision=precision_of(bundle), gpu=gpu)
        for path in bundle.onnx_paths
    ]
    return [engine for engine in map(cache.find, keys) if engine is not None]

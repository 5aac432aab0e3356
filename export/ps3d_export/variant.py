"""A model bundle in another precision: the same description, other networks, and where they come from."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from ps3d_export.calibration import PATCHES, SEED, calibration_patches
from ps3d_export.equalize import equalize_channels
from ps3d_export.graph import read_network
from ps3d_export.precision import PRECISIONS, to_fp16, to_int8
from ps3d_export.rewrites import rewrite, split_concatenations
from ps3d_export.run import run_network
from ps3d_export.samples import CALIBRATION, read_samples, simulate
from ps3d_rt.errors import InputError, Ps3dError
from ps3d_rt.model import ModelBundle, check_place, write_bundle

EXACT = 1e-4
"""Largest difference of a score, in [0, 1], that rewrites alone may make; rounding leaves about 1e-6."""


def export_variant(
    bundle: ModelBundle,
    folder: Path,
    *,
    precision: str,
    rewrites: bool = False,
    samples: Path | None = None,
    overwrite: bool = False,
) -> ModelBundle:
    """Write a model once more, in another precision or rewritten.

    Args:
        bundle: a float32 model.
        folder: bundle to write, ``NAME.ps3d``.
        precision: ``fp32``, ``fp16`` or ``int8``.
        rewrites: apply :mod:`ps3d_export.rewrites`; ``int8`` always does.
        samples: labelled samples to calibrate ``int8`` on; None: simulated ones.
        overwrite: replace a bundle that is there.

    Returns:
        The new bundle; its ``provenance`` says from which it comes.

    Raises:
        InputError: if the model is not float32, an option is not one of the above, or nothing would change.
        Ps3dError: if a new network gives scores that are not finite, or not those it should.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision is {precision!r}; use {', '.join(PRECISIONS)}.")
    if bundle.provenance.get("precision", "fp32") != "fp32":
        raise InputError(
            f"the model {bundle.name!r} is {bundle.provenance['precision']} already; export from the float32 one, "
            f"{bundle.provenance.get('exported_from', {}).get('name', 'which it came from')!r}."
        )
    if precision == "fp32" and not rewrites:
        raise InputError("the model is fp32 already; nothing would change. Ask for fp16 or int8, or for --rewrite.")
    check_place(folder, overwrite=overwrite)
    patches = calibrate(bundle, samples) if precision == "int8" else []
    with tempfile.TemporaryDirectory() as scratch:
        files = {name: bundle.path / name for name in bundle.sha256}
        facts: dict[str, Any] = {}
        for member, path in zip(bundle.members, bundle.onnx_paths, strict=True):
            network = read_network(path)
            changed, counts = convert(network, precision, rewrites=rewrites, patches=patches)
            difference = check_scores(network, changed, bundle, exact=precision == "fp32")
            facts[member] = {**counts, "score_difference": difference}
            files[member] = Path(scratch) / member
            onnx.save(changed, files[member])
        known = {
            "precision": precision,
            "exported_from": {"name": bundle.name, "hash": bundle.hash},
            "export": facts | ({"calibration": _told(samples)} if precision == "int8" else {}),
        }
        kept = {key: value for key, value in bundle.provenance.items() if key != "gate"}
        variant = replace(bundle, name=folder.stem, provenance=kept | known)
        return write_bundle(folder, variant, files, overwrite=overwrite)


def convert(
    network: ModelProto,
    precision: str,
    *,
    rewrites: bool = False,
    patches: Sequence[NDArray[np.float32]] = (),
    zero_points: bool = False,
) -> tuple[ModelProto, dict[str, int]]:
    """Give a network in another precision; ``int8`` is measured on ``patches``, see :func:`to_int8`.

    Returns:
        The new network, and how many nodes each rewrite replaced.
    """
    counts: dict[str, int] = {}
    if rewrites or precision == "int8":
        network, counts = rewrite(network)
    if precision == "fp16":
        return to_fp16(network), counts
    if precision == "int8":
        network, counts["split_concatenations"] = split_concatenations(network)
        network, counts["equalized_rectifiers"] = equalize_channels(network, patches)
        return to_int8(network, patches, zero_points=zero_points), counts
    return network, counts


def check_scores(before: ModelProto, after: ModelProto, bundle: ModelBundle, *, exact: bool) -> dict[str, float]:
    """Run both on two random patches in ONNX Runtime.

    Returns:
        The largest and the mean difference of a score.

    Raises:
        Ps3dError: if a score is not finite, or, where they should be ``exact``, differs by more than 1e-4.
    """
    patches = np.random.default_rng(0).standard_normal((2, 1, *bundle.patch), dtype=np.float32)
    expected, scores = run_network(before, patches), run_network(after, patches)
    if not np.isfinite(scores).all():
        raise Ps3dError("the exported network gives scores that are not finite; export in a higher precision.")
    apart = np.abs(scores - expected)
    if exact and not apart.max() <= EXACT:
        raise Ps3dError(f"the rewritten network differs by {apart.max():.2g} in a score; {EXACT:g} is allowed.")
    return {"largest": float(apart.max()), "mean": float(apart.mean())}


def calibrate(bundle: ModelBundle, samples: Path | None) -> list[NDArray[Any]]:
    """Choose the patches that 8-bit scales are measured on; ``samples`` None: from simulated ones."""
    if samples is not None:
        return calibration_patches(read_samples(samples), bundle)
    with tempfile.TemporaryDirectory() as scratch:
        return calibration_patches(read_samples(simulate(Path(scratch), CALIBRATION)), bundle)


def _told(samples: Path | None) -> dict[str, Any]:
    what = "simulated" if samples is None else samples.name
    return {"samples": what, "patches": PATCHES, "seed": SEED} | ({"recipes": CALIBRATION} if samples is None else {})

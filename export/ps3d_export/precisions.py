"""All that a model may be run in on a CPU, in one bundle: 8-bit networks are added, and every precision is judged."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import replace
from pathlib import Path

import onnx

from ps3d_export.graph import read_network
from ps3d_export.samples import GATE, simulate
from ps3d_export.variant import calibrate, check_scores, convert
from ps3d_export.verdicts import judge_model
from ps3d_rt.engines.cache import Verdict
from ps3d_rt.engines.factory import LOWER, precision_of
from ps3d_rt.errors import CapabilityError, InputError
from ps3d_rt.model import ModelBundle, load_model, write_bundle

logger = logging.getLogger(__name__)


def add_precisions(
    model: str | Path, *, calibration: Path | None = None, samples: Path | None = None
) -> dict[str, Verdict]:
    """Give a model 8-bit networks and the accuracy gate's verdicts, in its own folder; what it had of both is replaced.

    Args:
        model: name of a bundled model, or path of a bundle in float32.
        calibration: labelled samples to measure 8-bit scales on; None: simulated ones.
        samples: labelled samples to judge by; None: simulated ones.

    Returns:
        Precision → verdict. One that this CPU does not compute in is missing: it is not judged.

    Raises:
        InputError: if the model is not float32, or a zip, which cannot be written to.
        Ps3dError: if a new network gives scores that are not finite.
    """
    bundle = load_model(model)
    if precision_of(bundle) != "fp32":
        raise InputError(f"the model {bundle.name!r} is {precision_of(bundle)}; give the float32 one it came from.")
    if Path(model).is_file():
        raise InputError(f"{model} is a zip, and networks are added to the model; unpack it first.")
    bundle = _with_8_bits(bundle, calibration)
    found: dict[str, Verdict] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = simulate(Path(scratch), GATE) if samples is None else samples
        for precision in ("bf16", *bundle.precisions):
            try:
                verdict, _ = judge_model(
                    bundle.path, engine="openvino", device="cpu", precision=precision, samples=folder
                )
            except CapabilityError as error:
                logger.warning("%s is not judged, so it is not used: %s", precision, error)
            else:
                found[precision] = verdict
    return found


def _with_8_bits(bundle: ModelBundle, calibration: Path | None) -> ModelBundle:
    """Write the bundle again, with 8-bit networks and without verdicts."""
    patches = calibrate(bundle, calibration)
    (precision,) = LOWER
    files = {name: bundle.path / name for name in bundle.sha256 if name not in bundle.networks[len(bundle.members) :]}
    names = []
    with tempfile.TemporaryDirectory() as scratch:
        for member, path in zip(bundle.members, bundle.onnx_paths, strict=True):
            network = read_network(path)
            changed, _ = convert(network, precision, patches=patches, zero_points=True)
            check_scores(network, changed, bundle, exact=False)
            names.append(f"{Path(member).stem}.{precision}.onnx")
            files[names[-1]] = Path(scratch) / names[-1]
            onnx.save(changed, files[names[-1]])
        changed_bundle = replace(bundle, precisions={precision: tuple(names)}, gates={})
        return write_bundle(bundle.path, changed_bundle, files, overwrite=True)

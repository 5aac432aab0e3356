"""What a setting of a bundle trades: the five measures, patches and seconds of the network at several values.

    python benchmarks/sweep.py SETTING=VALUE,… SAMPLES [PREPARED] [--model PATH] [--largest 130]
    python benchmarks/sweep.py core_bias=-0.4,-0.2,0 samples prepared

SETTING is any number in ``model.json``: overlap, core_bias, min_relative_volume, min_confidence, target_size_voxels …
Samples are those that the network was not trained on and that no benchmark of accuracy uses: fold 0's validation
samples of PREPARED, or all of SAMPLES. The settings of a bundle are chosen here.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np

import ps3d_rt
from ps3d_bench.environment import write_result
from ps3d_bench.samples import HELD_OUT, held_out
from ps3d_bench.script import held_out_parser, result_head, run_script
from ps3d_rt.engines import Engine, open_engine
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import ArrayVolume
from ps3d_rt.io.samples import LabelledScan
from ps3d_rt.model import ModelBundle
from ps3d_rt.pipeline import predict_volume
from ps3d_rt.predict_options import PredictOptions, configure

MEASURES = ("f1", "f1_match", "f1_instance", "merger_ratio", "splitter_ratio")
COLUMNS = (*MEASURES, "patches", "network_seconds")


def main(arguments: Sequence[str]) -> None:
    parser = held_out_parser(__file__, __doc__, largest=130, first=("setting", "NAME=VALUE,VALUE, … of the bundle"))
    options = parser.parse_args(arguments)
    bundle = ps3d_rt.load_model(options.model)
    name, values = parse_setting(options.setting, bundle)
    rows: list[dict[str, Any]] = []
    with open_engine(bundle) as engine:
        for sample_name, image, reference, sample in held_out(options.samples, options.prepared, options.largest):
            scan = ArrayVolume(image, sample.spacing_mm)
            settings: list[dict[str, Any]] = [{name: value} for value in values]
            found = [judge(scan, reference, sample, replace(bundle, **setting), engine) for setting in settings]
            rows.append({"name": sample_name, **{column: [row[column] for row in found] for column in COLUMNS}})
            print(sample_name, np.round(rows[-1]["f1_instance"], 3), file=sys.stderr, flush=True)
    means = {column: np.mean([row[column] for row in rows], axis=0).round(4).tolist() for column in COLUMNS}
    head = result_head(__file__, arguments, HELD_OUT, bundle=bundle)
    write_result(options.out, {**head, "setting": name, "values": values, "means": means, "samples": rows})
    print(as_table(name, values, means))


def parse_setting(text: str, bundle: ModelBundle) -> tuple[str, list[float]]:
    """Read ``NAME=VALUE,VALUE``.

    Raises:
        InputError: if the bundle has no such number.
    """
    name, _, values = text.partition("=")
    known = sorted(f.name for f in fields(bundle) if isinstance(getattr(bundle, f.name), float))
    try:
        found = [float(value) for value in values.split(",")]
    except ValueError:
        found = []
    if name not in known or not found:
        raise InputError(
            f"{text!r} is no setting with values, such as core_bias=-0.2,0; numbers are {', '.join(known)}."
        )
    return name, found


def judge(
    scan: ArrayVolume, reference: Any, sample: LabelledScan, bundle: ModelBundle, engine: Engine
) -> dict[str, float]:
    """Give the :data:`COLUMNS` of one sample under one setting."""
    config = configure(scan, bundle, PredictOptions(particle_size=sample.particle_size_mm))
    result = predict_volume(scan, bundle, engine, config)
    metrics = asdict(ps3d_rt.evaluate(result.labels, reference))
    seconds, patches = result.run["seconds"]["network"], result.run["patches"]["planned"]
    return {name: metrics[name] for name in MEASURES} | {"patches": patches, "network_seconds": seconds}


def as_table(name: str, values: Sequence[float], means: dict[str, list[float]]) -> str:
    """One row a value: Markdown."""
    lines = ["| " + " | ".join((name, *COLUMNS)) + " |", "|" + "--:|" * (1 + len(COLUMNS))]
    for value, *row in zip(values, *(means[column] for column in COLUMNS), strict=True):
        lines.append("| " + " | ".join([f"{value:g}", *(f"{number:.4g}" for number in row)]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    run_script(main)

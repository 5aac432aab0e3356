"""``ps3d-rt bench accuracy``: are particles separated, and better than by the methods one would take instead?"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from ps3d_bench.capability import require
from ps3d_bench.environment import environment, write_result
from ps3d_rt.cli import options


def accuracy(
    samples: Annotated[str, typer.Option(help="Groups in, out, artifact, touching; table1; dev; or seeds.")] = "all",
    methods: Annotated[str, typer.Option(help="Methods, or fast: all that take no hours.")] = "fast",
    model: Annotated[str, typer.Option(help="Bundled model, or path of a .ps3d bundle.")] = "default",
    engine: Annotated[str, typer.Option(help="As of predict.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="As of predict; default: all cores.", min=1)] = None,
    training: Annotated[Path | None, typer.Option(help="Folder of samples that the peers are tuned on.")] = None,
    unet2d: Annotated[Path | None, typer.Option(help="ONNX file of the method unet2d.")] = None,
    keep: Annotated[
        Path | None,
        typer.Option(help="Earlier result: takes over methods that are not run and need no model.", exists=True),
    ] = None,
    cache: Annotated[Path, typer.Option(help="Folder that keeps samples and settings.")] = Path("bench-cache"),
    out: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Picture to write: .svg, .png …")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Segment 17 simulated samples by several methods and compare with the truth: the paper's five measures.

    table1 is another set: 42 scans, simulated by physics, of the materials of the paper's Table 1. Samples are made at
    the first run; seeds and properties are fixed, and no model is trained on them.

    Example: ps3d-rt bench accuracy --samples in,950014 --methods ps3d-rt,threshwater
    """
    from ps3d_rt.cli.results import for_people  # noqa: PLC0415 - as below

    require("skimage", *(["matplotlib"] if plot is not None else []))
    from ps3d_bench import accuracy as bench  # noqa: PLC0415 - heavy
    from ps3d_bench import accuracy_plot  # noqa: PLC0415
    from ps3d_bench.accuracy_samples import choose  # noqa: PLC0415
    from ps3d_bench.methods import METHODS, Lab, choose_methods  # noqa: PLC0415
    from ps3d_bench.samples import generator_hash  # noqa: PLC0415
    from ps3d_rt.model import load_model  # noqa: PLC0415

    chosen, names = choose(samples), choose_methods(methods)
    if "snow" in " ".join(names):
        require("porespy")
    earlier = None if keep is None else json.loads(keep.read_text(encoding="utf-8"))
    bundle = load_model(model)
    lab = Lab(bundle, cache, engine, threads, training, unet2d)
    content = {
        "benchmark": "accuracy",
        "data": "simulated: ps3d_training.synth, seeds outside every training set",
        **environment(["ps3d-rt", *sys.argv[1:]], ["scikit-image", "porespy"]),
        "model": {"name": bundle.name, "sha256": bundle.hash, "provenance": bundle.provenance},
        "generator_sha256": generator_hash(physics=any(sample.material for sample in chosen)),
        "methods": {name: METHODS[name].what for name in names},
    }
    rows = []
    for row in bench.judge_all(chosen, lab.segmenters(names), cache):
        rows.append(row if earlier is None else bench.keep(row, earlier))
        typer.echo(bench.progress(row), err=True)
    if earlier is not None:
        content["kept"] = bench.origins(rows, names, earlier)
        content["methods"] |= {name: METHODS[name].what for name in content["kept"]}
    content |= {"groups": bench.summarize(rows), "samples": rows}
    if out is not None:
        write_result(out, content)
    if plot is not None:
        accuracy_plot.draw(content, plot)
    typer.echo(bench.as_tables(content) if for_people(as_json=as_json) else json.dumps(content, indent=2))

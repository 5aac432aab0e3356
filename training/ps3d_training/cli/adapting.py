"""``ps3d-rt train update`` and ``ps3d-rt train adapt``: a model for a material that it was not trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ps3d_training.cli.epochs import say_epoch

Init = Annotated[str, typer.Option(help="Model to begin with: bundled, or the path of a .ps3d folder.")]
Out = Annotated[Path, typer.Option(help="Model bundle to write, NAME.ps3d.")]
OldSamples = Annotated[
    int, typer.Option(help="Simulated samples like those of the first training, so that nothing is forgotten.", min=0)
]
Threads = Annotated[int | None, typer.Option(help="CPU threads of the training; one a core if not given.")]
Patch = Annotated[int | None, typer.Option(help="Side of a training patch, voxels; as the model was trained with.")]
Int8 = Annotated[bool, typer.Option(help="Add 8-bit networks, and judge all precisions.")]
Overwrite = Annotated[bool, typer.Option(help="Replace a bundle that is there.")]


def update(
    folder: Annotated[Path, typer.Argument(help="Annotation folder: images, instance_seg, metadata.json.")],
    out: Out,
    init: Init = "default",
    minutes: Annotated[float, typer.Option(help="Of training; the rest takes about as long again.", min=0)] = 30,
    old_samples: OldSamples = 40,
    patch: Patch = None,
    int8: Int8 = True,
    threads: Threads = None,
    overwrite: Overwrite = False,
) -> None:
    """Train a model on with corrected patches: prepare, train, export, 8 bits, gate, before and after.

    The end of every scan is held back; both models segment it. A command that was stopped goes on. Prints the scores
    as JSON.

    Example: ps3d-rt train update annotations --out plant.ps3d
    """
    from ps3d_rt.cli.progress import warn  # noqa: PLC0415 - heavy, as below
    from ps3d_training.adapt.go_on import Continuation  # noqa: PLC0415
    from ps3d_training.adapt.update import update as run_update  # noqa: PLC0415

    how = Continuation(
        minutes=minutes, old_samples=old_samples, patch=patch, threads=threads, on_epoch=say_epoch, say=_say
    )
    result = run_update(folder, out, how, init=init, with_int8=int8, overwrite=overwrite)
    gain = result["gain_f1_instance"]
    if gain is None:
        warn("no scan is long enough to hold a part of it back, so nothing says whether the new model is better.")
    elif gain < 0:
        warn(
            f"the new model is worse on what was held back ({gain:+.3f} F1_instance): keep the old one, look at "
            "the labels, or train longer."
        )
    typer.echo(json.dumps(result, indent=2))


def adapt(
    scans: Annotated[list[Path], typer.Argument(help="Scans of the material: any format that predict reads.")],
    out: Out,
    init: Init = "default",
    minutes: Annotated[float, typer.Option(help="Of training; the rest takes about as long again.", min=0)] = 20,
    spacing: Annotated[float | None, typer.Option(help="Side of a voxel, mm, if the scans do not say it.")] = None,
    particle_size: Annotated[
        float | None, typer.Option(help="Rough mean diameter, mm; estimated if not given.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Labelled samples to render of each scan.", min=2)] = 24,
    old_samples: OldSamples = 40,
    patch: Patch = None,
    int8: Int8 = True,
    threads: Threads = None,
    overwrite: Overwrite = False,
) -> None:
    """Let scans teach a model, without labels: samples that look like them are rendered, and the model is trained on.

    The new model is written only if it segments a part of the scan that was left out better, and samples of the first
    training no worse. A command that was stopped goes on. Prints what both were judged by, as JSON.

    Example: ps3d-rt train adapt scan.tif --out plant.ps3d --spacing 0.01
    """
    from contextlib import ExitStack  # noqa: PLC0415

    from ps3d_rt.cli.progress import warn  # noqa: PLC0415 - heavy, as below
    from ps3d_rt.io.open import open_volume  # noqa: PLC0415
    from ps3d_training.adapt.go_on import Continuation  # noqa: PLC0415
    from ps3d_training.adapt.scan_teaches import Adaptation  # noqa: PLC0415
    from ps3d_training.adapt.scan_teaches import adapt as run_adapt  # noqa: PLC0415

    how = Continuation(
        minutes=minutes, old_samples=old_samples, patch=patch, threads=threads, on_epoch=say_epoch, say=_say
    )
    with ExitStack() as opened:
        volumes = [opened.enter_context(open_volume(scan, spacing_mm=spacing)) for scan in scans]
        result = run_adapt(
            volumes,
            out,
            Adaptation(how=how, samples=samples, with_int8=int8),
            init=init,
            particle_size_mm=particle_size,
            overwrite=overwrite,
        )
    if not result["adopted"]:
        warn(f"the new model is not adopted, and nothing was written to {out}: {'; '.join(result['reasons'])}.")
    typer.echo(json.dumps(result, indent=2))


def _say(text: str) -> None:
    typer.echo(text, err=True)

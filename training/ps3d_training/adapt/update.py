"""A model that learns from corrected patches: one call from the annotation folder to a judged bundle.

1. every labelled scan is cut: its end is held back (:mod:`ps3d_training.adapt.hold_back`);
2. the rest is prepared as the model wants it, and old samples are simulated anew beside it;
3. the model is trained on from its own weights, exported, measured, given 8-bit networks and judged;
4. both models segment what was held back.

What an earlier call left in the work folder is not made again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from ps3d_rt.engines import open_engine
from ps3d_rt.errors import InputError
from ps3d_rt.model import ModelBundle, check_place, load_model
from ps3d_training import dataset
from ps3d_training.adapt.go_on import Continuation, add_precisions, prepare_old, train_on
from ps3d_training.adapt.hold_back import read_parts, write_parts
from ps3d_training.adapt.score import LabelledPart, mean_of, score
from ps3d_training.capability import require_training_packages

WORK = ".training"
"""Behind the name of the bundle: the hidden folder beside it, where the work lies."""
RESULT = "update.json"


def work_folder(out: Path) -> Path:
    """Give the folder of what is made on the way to a bundle.

    >>> work_folder(Path("models") / "plant.ps3d").name
    '.plant.training'
    """
    return out.with_name(f".{out.stem}{WORK}")


def update(
    folder: Path,
    out: Path,
    how: Continuation,
    *,
    init: str = "default",
    with_int8: bool = True,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Train a model on with the labels of a folder.

    Args:
        folder: ``images``, ``instance_seg`` and ``metadata.json``, and ``annotated`` where scans are labelled in part.
        out: bundle to write, ``NAME.ps3d``.
        how: how long is trained, and beside what.
        init: name or path of the bundle to begin with.
        with_int8: add 8-bit networks, and judge all precisions.
        overwrite: replace a bundle that is there.

    Returns:
        the bundle's path, and for what was held back the scores of both models; the same is in ``update.json`` in the
        work folder.

    Raises:
        InputError: if nothing is labelled, the model cannot be trained on, or the work folder belongs to other samples.
        InterruptedRun: when stopped by the keyboard; the same call goes on.
    """
    require_training_packages()
    check_place(out, overwrite=overwrite)
    bundle, work = load_model(init), work_folder(out)
    taught, held = read_parts(folder)
    begin(work, {"init": bundle.hash, "samples": {part.name: _digest(part) for part in taught}})
    how.say(f"{len(taught)} labelled scans to train on; the ends of {len(held)} are held back")
    if not (work / "prepared").exists():
        dataset.prepare(write_parts(work / "new", taught), work / "prepared", how.plan(bundle))
    prepare_old(how, how.plan(bundle), work)
    written = train_on(how, bundle, {part.name for part in taught}, work, out)
    if with_int8:
        how.say("adding 8-bit networks, and judging all precisions")
        add_precisions(written)
    result = {"bundle": str(out), **before_and_after(bundle, load_model(out), held)}
    (work / RESULT).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def _digest(part: LabelledPart) -> str:
    """Tell labels that were corrected since from those that were trained on."""
    digest = sha256(np.ascontiguousarray(part.labels).tobytes())
    if part.known is not None:
        digest.update(np.packbits(part.known).tobytes())
    return digest.hexdigest()


def begin(work: Path, identity: dict[str, Any]) -> None:
    """Make the work folder, or check that it was begun for the same.

    Raises:
        InputError: if it was begun for something else.
    """
    text = sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    mark = work / "begun.txt"
    if mark.is_file() and mark.read_text(encoding="utf-8") != text:
        raise InputError(
            f"{work} was begun for other samples, other labels or another model; delete it to begin anew, "
            "or choose another --out."
        )
    work.mkdir(parents=True, exist_ok=True)
    mark.write_text(text, encoding="utf-8")


def before_and_after(before: ModelBundle, after: ModelBundle, parts: Sequence[LabelledPart]) -> dict[str, Any]:
    """Let two models segment the same parts, in fp32 on the CPU."""
    scores = {}
    for name, bundle in (("before", before), ("after", after)):
        with open_engine(bundle, device="cpu", precision="fp32") as engine:
            scores[name] = score(bundle, engine, parts)
    gain = mean_of(scores["after"]) - mean_of(scores["before"]) if parts else None
    return {"held_back": scores, "gain_f1_instance": None if gain is None else round(gain, 4)}

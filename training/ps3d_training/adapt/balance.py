"""New samples beside old ones: how often each is drawn, so that few new ones count as much as many old ones."""

from __future__ import annotations

import json
from pathlib import Path

from ps3d_rt.errors import InputError
from ps3d_training.dataset import names_in
from ps3d_training.plan import DATASET_NAME

VALIDATED = 2
"""Old samples that are left out of the training, for the curves of its losses."""


def balance(prepared: Path, new: set[str], share: float = 0.5) -> None:
    """Write the folds anew: in fold 0 about ``share`` of the patches come from new samples, all of them trained on.

    A name that stands there more than once is drawn so often.

    Args:
        prepared: made by ``prepare``; holds new samples and old ones.
        new: names of the new samples.
        share: of the patches, in (0, 1); without old samples it is all of them.

    Raises:
        InputError: if no new sample was prepared.
    """
    listing = prepared / DATASET_NAME / "splits_final.json"
    names = names_in(json.loads(listing.read_text(encoding="utf-8")))
    fresh, old = sorted(new & set(names)), sorted(set(names) - new)
    if not fresh:
        raise InputError(f"none of the samples {sorted(new)} is in {prepared}; delete that folder and start again.")
    validated = old[:VALIDATED] if len(old) > VALIDATED else fresh[:1]
    trained = [name for name in old if name not in validated]
    times = max(1, round(share / (1 - share) * len(trained) / len(fresh)))
    folds = [
        {"train": fresh * times + trained, "val": validated},
        {"train": validated, "val": [name for name in names if name not in validated]},
    ]
    listing.write_text(json.dumps(folds, indent=2) + "\n", encoding="utf-8")

"""Patches under annotation on disk, in the layout that ``ps3d-rt train prepare`` takes, and what was done to them.

    images/NAME.tif, instance_seg/NAME.tif, annotated/NAME.tif, metadata.json     what training reads
    edits/NAME/proposal.tif        the labels that a person began with
    edits/NAME/000001.npz …        every edit since, written as it is made
    edits/NAME/state.json          how many of them hold, what was accepted, what is to be looked at

The labels are the proposal and the edits that hold, so a session that was cut off is there again, undo and all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.grid import Box, Zyx
from ps3d_rt.errors import InputError
from ps3d_rt.io.atomic_write import atomic_write
from ps3d_rt.io.base import ArrayVolume, SpacingMm
from ps3d_rt.io.samples import LabelledScan, find_samples, read_whole
from ps3d_rt.io.volume_writer import save_volume
from ps3d_training.annotate.edits import Edit, Labels
from ps3d_training.annotate.review import Item

LISTING = "metadata.json"


@dataclass(frozen=True, kw_only=True)
class PatchFacts:
    """What is known of a patch beside its voxels."""

    spacing_mm: SpacingMm
    particle_size_mm: float
    scan: str
    """Path of the scan it was cut from."""
    start: Zyx
    """Where it lies there, voxels."""
    why: str
    """It was picked, in words."""

    def entry(self) -> dict[str, Any]:
        """Give its entry of ``metadata.json``."""
        cut = {"scan": self.scan, "start": list(self.start), "why": self.why}
        return {"spacing": list(self.spacing_mm), "particle_size": self.particle_size_mm, "patch": cut}


@dataclass(kw_only=True)
class PatchState:
    """What ``state.json`` holds."""

    position: int = 0
    """How many edits hold."""
    accepted: list[int] = field(default_factory=list)
    """Labels that a person has looked at and found right."""
    complete: bool = False
    """Whether all of the patch is labelled."""
    items: list[Item] = field(default_factory=list)
    """What is to be looked at, the most doubtful first."""
    done: list[int] = field(default_factory=list)
    """Numbers of the items that were."""


def write_patch(
    folder: Path, name: str, image: NDArray[Any], labels: Labels, facts: PatchFacts, items: Sequence[Item]
) -> None:
    """Write a new patch; its entry of ``metadata.json`` comes last, so what that lists is complete.

    Raises:
        InputError: if the folder has a patch of this name.
    """
    listing = read_listing(folder)
    if name in listing:
        raise InputError(f"{folder} has a patch {name}; choose another folder.")
    spacing = facts.spacing_mm
    _write(folder / "images" / f"{name}.tif", image, spacing)
    _write(folder / "edits" / name / "proposal.tif", labels, spacing)
    write_state(folder, name, PatchState(items=list(items)))
    write_labels(folder, name, labels, np.zeros(labels.shape, np.bool_), spacing)
    listing[name] = facts.entry()
    with atomic_write(folder / LISTING, overwrite=True) as unfinished:
        unfinished.write_text(json.dumps(listing, indent=2) + "\n", encoding="utf-8")


def read_listing(folder: Path) -> dict[str, Any]:
    """Read ``metadata.json``; empty where there is none."""
    path = folder / LISTING
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return content


def find_patch(folder: Path, name: str | None) -> LabelledScan:
    """Find a patch by its name; without one, the first that is not complete.

    Raises:
        InputError: if there is no such patch, naming those that are there.
    """
    found = {sample.name: sample for sample in find_samples(folder)}
    if name is None:
        open_ones = [sample for sample in found.values() if not read_state(folder, sample.name).complete]
        return (open_ones or list(found.values()))[0]
    if name not in found:
        raise InputError(f"{folder} has no patch {name}; it has {', '.join(found)}.")
    return found[name]


def write_labels(folder: Path, name: str, labels: Labels, annotated: NDArray[np.bool_], spacing_mm: SpacingMm) -> None:
    """Write what training reads: the labels, and where they hold."""
    _write(folder / "instance_seg" / f"{name}.tif", labels, spacing_mm)
    _write(folder / "annotated" / f"{name}.tif", annotated.astype(np.uint8), spacing_mm)


def read_state(folder: Path, name: str) -> PatchState:
    """Read the state of a patch.

    Raises:
        InputError: if it is damaged or not there.
    """
    path = folder / "edits" / name / "state.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        content["items"] = [Item.of(item) for item in content["items"]]
        return PatchState(**content)
    except FileNotFoundError:
        raise InputError(f"{path} is not there: annotation begins with ps3d-rt annotate pick.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged; delete it and pick the patch again – {error}") from error


def write_state(folder: Path, name: str, state: PatchState) -> None:
    """Write the state of a patch, whole or not at all."""
    path = folder / "edits" / name / "state.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, overwrite=True) as unfinished:
        unfinished.write_text(json.dumps(asdict(state)) + "\n", encoding="utf-8")


def read_proposal(folder: Path, name: str) -> Labels:
    """Read the labels that a person began with."""
    return read_whole(folder / "edits" / name / "proposal.tif").astype(np.uint32)


def read_edits(folder: Path, name: str) -> Iterator[Edit]:
    """Read the edits of a patch in their order."""
    for path in sorted((folder / "edits" / name).glob("*.npz")):
        with np.load(path, allow_pickle=False) as stored:
            start, stop = (tuple(int(k) for k in stored[key]) for key in ("start", "stop"))
            yield Edit(str(stored["what"]), Box(start, stop), stored["packed"].tobytes())  # type: ignore[arg-type]


def write_edit(folder: Path, name: str, number: int, edit: Edit) -> None:
    """Write the edit of a number, counted from 1; later ones, which were undone, are gone."""
    where = folder / "edits" / name
    for path in where.glob("*.npz"):
        if int(path.stem) > number:
            path.unlink()
    with atomic_write(where / f"{number:06}.npz", overwrite=True) as unfinished, unfinished.open("wb") as file:
        np.savez(
            file,
            what=np.array(edit.what),
            start=np.array(edit.box.start),
            stop=np.array(edit.box.stop),
            packed=np.frombuffer(edit.packed, np.uint8),
        )


def _write(path: Path, array: NDArray[Any], spacing_mm: SpacingMm) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_volume(ArrayVolume(array, spacing_mm, name=path.stem, source=str(path)), path, overwrite=True)

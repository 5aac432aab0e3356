"""Which particles of the prepared samples may be pushed against others, and where they lie.

``prepare`` leaves the instances in a folder beside the cases, in the form that nnU-Net reads the segmentation of an
earlier stage in; so its loader hands them out with every patch, and its own trainers never see them. A list says
where each usable particle lies. Voxels are read when one is drawn: nothing is stored twice, or held in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from ps3d_rt.core.grid import Zyx
from ps3d_rt.errors import InputError
from ps3d_training.augment.touching import MARGIN, Particle

if TYPE_CHECKING:
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

INSTANCES = "_instances"
"""Behind the name of the cases' folder."""
LISTING = "particles.npz"
MIN_BOX_VOXELS = 500
"""A smaller particle is not pushed around; the published figure."""
LAST_LABEL = np.iinfo(np.int16).max
"""nnU-Net's loader makes labels int16. Further particles begin at 1 again: only neighbours must differ."""


@dataclass(frozen=True)
class Listing:
    """Where the usable particles of some samples lie, one row each."""

    names: NDArray[np.str_]
    labels: NDArray[np.int16]
    boxes: NDArray[np.int64]
    """(n, 3, 2) voxels: start and stop along z, y, x."""


@dataclass(frozen=True)
class ParticleBank:
    """Particles to draw from, of the samples that are trained on."""

    dataset: nnUNetDatasetBlosc2
    listing: Listing
    border_thickness_voxels: float

    def draw(self) -> Particle:
        """Read one, all equally likely; from numpy's global generator."""
        return self.read(np.random.randint(len(self.listing.labels)))

    def read(self, row: int) -> Particle:
        """Read the particle of a row of the list."""
        data, _, instances, _ = self.dataset.load_case(str(self.listing.names[row]))
        box = self.listing.boxes[row]
        starts, stops = np.maximum(box[:, 0] - MARGIN, 0), np.minimum(box[:, 1] + MARGIN, instances.shape)
        z, y, x = (slice(int(a), int(b)) for a, b in zip(starts, stops, strict=True))
        missing = np.stack([starts - box[:, 0] + MARGIN, box[:, 1] + MARGIN - stops], axis=1)
        image = np.pad(data[:, z, y, x][0], missing, mode="edge")
        mask = np.pad(instances[z, y, x] == self.listing.labels[row], missing)
        return Particle(image.astype(np.float32, copy=False), mask)


def open_bank(dataset: nnUNetDatasetBlosc2, border_thickness_voxels: float) -> ParticleBank:
    """Make ``dataset`` hand out instances as a second channel of the labels, and list the particles of its samples.

    Args:
        dataset: the training samples of a fold; changed.
        border_thickness_voxels: what the samples were prepared with.

    Raises:
        InputError: if the samples were prepared without instances, or have no particle that can be used.
    """
    folder = Path(dataset.source_folder + INSTANCES)
    listing = read_listing(Path(dataset.source_folder))
    ours = np.isin(listing.names, dataset.identifiers)
    if not ours.any():
        raise InputError(
            f"no training sample has a particle that lies inside the volume in a box of {MIN_BOX_VOXELS} voxels or "
            f"more, so none can be pushed against another. Train without touching particles."
        )
    dataset.folder_with_segs_from_previous_stage = str(folder)
    listing = Listing(listing.names[ours], listing.labels[ours], listing.boxes[ours])
    return ParticleBank(dataset, listing, border_thickness_voxels)


def save_instances(cases: Path, name: str, labels: NDArray[Any], patch: Zyx) -> Listing:
    """Store the instances of one sample beside its case.

    Args:
        cases: folder of the cases.
        name: of the sample.
        labels: (Z, Y, X) on the normalized grid, any integers, 0 is background.
        patch: that they will be read in.

    Returns:
        Its usable particles: not cut by the volume's faces, and with a bounding box of 500 voxels or more.
    """
    from nnunetv2.training.dataloading.nnunet_dataset import (  # noqa: PLC0415 - loads torch
        comp_blosc2_params,
        nnUNetDatasetBlosc2,
    )

    ids = np.setdiff1d(labels, [0])
    numbers = np.searchsorted(ids, labels).astype(np.int32) + 1
    numbers[labels == 0] = 0
    stored = ((numbers - 1) % LAST_LABEL + 1).astype(np.int16)
    stored[numbers == 0] = 0
    folder = cases.with_name(cases.name + INSTANCES)
    folder.mkdir(exist_ok=True)
    blocks, chunks = comp_blosc2_params((1, *stored.shape), patch, stored.itemsize)
    nnUNetDatasetBlosc2.save_seg(stored, str(folder / name), chunks_seg=chunks[1:], blocks_seg=blocks[1:])
    boxes = np.array([[(side.start, side.stop) for side in box] for box in find_objects(numbers)], np.int64)
    boxes = boxes.reshape(-1, 3, 2)
    inside = np.all((boxes[..., 0] > 0) & (boxes[..., 1] < stored.shape), axis=1)
    usable = np.flatnonzero(inside & (np.prod(boxes[..., 1] - boxes[..., 0], axis=1) >= MIN_BOX_VOXELS))
    return Listing(np.full(len(usable), name), (usable % LAST_LABEL + 1).astype(np.int16), boxes[usable])


def read_listing(cases: Path) -> Listing:
    """Read what :func:`save_listing` wrote.

    Raises:
        InputError: if the samples were prepared without instances.
    """
    path = cases.with_name(cases.name + INSTANCES) / LISTING
    if not path.is_file():
        raise InputError(
            f"{path} is missing: the samples were prepared without instances, which touching particles need. "
            f"Prepare them again, or train without touching particles."
        )
    with np.load(path, allow_pickle=False) as stored:
        return Listing(**{name: stored[name] for name in ("names", "labels", "boxes")})


def save_listing(cases: Path, listings: list[Listing]) -> None:
    """Write the list of the particles of all samples, beside their instances."""
    np.savez_compressed(
        cases.with_name(cases.name + INSTANCES) / LISTING,
        names=np.concatenate([listing.names for listing in listings]),
        labels=np.concatenate([listing.labels for listing in listings]),
        boxes=np.concatenate([listing.boxes for listing in listings]),
    )

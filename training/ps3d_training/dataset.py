"""Labelled volumes → a prepared nnU-Net v2 dataset: gray values and particle size normalized, border-core labels.

1. image → robust z-score of the volume → resampled so that a particle is ``target_size_voxels`` across;
2. instances → the same grid, nearest neighbour → border-core;
3. both saved as nnU-Net saves a preprocessed case, with up to 10,000 places of each class to draw patches from;
4. the instances in a folder of their own, with a list of the particles that can be pushed against others.

The folder is what nnU-Net's own planning and preprocessing would have left, so its trainers read it as it is.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ps3d_rt.core.border_core import BORDER, CORE, to_border_core
from ps3d_rt.core.grid import Box
from ps3d_rt.core.normalize import gray_scale, normalized_shape, size_zoom, zscore
from ps3d_rt.core.resample import resample, resample_labels
from ps3d_rt.errors import InputError
from ps3d_rt.io.volume import open_volume, stem_of
from ps3d_training.augment.bank import Listing, save_instances, save_listing
from ps3d_training.capability import require_training_packages
from ps3d_training.plan import CONFIGURATION, DATASET_NAME, LABELS, PLANS_NAME, TrainingPlan, nnunet_plans

FOLDS = 5
PLACES_PER_CLASS = 10_000


@dataclass(frozen=True)
class Sample:
    """One labelled volume on disk."""

    name: str
    image: Path
    instances: Path
    spacing_mm: tuple[float, float, float]
    particle_size_mm: float


@dataclass(frozen=True)
class PreparedCase:
    """What became of one sample."""

    name: str
    shape: tuple[int, int, int]
    """Voxels on the normalized grid."""
    particles: int
    core_share: float
    border_share: float


def prepare(
    folder: Path,
    out: Path,
    plan: TrainingPlan,
    *,
    overwrite: bool = False,
    on_case: Callable[[PreparedCase], None] = lambda case: None,
) -> Path:
    """Prepare every sample of ``folder`` for training.

    Args:
        folder: holds ``images``, ``instance_seg`` and ``metadata.json``.
        out: receives ``Dataset001_particles``; nnU-Net calls it ``nnUNet_preprocessed``.
        plan: decides the particle size, the border and the shape of the stored chunks.
        overwrite: replace the cases of an earlier call.
        on_case: called after every case.

    Returns:
        ``out``.

    Raises:
        InputError: if a sample is incomplete or ``out`` is in use.
        CapabilityError: if the ``train`` extra is not installed.
    """
    require_training_packages()
    samples = list(find_samples(folder))
    dataset = out / DATASET_NAME
    if dataset.exists() and not overwrite:
        raise InputError(f"{dataset} exists. Pass --overwrite to replace it, or choose another folder.")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=f".{DATASET_NAME}.") as scratch:
        whole = Path(scratch) / DATASET_NAME
        cases = whole / f"{PLANS_NAME}_{CONFIGURATION}"
        cases.mkdir(parents=True)
        usable = []
        for sample in samples:
            case, listing = _prepare_case(sample, plan, cases)
            usable.append(listing)
            on_case(case)
        save_listing(cases, usable)
        _write_json(whole / "dataset.json", _dataset_json(len(samples)))
        _write_json(whole / f"{PLANS_NAME}.json", nnunet_plans(plan))
        _write_json(whole / "dataset_fingerprint.json", {})
        _write_json(whole / "splits_final.json", splits([sample.name for sample in samples]))
        if dataset.exists():
            dataset.rename(Path(scratch) / "old")
        whole.rename(dataset)
    return out


def find_samples(folder: Path) -> Iterator[Sample]:
    """List the samples that ``folder/metadata.json`` names, in its order.

    Raises:
        InputError: naming the file or the entry that is missing.
    """
    metadata_path = folder / "metadata.json"
    try:
        metadata = json.loads(metadata_path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise InputError(
            f'{metadata_path} cannot be read ({error}). It is {{"NAME": {{"spacing": mm, "particle_size": mm}}}}.'
        ) from error
    if not isinstance(metadata, dict) or not metadata:
        raise InputError(f"{metadata_path} names no sample.")
    for name, entry in metadata.items():
        try:
            # The published tools write one number; a scanner may differ per axis.
            spacing = np.broadcast_to(np.asarray(entry["spacing"], float), 3).tolist()
            size = float(entry["particle_size"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{metadata_path}: {name} needs numbers spacing and particle_size, in mm.") from error
        yield Sample(name, _find(folder / "images", name), _find(folder / "instance_seg", name), tuple(spacing), size)


def _find(folder: Path, name: str) -> Path:
    """Find the one volume of ``folder`` that is called ``name``, whatever its format."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder. A dataset holds images, instance_seg and metadata.json.")
    found = [path for path in sorted(folder.iterdir()) if stem_of(path) == name]
    if len(found) != 1:
        raise InputError(f"{folder} holds {len(found)} volumes called {name}; it must hold one, such as {name}.tif.")
    return found[0]


def _prepare_case(sample: Sample, plan: TrainingPlan, folder: Path) -> tuple[PreparedCase, Listing]:
    image = _read(sample.image, sample.spacing_mm)
    instances = _whole_numbers(_read(sample.instances, sample.spacing_mm), sample.instances)
    if image.shape != instances.shape:
        raise InputError(f"sample {sample.name}: the image is {image.shape} voxels, its labels {instances.shape}.")
    zoom = size_zoom(sample.spacing_mm, sample.particle_size_mm, plan.target_size_voxels)
    shape = normalized_shape(image.shape, zoom)
    scale = replace(gray_scale(image), floor=plan.gray_floor)
    normalized = zscore(resample(image, shape, zoom=zoom, lowpass=plan.lowpass), scale)
    # resample_labels goes from normalized to source; labels come the other way here.
    labels = resample_labels(instances, shape, zoom=tuple(1 / factor for factor in zoom))
    border_core = to_border_core(labels, plan.border_thickness_voxels)
    _save_case(folder / sample.name, normalized, border_core, plan)
    case = PreparedCase(
        sample.name,
        shape,
        len(np.setdiff1d(labels, [0])),
        float(np.mean(border_core == CORE)),
        float(np.mean(border_core == BORDER)),
    )
    return case, save_instances(folder, sample.name, labels, plan.patch)


def _read(path: Path, spacing_mm: tuple[float, float, float]) -> np.ndarray[Any, Any]:
    with open_volume(path, spacing_mm=spacing_mm) as volume:
        return volume.read(Box.of_shape(volume.shape))


def _whole_numbers(labels: np.ndarray[Any, Any], path: Path) -> np.ndarray[Any, Any]:
    """Take float labels, as the published tools save them, when every value is a whole number."""
    if labels.dtype.kind in "iu":
        return labels
    whole = labels.astype(np.int64)
    if not np.array_equal(whole, labels):
        raise InputError(f"{path} is {labels.dtype} with values between the labels; labels are whole numbers.")
    return whole


def _save_case(path: Path, image: np.ndarray[Any, Any], border_core: np.ndarray[Any, Any], plan: TrainingPlan) -> None:
    """Write one case in nnU-Net's form: arrays (1, z, y, x), compressed in blocks that suit the patch."""
    from nnunetv2.training.dataloading.nnunet_dataset import (  # noqa: PLC0415 - loads torch
        comp_blosc2_params,
        nnUNetDatasetBlosc2,
    )

    data = np.ascontiguousarray(image[None], dtype=np.float32)
    segmentation = np.ascontiguousarray(border_core[None], dtype=np.int8)
    blocks, chunks = comp_blosc2_params(data.shape, plan.patch, data.itemsize)
    seg_blocks, seg_chunks = comp_blosc2_params(data.shape, plan.patch, segmentation.itemsize)
    properties = {"class_locations": class_locations(segmentation), "spacing": [1.0, 1.0, 1.0]}
    nnUNetDatasetBlosc2.save_case(
        data,
        segmentation,
        properties,
        str(path),
        chunks=chunks,
        blocks=blocks,
        chunks_seg=seg_chunks,
        blocks_seg=seg_blocks,
    )


def class_locations(segmentation: np.ndarray[Any, Any]) -> dict[int, np.ndarray[Any, Any]]:
    """Places of core and border, at most 10,000 each, drawn with a fixed seed.

    Args:
        segmentation: (1, z, y, x) border-core classes.

    Returns:
        class → (n, 4) int64 rows 0, z, y, x; n = 0 for a class that does not occur.
    """
    draw = np.random.default_rng(1234)
    places: dict[int, np.ndarray[Any, Any]] = {}
    for label in (CORE, BORDER):
        flat = np.flatnonzero(segmentation == label)
        if len(flat) > PLACES_PER_CLASS:
            flat = draw.choice(flat, PLACES_PER_CLASS, replace=False)
        places[label] = np.stack(np.unravel_index(flat, segmentation.shape), axis=1)
    return places


def splits(names: list[str]) -> list[dict[str, list[str]]]:
    """Five folds, every name validated once; a single sample is both trained on and validated.

    >>> splits(["a", "b"])
    [{'train': ['b'], 'val': ['a']}, {'train': ['a'], 'val': ['b']}]
    """
    if len(names) == 1:
        return [{"train": names, "val": names}]
    folds = min(FOLDS, len(names))
    return [
        {"train": [name for i, name in enumerate(names) if i % folds != fold], "val": names[fold::folds]}
        for fold in range(folds)
    ]


def _dataset_json(count: int) -> dict[str, Any]:
    return {"channel_names": {"0": "noNorm"}, "labels": LABELS, "numTraining": count, "file_ending": ".nii.gz"}


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

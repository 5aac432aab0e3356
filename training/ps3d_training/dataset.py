"""Labelled volumes → a prepared nnU-Net v2 dataset: gray values and particle size normalized, border-core labels.

1. image → resampled so that a particle is ``target_size_voxels`` across → the gray scale of the plan;
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
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from ps3d_rt.core.arrays import Array
from ps3d_rt.core.border_core import to_border_core
from ps3d_rt.core.embedding import find_embedding
from ps3d_rt.core.fragments import BORDER, CORE
from ps3d_rt.core.label_check import LabelCheck
from ps3d_rt.core.normalize import EmbeddingScale, GrayScale, gray_scale, network_input, normalized_shape, size_zoom
from ps3d_rt.core.outside import SampledVoxels, leave_out_constant
from ps3d_rt.core.resample import Zoom, resample, resample_labels
from ps3d_rt.errors import InputError
from ps3d_rt.io.samples import LabelledScan, find_samples
from ps3d_training.augment.bank import Listing, read_listing, save_instances, save_listing
from ps3d_training.capability import require_training_packages
from ps3d_training.plan import (
    CONFIGURATION,
    DATASET_NAME,
    IGNORE,
    LABELS,
    PLANS_NAME,
    TrainingPlan,
    check_same_cases,
    nnunet_plans,
    read_plan,
)

FOLDS = 5
PLACES_PER_CLASS = 10_000


@dataclass(frozen=True)
class PreparedCase:
    """What became of one sample."""

    name: str
    shape: tuple[int, int, int]
    """Voxels on the normalized grid."""
    particles: int
    core_share: float
    border_share: float
    warnings: tuple[str, ...] = ()
    """What makes its labels or its spacing doubtful."""
    labelled_share: float = 1.0
    """Of its voxels; training leaves the others out. 0: the sample itself was left out."""


def prepare(
    folder: Path,
    out: Path,
    plan: TrainingPlan,
    *,
    overwrite: bool = False,
    add: bool = False,
    on_case: Callable[[PreparedCase], None] = lambda case: None,
) -> Path:
    """Prepare every sample of ``folder`` for training.

    Args:
        folder: holds ``images``, ``instance_seg`` and ``metadata.json``.
        out: receives ``Dataset001_particles``; nnU-Net calls it ``nnUNet_preprocessed``.
        plan: decides the particle size, the border and the shape of the stored chunks.
        overwrite: replace the cases of an earlier call.
        add: keep the cases of earlier calls, and prepare those of ``folder`` that are not among them. A sample that
            was left out for validation stays so.
        on_case: called after every case.

    Returns:
        ``out``.

    Raises:
        InputError: if a sample is incomplete, nothing is labelled, ``out`` is in use, or its cases were prepared with
            another plan.
        CapabilityError: if the ``train`` extra is not installed.
    """
    require_training_packages()
    samples = list(find_samples(folder))
    dataset = out / DATASET_NAME
    if dataset.exists() and not (overwrite or add):
        raise InputError(
            f"{dataset} exists. Pass --add to add samples, --overwrite to replace it, or choose another folder."
        )
    earlier = _prepared_before(dataset, plan) if add and dataset.exists() else []
    samples = [sample for sample in samples if sample.name not in earlier]
    samples = list(_labelled(samples, folder, on_case))
    if not samples:
        return out
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=f".{DATASET_NAME}.") as scratch:
        whole = Path(scratch) / DATASET_NAME
        cases = whole / f"{PLANS_NAME}_{CONFIGURATION}"
        cases.mkdir(parents=True)
        usable, partly = [], bool(earlier) and "ignore" in _labels_of(dataset)
        for sample in samples:
            case, listing = _prepare_case(sample, plan, cases)
            usable.append(listing)
            partly |= case.labelled_share < 1
            on_case(case)
        names = [*earlier, *(sample.name for sample in samples)]
        if earlier:
            usable.insert(0, read_listing(dataset / cases.name))
        save_listing(cases, usable)
        _write_json(whole / "dataset.json", _dataset_json(len(names), partly=partly))
        _write_json(whole / f"{PLANS_NAME}.json", nnunet_plans(plan))
        _write_json(whole / "dataset_fingerprint.json", {})
        _write_json(whole / "splits_final.json", splits(names))
        if earlier:
            _move_into(whole, dataset)
            return out
        if dataset.exists():
            dataset.rename(Path(scratch) / "old")
        whole.rename(dataset)
    return out


def _prepared_before(dataset: Path, plan: TrainingPlan) -> list[str]:
    """List the samples of earlier calls in their order; refuse a plan that would have made other cases of them."""
    check_same_cases(plan, read_plan(dataset / f"{PLANS_NAME}.json"), dataset)
    folds = json.loads((dataset / "splits_final.json").read_text(encoding="utf-8"))
    return names_in(folds)


def _move_into(new: Path, dataset: Path) -> None:
    """Add files to a dataset, the list of its samples last: a training that reads it meanwhile sees whole cases."""
    last = new / "splits_final.json"
    for path in sorted(new.rglob("*")):
        if path.is_file() and path != last:
            path.replace(dataset / path.relative_to(new))
    last.replace(dataset / last.name)


def _labelled(
    samples: list[LabelledScan], folder: Path, on_case: Callable[[PreparedCase], None]
) -> Iterator[LabelledScan]:
    """Leave out, and say so, samples in which nothing is labelled yet; InputError if that is all of them."""
    none = 0
    for sample in samples:
        known = sample.read_annotated()
        if known is None or known.any():
            yield sample
            continue
        none += 1
        z, y, x = known.shape
        on_case(PreparedCase(sample.name, (z, y, x), 0, 0.0, 0.0, ("left out: nothing in it is labelled yet",), 0.0))
    if none and none == len(samples):
        raise InputError(
            f"{folder}: nothing is labelled in any of its samples; label some first: ps3d-rt annotate open."
        )


def _labels_of(dataset: Path) -> dict[str, int]:
    labels: dict[str, int] = json.loads((dataset / "dataset.json").read_text(encoding="utf-8"))["labels"]
    return labels


def _prepare_case(sample: LabelledScan, plan: TrainingPlan, folder: Path) -> tuple[PreparedCase, Listing]:
    warnings: list[str] = []
    image, instances, known = sample.read_partly(warnings.append)
    check = LabelCheck(sample.name, instances.dtype)
    check.add(instances)
    zoom = size_zoom(sample.spacing_mm, sample.particle_size_mm, plan.target_size_voxels)
    normalized, labels = normalize(image, instances, zoom, plan)
    border_core = to_border_core(labels, plan.border_thickness_voxels)
    if known is not None and not known.all():
        z, y, x = zoom
        seen = resample_labels(known.astype(np.uint8), normalized.shape, zoom=(1 / z, 1 / y, 1 / x)) != 0
        leave_out(labels, border_core, seen)
    _save_case(folder / sample.name, normalized, border_core, plan)
    case = PreparedCase(
        sample.name,
        normalized.shape,
        len(np.setdiff1d(labels, [0])),
        float(np.mean(border_core == CORE)),
        float(np.mean(border_core == BORDER)),
        (*warnings, *check.warnings()),
        float(np.mean(border_core != IGNORE)),
    )
    return case, save_instances(folder, sample.name, labels, plan.patch)


def leave_out(labels: Array, border_core: Array, known: Array) -> None:
    """Mark what nobody has labelled, in place; a particle of which a part is unknown is unknown as a whole.

    Args:
        labels: (z, y, x) ids; becomes background there.
        border_core: (z, y, x) classes; becomes :data:`ps3d_training.plan.IGNORE` there.
        known: (z, y, x) truth values.
    """
    unknown = ~known | np.isin(labels, np.setdiff1d(labels[~known], [0]))
    labels[unknown], border_core[unknown] = 0, IGNORE


def normalize(image: Array, instances: Array, zoom: Zoom, plan: TrainingPlan) -> tuple[Array, Array]:
    """Bring a sample to the grid and the gray scale of a plan, as inference would.

    Args:
        image: (z, y, x) gray values of the scan.
        instances: the same shape, particle ids.
        zoom: normalized voxels per voxel of the scan.
        plan: knows the gray scale.

    Returns:
        gray values, float32, and ids, on the normalized grid.
    """
    shape = normalized_shape(image.shape, zoom)
    image, scale = _scaled(image, plan)
    # resample_labels goes from normalized to source; labels come the other way here.
    z, y, x = zoom
    labels = resample_labels(instances, shape, zoom=(1 / z, 1 / y, 1 / x))
    return network_input(resample(image, shape, zoom=zoom, lowpass=plan.lowpass), scale), labels


def _scaled(image: Array, plan: TrainingPlan) -> tuple[Array, GrayScale | EmbeddingScale]:
    """Find the scale of a sample as inference would; what lies outside the scan becomes embedding."""
    if plan.gray_scheme == "volume":
        return image, replace(gray_scale(image, plan.gray_ceiling), floor=plan.gray_floor)
    parts, outside = leave_out_constant([SampledVoxels((0, 0, 0), image)], image.shape)
    found = find_embedding(parts, image.shape)
    if outside is not None:
        image = np.where(image == outside.value, found.gray, image).astype(image.dtype)
    return image, EmbeddingScale(found.gray, found.contrast, plan.gray_floor)


def _save_case(path: Path, image: Array, border_core: Array, plan: TrainingPlan) -> None:
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


def class_locations(segmentation: Array) -> dict[Any, Array]:
    """Places of core and border, at most 10,000 each, drawn with a fixed seed.

    Args:
        segmentation: (1, z, y, x) border-core classes.

    Returns:
        class → (n, 4) int64 rows 0, z, y, x; n = 0 for a class that does not occur. Where only a part is labelled,
        places in it are there too, under nnU-Net's key for them.
    """
    draw = np.random.default_rng(1234)
    places: dict[Any, Array] = {}
    chosen: dict[Any, Array] = {label: segmentation == label for label in (CORE, BORDER)}
    if (segmentation == IGNORE).any():
        chosen[(-1, *LABELS.values())] = segmentation != IGNORE
    for label, mask in chosen.items():
        flat = np.flatnonzero(mask)
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


def names_in(folds: list[dict[str, list[str]]]) -> list[str]:
    """Give back the names, in their order, that :func:`splits` made ``folds`` of.

    >>> names_in(splits(["c", "a", "b"])), names_in(splits(["a"]))
    (['c', 'a', 'b'], ['a'])
    """
    rounds = zip_longest(*(fold["val"] for fold in folds))
    return [name for names in rounds for name in names if name is not None]


def _dataset_json(count: int, *, partly: bool) -> dict[str, Any]:
    labels = LABELS | ({"ignore": IGNORE} if partly else {})
    return {"channel_names": {"0": "noNorm"}, "labels": labels, "numTraining": count, "file_ending": ".nii.gz"}


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

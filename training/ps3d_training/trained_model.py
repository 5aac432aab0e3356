"""What a results folder of nnU-Net says of its network, whichever version wrote it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ps3d_rt.core.grid import Zyx
from ps3d_rt.errors import InputError

if TYPE_CHECKING:
    import torch

Gray = tuple[float, float] | Literal["volume"]
"""Mean and standard deviation of a training set, or ``volume``: of each volume itself."""


@dataclass(frozen=True, kw_only=True)
class Normalization:
    """How the training data were made alike; inference does the same. None: not known."""

    target_size_voxels: float | None = None
    """Mean particle diameter."""
    border_thickness_voxels: float | None = None
    """Thickness of the class border."""
    gray: Gray | None = None
    """How gray values were scaled."""

    def over(self, other: Normalization) -> Normalization:
        """Take from ``other`` what is not known here.

        >>> Normalization(gray="volume").over(Normalization(target_size_voxels=60, gray=(5.0, 2.0)))
        Normalization(target_size_voxels=60, border_thickness_voxels=None, gray='volume')
        """
        return replace(other, **{key: value for key, value in asdict(self).items() if value is not None})


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """What a results folder says of itself."""

    patch: Zyx
    """Input of the network, voxels z, y, x."""
    checkpoints: Mapping[str, Path]
    """Fold → file with its weights."""
    load: Callable[[Path], torch.nn.Module]
    """Builds the network of a checkpoint: patches → scores before the softmax, (B, 1, *patch) → (B, 3, *patch)."""
    mirror_axes: tuple[int, ...]
    """Axes along which it was trained on mirror images, and inference averages over them."""
    provenance: dict[str, Any]
    """What else is known: the tool, the trainer."""
    normalization: Normalization
    """Of its training data, as far as the folder tells."""


def find_checkpoints(folder: Path, names: Sequence[str], folds: Sequence[str] | None) -> dict[str, Path]:
    """Find the weights of each fold.

    Args:
        folder: holds ``fold_*``.
        names: of the file, best first.
        folds: those wanted; None for all there are.

    Raises:
        InputError: if there is none, or one that was asked for is missing.
    """
    found: dict[str, Path] = {}
    for place in sorted(folder.glob("fold_*")):
        files = [place / name for name in names if (place / name).is_file()]
        found |= {place.name.removeprefix("fold_"): file for file in files[:1]}
    missing = [fold for fold in folds or () if fold not in found]
    if missing or not found:
        raise InputError(
            f"{folder} has no {' or '.join(names)} of fold {', '.join(missing) or '0 or any other'}; "
            f"folds that have one: {', '.join(found) or 'none'}."
        )
    return found if folds is None else {fold: found[fold] for fold in dict.fromkeys(folds)}


def patch_from(sides: Any, source: Path) -> Zyx:
    """Read a patch out of a plan.

    Raises:
        InputError: if it has not three sides; the network is not a 3-D one then.
    """
    try:
        z, y, x = (int(side) for side in sides)
    except (TypeError, ValueError) as error:
        raise InputError(f"{source} plans patches of {sides}; a 3-D network is needed.") from error
    return z, y, x


def check_axes(order: Any, source: Path) -> None:
    """Refuse a network that sees the axes in another order than z, y, x.

    Raises:
        InputError: naming the order.
    """
    if [int(axis) for axis in order] != [0, 1, 2]:
        raise InputError(
            f"{source} turns the axes before the network sees them (transpose_forward is {list(order)}); ps3d-rt "
            "imports models trained on voxels of equal sides, for which nnU-Net does not."
        )

"""The gray scale of a volume, and the bins of the gray histograms, from a sample of its voxels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from ps3d_rt.core.arrays import Array
from ps3d_rt.core.embedding import Embedding, find_embedding
from ps3d_rt.core.gray import GrayBins
from ps3d_rt.core.normalize import EmbeddingScale, GrayScale, gray_scale, gray_scales
from ps3d_rt.core.outside import Outside, SampledVoxels, leave_out_constant
from ps3d_rt.core.sampling import sampled_boxes
from ps3d_rt.errors import InputError
from ps3d_rt.events import ignore
from ps3d_rt.io.base import Volume
from ps3d_rt.io.selected import Selected


class GrayScheme(Protocol):
    """What a model says of its gray values; the fields of :class:`ps3d_rt.model.ModelBundle`."""

    @property
    def name(self) -> str: ...  # noqa: D102 - as there, all of them
    @property
    def gray_scheme(self) -> str: ...  # noqa: D102
    @property
    def gray_mean(self) -> float | None: ...  # noqa: D102
    @property
    def gray_std(self) -> float | None: ...  # noqa: D102
    @property
    def gray_floor(self) -> float | None: ...  # noqa: D102
    @property
    def gray_ceiling(self) -> float | None: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True)
class GrayAnalysis:
    """What a look at the gray values of a volume found."""

    scale: GrayScale | EmbeddingScale
    """What the network is shown."""
    bins: GrayBins
    """Of the particles' gray histograms."""
    embedding: Embedding
    """In gray values of the volume; contrast is > 0 for dark particles too."""
    outside: Outside | None
    """The one gray value that stands for no measurement."""
    dark: bool

    def shown(self, volume: Volume) -> Volume:
        """Give the volume with the gray value of the embedding where nothing counts."""
        constant = None if self.outside is None else self.outside.value
        if isinstance(volume, Selected):
            return volume.with_outside(self.embedding.gray, constant)
        return volume if constant is None else Selected(volume, gray=self.embedding.gray, constant=constant)

    def facts(self) -> dict[str, Any]:
        """Say for ``run.json`` what was found."""
        found, outside = self.embedding, self.outside
        return {
            "embedding": found.gray,
            "noise": found.noise,
            "contrast": found.contrast,
            "dark": self.dark,
            "air": found.air,
            "outside_value": None if outside is None else outside.value,
            "outside_share": 0.0 if outside is None else round(outside.share, 4),
            "warnings": found.warnings,
        }


def analyze_gray(
    volume: Volume,
    model: GrayScheme,
    *,
    embedding: float | None = None,
    dark: bool = False,
    on_progress: Callable[[int], object] = ignore,
) -> GrayAnalysis:
    """Find the embedding of a volume, what lies outside, and the scale of the model's scheme.

    Args:
        volume: the scan.
        model: knows the scheme.
        embedding: gray value of the embedding, if a person knows it.
        dark: the particles are darker than it.
        on_progress: called with 1 after each box of :func:`ps3d_rt.core.sampling.sampled_boxes` that was read.

    Raises:
        InputError: if the voxels looked at hold NaN or Inf or have no contrast, or the model's scheme has no embedding.
    """
    if embedding is not None and model.gray_scheme != "embedding":
        raise InputError(
            f"the model {model.name!r} does not count gray values from the embedding (its gray_scheme is "
            f"{model.gray_scheme!r}); leave out --embedding, or use a model with the scheme embedding."
        )
    parts, outside = leave_out_constant(_sample(volume, on_progress), volume.shape)
    upright = [replace(part, voxels=-part.voxels.astype(np.float64)) for part in parts] if dark else parts
    sign = -1 if dark else 1
    found = find_embedding(upright, volume.shape, given=None if embedding is None else sign * embedding)
    found = replace(found, gray=sign * found.gray, air=None if found.air is None else sign * found.air)
    scale, bins = _chosen(_counted(upright), found, model, dark)
    return GrayAnalysis(scale=scale, bins=bins, embedding=found, outside=outside, dark=dark)


def scale_and_bins(volume: Volume, model: GrayScheme) -> tuple[GrayScale | EmbeddingScale, GrayBins]:
    """Give the gray scale of a volume under the model's scheme, and the bins of its particles' histograms."""
    found = analyze_gray(volume, model)
    return found.scale, found.bins


def _chosen(
    values: Array, found: Embedding, model: GrayScheme, dark: bool
) -> tuple[GrayScale | EmbeddingScale, GrayBins]:
    """Choose scale and bins; ``values`` are mirrored if the particles are dark."""
    scale: GrayScale | EmbeddingScale
    if model.gray_mean is not None and model.gray_std is not None:
        scale = GrayScale(model.gray_mean, model.gray_std, model.gray_floor)
        if dark:
            raise InputError(
                f"the model {model.name!r} scales gray values by constants of its training; "
                "--dark needs a model that scales them per volume."
            )
        return scale, GrayBins.from_scale(scale)
    # What the network is shown ends at the ceiling; what is measured does not.
    plain, scale = gray_scales(values, model.gray_ceiling)
    bins = GrayBins.from_scale(plain)
    if dark:
        bins = GrayBins.between(-bins.high, -bins.low)
        scale = replace(scale, dark=True)
    if model.gray_scheme == "embedding":
        scale = EmbeddingScale(found.gray, found.contrast, dark=dark)
    return replace(scale, floor=model.gray_floor), bins


def volume_scale(volume: Volume) -> GrayScale:
    """Measure mean and standard deviation of a volume, without what lies outside the scan.

    Raises:
        InputError: if the voxels looked at hold NaN or Inf, or have no contrast.
    """
    return gray_scale(_counted(leave_out_constant(_sample(volume), volume.shape)[0]))


def volume_bins(volume: Volume) -> GrayBins:
    """Choose the bins of a volume, the ones that a run with the volume's own gray scale takes.

    Any volume has some: NaN and Inf are passed over, and without contrast they reach from the least to the largest
    value.
    """
    parts, _ = leave_out_constant(_sample(volume), volume.shape)
    sample = _counted(parts)
    sample = sample[np.isfinite(sample)]
    try:
        return GrayBins.from_scale(gray_scale(sample))
    except InputError:
        return GrayBins.between(float(sample.min()), float(sample.max())) if sample.size else GrayBins(0.0, 1.0)


def _sample(volume: Volume, on_progress: Callable[[int], object] = ignore) -> list[SampledVoxels]:
    """Read boxes spread over a volume; they belong to it: neither chunks nor workers can change them."""
    parts = []
    for look in sampled_boxes(volume.shape, volume.chunk):
        voxels, inside = volume.read(look.read), volume.inside(look.read)
        for box in look.keep:
            here = box.relative_to(look.read).slices
            parts.append(SampledVoxels(box.start, voxels[here], None if inside is None else inside[here]))
        on_progress(1)
    return parts


def _counted(parts: Sequence[SampledVoxels]) -> Array:
    return np.concatenate([part.voxels.ravel() if part.inside is None else part.voxels[part.inside] for part in parts])

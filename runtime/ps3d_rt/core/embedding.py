"""The embedding of a sample: what the particles lie in, its gray value and noise, and how far the particles stand out.

1. The voxels are averaged in cubes of 2×2×2, and the flatter half of the cubes is taken: edges mix gray values.
2. The histogram of these has a peak for every material. The darkest peak with 5 % of them or more is the embedding,
3. unless it is air: it lies outside of all the others, as around a tube, or in bubbles. Then the next peak is it. What
   lies around a dense packing does not count as air: it goes on between the particles.
4. What is brighter than the embedding by more than noise makes it darker is particle. A quarter of it, counted by the
   root of how far it stands out, lies below the contrast: it is that of the darker particles, a few very bright grains
   count little, and so does noise.

How full the sample is, and how bright its brightest mineral, changes this little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ps3d_rt.core.grid import Zyx
from ps3d_rt.core.outside import Rim, SampledVoxels, rim
from ps3d_rt.errors import InputError

SIDE = 2
"""Of the cubes that voxels are averaged in."""
LEAST_PEAK = 0.05
"""Share of the flat cubes; a darker peak with fewer is bubbles, cracks, an artifact."""
_VALLEY = 0.8
"""Two peaks are one if the histogram between them does not fall below this share of the lower one."""
_MOST_BINS = 4096
_CLEAR, _LEAST_BRIGHTER = 3.0, 0.15
"""Noise deviations that particles beside bubbles stand out, and how much they take at least, over the bubbles."""
_CONTRAST_BINS = 400
"""Of equal ratios: 2 % each."""
_DARKER = 0.25
"""Share of the particles, so counted, that lies below the contrast."""
_CLEARLY_DARKER, _MOST_BETWEEN = 0.25, 0.11
"""Of the way from the embedding to air; share of the inside that may be so dark: the pores of a packing are more."""
_PURE_AIR = 0.01
"""Share of the inside that is as dark as air around it and need not be looked at closer."""
_MOST_JOINED = 0.7
"""Share of what is dark inside that may hang together with what lies around: more goes on between the particles."""
_LEAST_CUBES, _LEAST_FILL = 30, 0.002
"""Cubes of particles, and their share, without which there is nothing to measure."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Embedding:
    """What was found; all in gray values of the scan."""

    gray: float
    """The peak of the embedding."""
    noise: float
    """Standard deviation of a voxel inside it."""
    contrast: float
    """How far the particles stand above it, the darker ones of them, > 0."""
    air: float | None = None
    """Peak of what is darker and lies outside the sample or in bubbles; None if there is little."""
    warnings: tuple[str, ...] = ()
    """Why a person should look, a sentence each; empty if all is clear."""


class _Peak(NamedTuple):
    gray: float
    share: float
    """Of the flat cubes."""
    below: float
    """Where the valley before it lies."""
    above: float


@dataclass(frozen=True, slots=True)
class _Cubes:
    """Cubes of the sample that count whole, (n,)."""

    mean: Floats
    flat_mean: Floats
    """(m,) of the flatter half."""
    flat_variance: Floats
    """(m,) of the voxels in each of these."""
    spread: float
    """Typical difference of neighbours where it is flat."""


def find_embedding(parts: Sequence[SampledVoxels], shape: Zyx, given: float | None = None) -> Embedding:
    """Find the embedding from voxels spread over a volume, whose particles are brighter than it.

    Args:
        parts: boxes of the volume; voxels that do not count are left out by :attr:`SampledVoxels.inside`.
        shape: of the volume.
        given: gray value of the embedding, if a person knows it; noise and contrast are measured all the same.

    Raises:
        InputError: if nothing counts, or the voxels hold NaN or Inf, or have one gray value.
    """
    grids = [cubes_of(part) for part in parts]
    cubes = _pooled(grids)
    peaks = _peaks(cubes)
    warnings: list[str] = []
    if given is None:
        gray, air = _choose(peaks, cubes, grids, parts, shape, warnings)
    else:
        gray, air = given, None
    width, noise = _width_and_noise(cubes, gray, air)
    contrast = _contrast(cubes.mean[cubes.mean > _air_below(gray, air)], gray, width)
    if contrast is None:
        warnings.append(
            f"hardly anything is brighter than the embedding, which was taken to be {gray:.5g}: "
            "if the particles are the darker part, add --dark; if not, give the embedding with --embedding."
        )
        contrast = 10 * max(width, noise) or float(np.ptp(cubes.mean))
    return Embedding(gray, noise, contrast, air, tuple(warnings))


def _contrast(mean: Floats, gray: float, width: float) -> float | None:
    """Give how far particles stand above the embedding of that width; None if there are hardly any.

    ``mean`` are cubes without those of air: mirrored, they would be taken from the particles.

    Noise and streaks lie on both sides of the embedding, so the histogram of its dark side, mirrored, is taken from
    that of its bright side. What is left are particles, edges included, however much embedding there is.
    """
    above = mean - gray
    # Below three widths, an embedding that is found a little too dark would look like particles.
    if not any(_is_brighter(above, k * width) for k in (3, 6, 12)):
        return None
    top = float(np.quantile(np.abs(above), 0.9999))
    edges = np.append(0.0, np.geomspace(top / 2000, top * 1.001, _CONTRAST_BINS))
    bright, dark = (np.histogram(side, edges)[0] for side in (above[above > 0], -above[above < 0]))
    middles = (edges[1:] + edges[:-1]) / 2
    reached = np.cumsum(np.maximum(bright - dark, 0) * np.sqrt(middles))
    return float(middles[np.searchsorted(reached, _DARKER * reached[-1])])


def _is_brighter(above: Floats, limit: float) -> bool:
    """Whether clearly more cubes are brighter by ``limit`` than are darker by it."""
    bright, dark = np.count_nonzero(above > limit), np.count_nonzero(above < -limit)
    chance = 4 * np.sqrt(bright + dark)
    return bool(bright - dark >= max(_LEAST_CUBES, _LEAST_FILL * above.size, chance))


def cubes_of(part: SampledVoxels) -> tuple[Floats, Floats]:
    """Average a part in cubes: mean and variance, (z, y, x) each; NaN in the mean where a voxel does not count."""
    sides = _sides(part)
    z, y, x = (n // side for n, side in zip(part.voxels.shape, sides, strict=True))

    def grouped(values: NDArray[Any]) -> NDArray[Any]:
        cut = values[: z * sides[0], : y * sides[1], : x * sides[2]]
        return cut.reshape(z, sides[0], y, sides[1], x, sides[2])

    if not np.isfinite(part.voxels if part.inside is None else part.voxels[part.inside]).all():
        raise InputError(
            "the volume holds NaN or Inf; replace them by the gray value of the embedding and start again."
        )
    known = part.voxels if part.inside is None else np.where(part.inside, part.voxels, 0)
    voxels = grouped(known).astype(np.float64)
    mean, variance = voxels.mean(axis=(1, 3, 5)), voxels.var(axis=(1, 3, 5), ddof=1 if max(sides) > 1 else 0)
    if part.inside is not None:
        mean[~grouped(part.inside).all(axis=(1, 3, 5))] = np.nan
    return mean, variance


def _pooled(grids: Sequence[tuple[Floats, Floats]]) -> _Cubes:
    steepness = np.concatenate([_steepness(mean).ravel() for mean, _ in grids])
    mean = np.concatenate([mean.ravel() for mean, _ in grids])
    variance = np.concatenate([variance.ravel() for _, variance in grids])
    counts = np.isfinite(mean)
    mean, variance, steepness = mean[counts], variance[counts], steepness[counts]
    if not len(mean):
        raise InputError("no voxel counts for the gray scale; check the mask, or pass more of the volume.")
    flat = steepness <= np.median(steepness)
    if mean.min() == mean.max():
        raise InputError(f"the volume has one gray value, {mean[0]:g}: it has no contrast. Check the file.")
    return _Cubes(mean, mean[flat], variance[flat], float(np.median(steepness[flat])))


def _steepness(mean: Floats) -> Floats:
    """Give the largest difference from a cube to its neighbours; those that do not count are passed over."""
    steep = np.zeros(mean.shape)
    for axis in range(3):
        step = np.nan_to_num(np.abs(np.diff(mean, axis=axis)))
        first, last = [slice(None)] * 3, [slice(None)] * 3
        first[axis], last[axis] = slice(0, -1), slice(1, None)
        for side in (tuple(first), tuple(last)):
            steep[side] = np.maximum(steep[side], step)
    return steep


def _peaks(cubes: _Cubes) -> list[_Peak]:
    """Find the peaks of the histogram of the flat cubes, darkest first; ripples are no peaks."""
    values = cubes.flat_mean
    low, high = np.quantile(values, [0.001, 0.999])
    # The largest of six differences is about 1.5 times the deviation.
    deviation = cubes.spread / 1.5
    width = max(deviation / 2, (high - low) / _MOST_BINS)
    if not width > 0:
        return [_Peak(float(low), 1.0, -np.inf, np.inf)]
    edges = np.arange(low - 4 * width, high + 5 * width, width)
    counts = np.histogram(values, edges)[0].astype(np.float64)
    centres = (edges[1:] + edges[:-1]) / 2
    smooth = np.asarray(ndimage.gaussian_filter1d(counts, max(1.0, deviation / width), mode="constant"))
    rising = np.diff(smooth, prepend=-1.0) > 0
    falling = np.diff(smooth, append=-1.0) <= 0
    tops = _merged([int(at) for at in np.flatnonzero(rising & falling & (smooth > 0))], smooth)
    valleys = [left + int(np.argmin(smooth[left:right])) for left, right in pairwise(tops)]
    walls = [0, *valleys, len(counts)]
    return [
        _Peak(
            float(np.median(values[np.abs(values - centres[top]) <= 1.5 * width])),
            float(counts[left:right].sum() / len(values)),
            -np.inf if left == 0 else float(centres[left]),
            np.inf if right == len(counts) else float(centres[right]),
        )
        for top, (left, right) in zip(tops, pairwise(walls), strict=True)
    ]


def _merged(tops: list[int], smooth: Floats) -> list[int]:
    """Drop the lower of two neighbouring tops while the valley between them is shallow."""
    while True:
        for left, right in pairwise(tops):
            if smooth[left:right].min() > _VALLEY * min(smooth[left], smooth[right]):
                tops.remove(left if smooth[left] < smooth[right] else right)
                break
        else:
            return tops


def _choose(
    peaks: list[_Peak],
    cubes: _Cubes,
    grids: Sequence[tuple[Floats, Floats]],
    parts: Sequence[SampledVoxels],
    shape: Zyx,
    warnings: list[str],
) -> tuple[float, float | None]:
    """Tell the embedding from air outside the sample, or in bubbles: its gray value, and that of such air."""
    large = [peak for peak in peaks if peak.share >= LEAST_PEAK] or [max(peaks, key=lambda peak: peak.share)]
    darkest = large[0]
    if len(large) == 1:
        return darkest.gray, None
    dark = [np.nan_to_num(mean, nan=np.inf) < darkest.above for mean, _ in grids]
    means = np.concatenate([mean.ravel() for mean, _ in grids])
    counts = np.isfinite(means)
    places = [(part.start, mean.shape, _sides(part)) for part, (mean, _) in zip(parts, grids, strict=True)]
    kind = np.concatenate([d.ravel() for d in dark])
    around = rim(kind, places, shape, counts=counts, pure=0.9)
    if around.share >= 0.02 and around.inside <= 0.25:
        is_apart = around.inside <= _PURE_AIR or _joined(dark, around) < _MOST_JOINED
        is_air = is_apart and _between(means[around.inner & counts], darkest, large[1]) <= _MOST_BETWEEN
        return (large[1].gray, darkest.gray) if is_air else (darkest.gray, None)
    # Parts of a larger volume cut apart what hangs together: the narrow pores of a packing then look like bubbles.
    if _largest_piece(dark) < 0.5 and (len(parts) == 1 or _has_particles(cubes, darkest, large[1])):
        warnings.append(
            f"gray values about {darkest.gray:.5g} were taken for bubbles, and {large[1].gray:.5g} for the embedding; "
            "if the particles lie in the darker, give its gray value with --embedding."
        )
        return large[1].gray, darkest.gray
    return darkest.gray, None


def _has_particles(cubes: _Cubes, dark: _Peak, embedding: _Peak) -> bool:
    """Tell whether enough is brighter than ``embedding``, if ``dark`` is taken for bubbles in it."""
    _, noise = _width_and_noise(cubes, embedding.gray, dark.gray)
    brighter = np.count_nonzero(cubes.mean > embedding.gray + _CLEAR * noise)
    return bool(brighter >= _LEAST_BRIGHTER * np.count_nonzero(cubes.mean < dark.above))


def _sides(part: SampledVoxels) -> Zyx:
    z, y, x = (min(SIDE, n) for n in part.voxels.shape)
    return z, y, x


def _largest_piece(dark: Sequence[NDArray[np.bool_]]) -> float:
    """Share of the dark cubes that hang together with most others of their part: small for bubbles."""
    largest = total = 0
    for mask in dark:
        labels, _ = ndimage.label(mask)
        counts = np.bincount(labels.ravel())[1:]
        largest += int(counts.max(initial=0))
        total += int(counts.sum())
    return largest / max(1, total)


def _joined(dark: Sequence[NDArray[np.bool_]], around: Rim) -> float:
    """Share of the dark cubes well inside that hang together with dark ones outside, in parts that reach outside."""
    joined = total = offset = 0
    for mask in dark:
        of_part = slice(offset, offset + mask.size)
        beyond, inside = (mask & place[of_part].reshape(mask.shape) for place in (around.outer, around.inner))
        offset += mask.size
        if not beyond.any():
            continue
        labels, count = ndimage.label(mask)
        reaches = np.zeros(count + 1, bool)
        reaches[labels[beyond]] = True
        joined += int(np.count_nonzero(reaches[labels[inside]]))
        total += int(np.count_nonzero(inside))
    return joined / max(1, total)


def _between(inner: Floats, air: _Peak, embedding: _Peak) -> float:
    """Share of the cubes well inside that are clearly darker than the embedding: large if narrow pores run through."""
    limit = embedding.gray - _CLEARLY_DARKER * (embedding.gray - air.gray)
    return float(np.count_nonzero(inner < limit) / max(1, len(inner)))


def _air_below(gray: float, air: float | None) -> float:
    """Give the gray value that parts air from the embedding; −∞ if there is no air."""
    return -np.inf if air is None else (gray + air) / 2


def _width_and_noise(cubes: _Cubes, gray: float, air: float | None) -> tuple[float, float]:
    """Measure how much the cubes of the embedding vary, from its darker side, and how much the voxels in them do."""
    values = cubes.flat_mean
    darker = np.sort(gray - values[(values <= gray) & (values > _air_below(gray, air))])
    # Of a normal distribution's lower side, 38 % lie within half a deviation; bubbles and artifacts are farther away.
    width = 2 * float(darker[int(0.3829 * len(darker))]) if len(darker) else 0.0
    inside = np.abs(values - gray) <= max(width, cubes.spread)
    noise = float(np.sqrt(cubes.flat_variance[inside].mean())) if inside.any() else width
    return width, noise

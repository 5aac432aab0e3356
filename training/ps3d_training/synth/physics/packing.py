"""Place grains by letting them push each other apart, then give every voxel to the grain whose surface is nearest.

1. Balls of the grains' volumes are strewn at random; overlapping ones push each other apart, partners in a contact pull
   each other near, for a fixed number of rounds. Dense packings come out as easily as loose ones.
2. Each grain's irregular body is drawn around its centre. A voxel belongs to the grain with the lowest level, so
   grains that meet share a face.
3. Grains that are to stay apart are: a gap is cut where two of different groups come near.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np

from ps3d_rt.core.arrays import Array
from ps3d_training.synth.shapes import Grain, draw_stretch, make_grain
from ps3d_training.synth.spec import SampleSpec
from ps3d_training.synth.truth import connected

BAND = 3.0
"""Levels are kept up to this far outside a grain, voxels."""
GAP = 1.6
"""Clear voxels between grains of different groups, roughly."""
_CUT = 1.12
"""Grains that the sample's faces cut lose so much, roughly."""
_ROUNDS = 60
_CONTACT = 0.9
"""Distance of partners' centres over the sum of their radii: flat faces of some size meet."""
_MOST_SWELLING = 2.0
"""Voxels that dense packings are swollen by at most."""


@dataclass(frozen=True)
class Grains:
    """Who is where. All arrays have the sample's shape."""

    labels: Array
    """uint32: 1..N, connected, 0 between."""
    owner: Array
    """uint32: id of the nearest grain in the arrays ``centers`` and ``radii`` plus 1, 0 where none is near."""
    level: Array
    """float32: about the distance to the owner's surface, voxels; negative inside, above 0 outside ``labels``."""
    apart: Array
    """float32: about twice the distance to the nearest contact with another grain, voxels."""
    count: int
    """No ``owner`` is larger."""


def pack(spec: SampleSpec, inside: Array, rng: np.random.Generator) -> Grains:
    """Place the grains of ``spec``.

    Args:
        spec: size, spread, fill, touching share and shapes.
        inside: (y, x) bool, where grains may lie; the sample is a cylinder of it.
        rng: draws everything.
    """
    diameters = _diameters(spec, inside.mean() * np.prod(spec.shape), rng)
    group, partner = _groups(spec, len(diameters), rng)
    radii = diameters / 2
    centers = _strew(spec.shape, inside, len(radii), rng)
    _push_apart(centers, radii, group, partner, np.array(spec.shape, float), _ROUNDS)
    field = _draw(spec, [_grain(spec, float(d), rng) for d in diameters], centers)
    return _finish(spec, field, group, np.broadcast_to(inside, spec.shape))


def _diameters(spec: SampleSpec, voxels: float, rng: np.random.Generator) -> Array:
    """Draw equivalent diameters that together take the wanted share of ``voxels``; the largest come first."""
    wanted, spread = spec.fill * voxels * _CUT, spec.size_spread
    low, high = max(3.5, 0.3 * spec.particle_size_voxels), 0.62 * min(spec.shape)
    large = _large_ones(spec, wanted, high, rng)
    wanted -= float((np.pi / 6 * large**3).sum())
    count = int(4 * voxels / (np.pi / 6 * spec.particle_size_voxels**3)) + 16
    drawn = np.exp(rng.normal(np.log(spec.particle_size_voxels) - spread**2 / 2, spread, count))
    drawn = np.clip(drawn, low, max(low, high))
    needed = int(np.searchsorted(np.cumsum(np.pi / 6 * drawn**3), wanted)) + 1
    return np.sort(np.concatenate([large, drawn[: max(3, needed)]]))[::-1]


def _large_ones(spec: SampleSpec, voxels: float, high: float, rng: np.random.Generator) -> Array:
    """Draw the grains of a coarse fraction; at least one where there is any."""
    if not spec.coarse:
        return np.zeros(0)
    found: list[float] = []
    while not found or sum(np.pi / 6 * d**3 for d in found) < spec.coarse * voxels:
        found.append(min(high, spec.particle_size_voxels * spec.coarse_size * float(rng.uniform(0.7, 1.1))))
    return np.array(found)


def _groups(spec: SampleSpec, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Group of every grain, and a partner that it is pulled to, or -1. Grains of one group may touch."""
    touching = rng.random(count) < spec.touching
    group = np.arange(1, count + 1)
    partner = np.full(count, -1)
    members = np.flatnonzero(touching)
    rng.shuffle(members)
    # Few contacts come in pairs and threes; many make one packing.
    size = max(2, round(2 / max(0.05, 1 - spec.touching)))
    if spec.touching > 0.7:
        group[members] = 0
    for first in range(0, len(members) - 1, size):
        cluster = members[first : first + size]
        group[cluster] = group[cluster[0]]
        partner[cluster[1:]] = cluster[:-1]
    return group, partner


def _strew(shape: tuple[int, int, int], inside: Array, count: int, rng: np.random.Generator) -> Array:
    spots = np.argwhere(inside)
    yx = spots[rng.integers(0, len(spots), count)] + rng.uniform(-0.5, 0.5, (count, 2))
    return np.column_stack([rng.uniform(0, shape[0], count), yx])


def _grain(spec: SampleSpec, diameter: float, rng: np.random.Generator) -> Grain:
    grain = make_grain(rng, diameter, spec.roundness, spec.elongation)
    if spec.flakes or spec.needles:
        grain = grain.stretched(draw_stretch(rng, spec.flakes, spec.needles))
    return grain


@numba.njit(cache=True)
def _push_apart(centers: Array, radii: Array, group: Array, partner: Array, shape: Array, rounds: int) -> None:
    """Move ``centers`` in place."""
    count = len(radii)
    for turn in range(rounds):
        step = 0.5 if turn < rounds // 2 else 0.35
        for i in range(count):
            if partner[i] >= 0:
                j = partner[i]
                d = centers[j] - centers[i]
                far = np.sqrt((d * d).sum()) + 1e-6
                excess = far - _CONTACT * (radii[i] + radii[j])
                if excess > 0:
                    # The lighter one moves.
                    share = radii[j] ** 3 / (radii[i] ** 3 + radii[j] ** 3)
                    centers[i] += d / far * excess * share * 0.5
                    centers[j] -= d / far * excess * (1 - share) * 0.5
            for j in range(i):
                reach = radii[i] + radii[j]
                # Bodies reach out of their balls: those that may not touch need some room more.
                reach = reach * 0.97 if group[i] == group[j] else reach * 1.12 + GAP
                dz, dy, dx = centers[i, 0] - centers[j, 0], centers[i, 1] - centers[j, 1], centers[i, 2] - centers[j, 2]
                square = dz * dz + dy * dy + dx * dx
                if square < reach * reach:
                    far = np.sqrt(square) + 1e-6
                    push = (reach - far) / far * step
                    share = radii[j] ** 3 / (radii[i] ** 3 + radii[j] ** 3)
                    centers[i, 0] += dz * push * share
                    centers[i, 1] += dy * push * share
                    centers[i, 2] += dx * push * share
                    centers[j, 0] -= dz * push * (1 - share)
                    centers[j, 1] -= dy * push * (1 - share)
                    centers[j, 2] -= dx * push * (1 - share)
            for axis in range(3):
                edge = 0.3 * radii[i]
                centers[i, axis] = min(max(centers[i, axis], -edge), shape[axis] - 1 + edge)


class _Field(NamedTuple):
    """Arrays of the sample's shape, as compiled code takes them."""

    owner: Array
    level: Array
    second: Array
    """Level of the next nearest grain."""
    neighbour: Array
    """Its id."""


def _draw(spec: SampleSpec, grains: list[Grain], centers: Array) -> _Field:
    field = _Field(
        np.zeros(spec.shape, np.uint32),
        np.full(spec.shape, BAND, np.float32),
        np.full(spec.shape, BAND, np.float32),
        np.zeros(spec.shape, np.uint32),
    )
    for index, (grain, center) in enumerate(zip(grains, centers, strict=True), start=1):
        body = _Body(
            grain.facets,
            grain.log2_p,
            grain.radius,
            grain.reach,
            grain.waves.astype(np.float32),
            grain.phases.astype(np.float32),
            grain.dent,
        )
        _draw_one(field, index, center, body)
    return field


class _Body(NamedTuple):
    """A :class:`~ps3d_training.synth.shapes.Grain`, as compiled code takes it."""

    facets: Array
    log2_p: int
    radius: float
    reach: float
    waves: Array
    phases: Array
    dent: float


@numba.njit(cache=True, fastmath=True)
def _draw_one(field: _Field, index: int, center: Array, body: _Body) -> None:
    """Lower the levels around one grain."""
    owner, level, second, neighbour = field.owner, field.level, field.second, field.neighbour
    far = body.reach + BAND
    low = [max(0, int(np.floor(center[a] - far))) for a in range(3)]
    high = [min(level.shape[a], int(np.ceil(center[a] + far)) + 1) for a in range(3)]
    for z in range(low[0], high[0]):
        for y in range(low[1], high[1]):
            for x in range(low[2], high[2]):
                dz, dy, dx = np.float32(z - center[0]), np.float32(y - center[1]), np.float32(x - center[2])
                if dz * dz + dy * dy + dx * dx > far * far:
                    continue
                here = _level(body, dz, dy, dx)
                if here < level[z, y, x]:
                    second[z, y, x], neighbour[z, y, x] = level[z, y, x], owner[z, y, x]
                    level[z, y, x], owner[z, y, x] = here, index
                elif here < second[z, y, x]:
                    second[z, y, x], neighbour[z, y, x] = here, index


@numba.njit(cache=True, fastmath=True)
def _level(body: _Body, dz: np.float32, dy: np.float32, dx: np.float32) -> np.float32:
    """:meth:`Grain.level` of one offset."""
    total = np.float32(0)
    for f in range(len(body.facets)):
        power = body.facets[f, 0] * dz + body.facets[f, 1] * dy + body.facets[f, 2] * dx
        power = min(max(power, np.float32(0)), np.float32(8))
        for _ in range(body.log2_p):
            power *= power
        total += power
    for _ in range(body.log2_p):
        total = np.sqrt(total)
    level = (total - np.float32(1)) * np.float32(body.radius)
    if level < BAND + 2:
        for w in range(len(body.waves)):
            angle = body.waves[w, 0] * dz + body.waves[w, 1] * dy + body.waves[w, 2] * dx + body.phases[w]
            level += np.float32(body.dent) * np.cos(angle)
    return level


def _finish(spec: SampleSpec, field: _Field, group: Array, inside: Array) -> Grains:
    """Swell dense packings to the wanted fill, cut gaps, keep one connected piece of every grain."""
    groups = np.concatenate([[-1], group])
    level = field.level
    if spec.touching > 0.5:
        swollen = float(np.quantile(level[:, ::2, ::2][inside[:, ::2, ::2]], min(0.97, spec.fill)))
        level = level - np.float32(np.clip(swollen, 0, _MOST_SWELLING))
    strangers = (field.neighbour > 0) & (groups[field.owner] != groups[field.neighbour])
    # Between two grains the levels part by two voxels a voxel.
    level = np.where(strangers, np.maximum(level, np.float32(GAP) - (field.second - field.level)), level)
    body = (level < 0) & inside
    labels = connected(np.where(body, field.owner, np.uint32(0)))
    # What broke off a grain is not there: everything visible has a label.
    level = np.where(body & (labels == 0), np.float32(1), np.where(inside, level, np.float32(BAND)))
    return Grains(labels, field.owner, level.astype(np.float32), field.second - field.level, len(group))

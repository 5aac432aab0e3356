"""Place grains: largest first, isolated ones with a gap all around, touching ones with a real contact face.

Every voxel belongs to the grain whose level is lowest there, so two grains that meet share the surface on which
their levels are equal: a face between facets, with neither gap nor overlap.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ps3d_rt.core.arrays import Array
from ps3d_rt.core.grid import Box, Zyx
from ps3d_training.synth.noise import effect_rng
from ps3d_training.synth.shapes import Grain, draw_stretch, make_grain
from ps3d_training.synth.spec import SampleSpec
from ps3d_training.synth.surfaces import Surfaces

BAND = 3.0
"""Levels are kept up to this far outside a grain, voxels."""
GAP = 1.5
"""Level, so about voxels, that stays clear around an isolated grain: as little resin as a blurred image still shows."""
MAX_OVERLAP = 0.11
"""Share of its volume that a touching grain may lose or take at contacts."""
_SIZE_GAIN = 1.22
"""Small grains find room more often than large ones: drawn this much larger, they end with the mean asked for."""
_CANDIDATES = 300


@dataclass
class Packing:
    """Who is where. All arrays have the sample's shape."""

    owner: Array
    """uint32: id of the nearest grain within :data:`BAND`, 0 where there is none."""
    level: Array
    """float32: level of the owner, negative inside, voxels."""
    second: Array
    """float32: level of the next nearest grain; close to ``level`` on a contact face."""
    centers: list[Array] = field(default_factory=list)
    radii: list[float] = field(default_factory=list)
    isolated: list[bool] = field(default_factory=lambda: [True])
    """By id; entry 0 is the resin."""

    @classmethod
    def empty(cls, shape: Zyx) -> Packing:
        """Nothing but resin."""
        return cls(np.zeros(shape, np.uint32), np.full(shape, BAND, np.float32), np.full(shape, BAND, np.float32))

    @property
    def count(self) -> int:
        """Number of grains placed."""
        return len(self.radii)

    @property
    def labels(self) -> Array:
        """uint32: id of the grain that a voxel's centre lies in, 0 outside."""
        return np.where(self.level < 0, self.owner, np.uint32(0))

    @property
    def surfaces(self) -> Surfaces:
        """What gray values need to know."""
        return Surfaces(self.owner, self.level, self.second - self.level, self.count)

    def box_around(self, grain: Grain, center: Array) -> Box:
        """Find the voxels within reach of ``grain`` at ``center``, inside the volume."""
        low = np.floor(center - grain.reach - BAND).astype(int)
        high = np.ceil(center + grain.reach + BAND).astype(int) + 1
        box = Box((int(low[0]), int(low[1]), int(low[2])), (int(high[0]), int(high[1]), int(high[2])))
        return box.intersect(Box.of_shape(self.owner.shape))

    def paint(self, level: Array, box: Box, center: Array, grain: Grain, *, isolated: bool) -> None:
        """Add a grain whose ``level`` over ``box`` is known."""
        self.centers.append(center)
        self.radii.append(grain.radius)
        self.isolated.append(isolated)
        old, owner, second = self.level[box.slices], self.owner[box.slices], self.second[box.slices]
        wins = level < old
        np.copyto(second, np.where(wins, old, np.minimum(level, second)))
        owner[wins] = self.count
        np.minimum(old, level, out=old)


class Packer:
    """Places grains one after the other until the wanted fill is reached or nothing fits."""

    def __init__(self, spec: SampleSpec, rng: np.random.Generator, inside: Array) -> None:
        self._spec = spec
        self._rng = rng
        self._stretches = effect_rng(spec, "stretch")
        self._inside = inside
        self.packing = Packing.empty(spec.shape)
        self._alone: int | None = None

    def run(self) -> Packing:
        """Place all particles. Dense fills take several rounds, each with smaller grains for the gaps that are left."""
        spec, inside_voxels = self._spec, float(self._inside.sum())
        for shrink in (1.0, 1.0, 0.85, 0.7):
            missing = spec.fill * inside_voxels - float((self.packing.level < 0).sum())
            if missing < 0.03 * spec.fill * inside_voxels:
                break
            for diameter in particle_diameters(spec, self._rng, missing, shrink):
                self._add(float(diameter))
        return self.packing

    def _add(self, diameter: float) -> None:
        spec, rng = self._spec, self._rng
        grain = make_grain(rng, diameter, spec.roundness, spec.elongation)
        if spec.flakes or spec.needles:
            grain = grain.stretched(draw_stretch(self._stretches, spec.flakes, spec.needles))
        touching = self._wants_contact()
        # A grain that has to touch needs a host; the first one of a new cluster waits for its partner.
        seed = touching and self._alone is None and rng.random() < self._seed_share()
        placed = self._place(grain, touching=touching and not seed, isolated=not touching)
        if placed and touching:
            self._alone = self.packing.count if seed else None

    def _wants_contact(self) -> bool:
        if self._alone is not None:
            return True
        touched = self.packing.count - sum(self.packing.isolated[1:])
        return touched < self._spec.touching * (self.packing.count + 1)

    def _seed_share(self) -> float:
        has_hosts = self.packing.count > sum(self.packing.isolated[1:])
        return max(0.08, 0.5 * (1 - self._spec.touching)) if has_hosts else 1.0

    def _place(self, grain: Grain, *, touching: bool, isolated: bool) -> bool:
        for center in self._promising(grain, touching=touching):
            box = self.packing.box_around(grain, center)
            level = grain.level_in(box, center)
            if self._fits(level, box, touching=touching):
                self.packing.paint(level, box, center, grain, isolated=isolated)
                return True
        return False

    def _promising(self, grain: Grain, *, touching: bool) -> Array:
        """Choose up to six centres at which the grain's probe points look right. Only these are tried in full."""
        rng, shape = self._rng, np.array(self._spec.shape)
        # Centres just past the faces are allowed: scans cut grains.
        centers = rng.uniform(-0.3 * grain.radius, shape - 1 + 0.3 * grain.radius, (_CANDIDATES, 3))
        if touching:
            half = _CANDIDATES // 2 if self._alone is None and self._spec.touching > 0.5 else _CANDIDATES
            centers[:half] = self._beside_hosts(grain, half)
        # Isolated: nothing may lie within the gap. Touching: probes well inside count how deep it would sink in.
        factor = 1 + GAP / grain.radius if not touching else 0.97
        outer = self._owners(centers[:, None, :] + grain.probes[None] * factor)
        inner = self._owners(centers[:, None, :] + grain.probes[None, ::3] * 0.6)
        sunk = (outer > 0).mean(1)
        wanted = (sunk > 0) & (sunk < 0.45) & ~(inner > 0).any(1) if touching else (sunk == 0) & ~(inner > 0).any(1)
        at = np.clip(np.rint(centers), 0, shape - 1).astype(int)
        wanted &= self._inside[at[:, 0], at[:, 1], at[:, 2]]
        # Deep in a gap between neighbours first: that is how grains come to rest.
        order = np.argsort(-sunk[wanted]) if touching and self._spec.touching > 0.5 else slice(None)
        found: Array = centers[wanted][order][:6]
        return found

    def _beside_hosts(self, grain: Grain, count: int) -> Array:
        rng, packing = self._rng, self.packing
        hosts = np.flatnonzero(~np.array(packing.isolated)[1:]) if self._alone is None else np.array([self._alone - 1])
        chosen = rng.choice(hosts, count)
        ways = rng.normal(size=(count, 3))
        ways /= np.linalg.norm(ways, axis=1, keepdims=True)
        distance = (np.array(packing.radii)[chosen] + grain.radius) * rng.uniform(0.7, 1.2, count)
        beside: Array = np.array(packing.centers)[chosen] + ways * distance[:, None]
        return beside

    def _owners(self, points: Array) -> Array:
        """Ids at (…, 3) points; 0 outside the volume."""
        shape = np.array(self._spec.shape)
        at = np.rint(points).astype(int)
        valid = ((at >= 0) & (at < shape)).all(-1)
        at = np.clip(at, 0, shape - 1)
        found = self.packing.owner[at[..., 0], at[..., 1], at[..., 2]]
        inside_grain = self.packing.level[at[..., 0], at[..., 1], at[..., 2]] < 0
        return np.where(valid & inside_grain, found, 0)

    def _fits(self, level: Array, box: Box, *, touching: bool) -> bool:
        body = level < 0
        volume = int(body.sum())
        if volume < 8 or not self._inside[box.slices][body].all():
            return False
        old_level, owner = self.packing.level[box.slices], self.packing.owner[box.slices]
        if not touching:
            return not bool(((level < GAP) & (old_level < 0)).any())
        overlap = body & (old_level < 0)
        share = int(overlap.sum()) / volume
        near = np.unique(owner[(level < GAP) & (old_level < 0)])
        if not 0.004 < share < MAX_OVERLAP or np.array(self.packing.isolated)[near].any():
            return False
        hosts = np.unique(owner[overlap])
        small = min(self.packing.radii[host - 1] for host in hosts)
        return bool(overlap.sum() < MAX_OVERLAP * 4.19 * small**3)


def particle_diameters(spec: SampleSpec, rng: np.random.Generator, voxels: float, shrink: float = 1.0) -> Array:
    """Equivalent diameters, voxels, roughly largest first, of grains that together take ``voxels``."""
    mean = spec.particle_size_voxels * shrink * _SIZE_GAIN
    diameters = _fraction(spec, rng, (1 - spec.fines) * voxels, mean)
    if spec.fines:
        fine = _fraction(spec, rng, spec.fines * voxels, mean * spec.fines_size)
        diameters = np.concatenate([diameters, fine])
    # Large grains no longer fit once small ones lie everywhere; a pure order would put all contacts between equals.
    return diameters[np.argsort(-diameters * np.exp(rng.normal(0, 0.25, len(diameters))))]


def _fraction(spec: SampleSpec, rng: np.random.Generator, voxels: float, mean: float) -> Array:
    """Draw diameters of one size fraction that together take ``voxels``."""
    spread = spec.size_spread
    low, high = max(3.5, 0.3 * spec.particle_size_voxels), 0.6 * min(spec.shape)
    count = int(3 * voxels / (np.pi / 6 * max(mean, low) ** 3 * np.exp(3 * spread**2))) + 8
    diameters = np.clip(np.exp(rng.normal(np.log(mean) - spread**2 / 2, spread, count)), low, max(low, high))
    needed = int(np.searchsorted(np.cumsum(np.pi / 6 * diameters**3), voxels)) + 1
    return diameters[:needed]

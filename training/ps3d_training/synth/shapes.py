"""Irregular grains as implicit functions: negative inside, in voxels, about 1 voxel per voxel at the surface."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ps3d_rt.core.arrays import Array
from ps3d_rt.core.grid import Box

_PROBE_DIRECTIONS = 48


@dataclass(frozen=True)
class Grain:
    """A rounded polyhedron with an uneven surface, centred at the origin.

    The gauge g(x) = (Σ max(0, n·x)^p)^(1/p) is 1 on the surface: p = ∞ gives a polyhedron with the facets
    n·x = 1, a small p rounds its edges. A few plane waves dent the surface so that grains are not convex.
    """

    facets: Array
    """(facets, 3) float32: n, in 1/voxels."""
    log2_p: int
    radius: float
    """Radius of the ball of equal volume, voxels."""
    waves: Array
    """(waves, 3) float32 wave vectors, 1/voxels."""
    phases: Array
    dent: float
    """Amplitude of one wave, voxels."""
    probes: Array
    """(points, 3) float32 offsets from the centre to points of the surface."""

    @property
    def reach(self) -> float:
        """Distance from the centre to the farthest point of the surface, voxels."""
        return float(np.sqrt((self.probes**2).sum(1).max())) * 1.1 + 1

    def level(self, points: Array) -> Array:
        """Signed distance, roughly, of (3, n) offsets from the centre, voxels: (n,) float32."""
        gauge = self._gauge(points)
        level = (gauge - 1) * self.radius
        if self.dent:
            level += self.dent * np.cos(self.waves @ points + self.phases[:, None]).sum(0)
        return level

    def level_in(self, box: Box, center: Array) -> Array:
        """:meth:`level` of every voxel of ``box`` for a grain at ``center``; shape ``box.shape``."""
        axes = [
            np.arange(a, b, dtype=np.float32) - np.float32(c)
            for a, b, c in zip(box.start, box.stop, center, strict=True)
        ]
        points = np.stack([grid.ravel() for grid in np.meshgrid(*axes, indexing="ij")])
        return self.level(points).reshape(box.shape)

    def stretched(self, matrix: Array) -> Grain:
        """Pull the grain by a (3, 3) ``matrix`` that keeps volumes; dents stay as they are."""
        facets, probes = self.facets @ np.linalg.inv(matrix), self.probes @ matrix.T
        return replace(self, facets=facets.astype(np.float32), probes=probes.astype(np.float32))

    def _gauge(self, points: Array) -> Array:
        powers = self.facets @ points
        # Far from the surface it matters no more how far; higher powers would leave float32.
        np.clip(powers, 0, 8, out=powers)
        for _ in range(self.log2_p):
            powers *= powers
        gauge: Array = powers.sum(0)
        for _ in range(self.log2_p):
            np.sqrt(gauge, out=gauge)
        return gauge


def make_grain(rng: np.random.Generator, diameter: float, roundness: float, elongation: float) -> Grain:
    """Draw a grain of the given equivalent ``diameter`` (voxels)."""
    normals = _even_directions(rng, int(rng.integers(9, 16)))
    # Crushed grains have facets at unequal distances; river sand is worn to nearly equal ones.
    distance = np.exp(rng.normal(0, 0.22 * (1.2 - roundness), len(normals)))
    axes = np.exp(rng.normal(0, elongation, 3))
    facets = normals / distance[:, None] / (axes / np.cbrt(axes.prod()))
    log2_p = round(4.6 - 2.3 * roundness + float(rng.uniform(-0.4, 0.4)))
    directions = _even_directions(rng, _PROBE_DIRECTIONS)
    unit = Grain(facets.astype(np.float32), log2_p, 1.0, np.zeros((0, 3)), np.zeros(0), 0.0, directions)
    surface = 1 / np.maximum(unit._gauge(directions.T), 1e-3)
    # The volume of a star-shaped body is the mean of ρ³ over all directions, times 4π/3.
    scale = diameter / 2 / np.cbrt((surface**3).mean())
    waves = rng.normal(0, 1, (5, 3)) * rng.uniform(1.5, 4.0, (5, 1)) / (diameter / 2)
    return Grain(
        facets=(facets / scale).astype(np.float32),
        log2_p=log2_p,
        radius=diameter / 2,
        waves=waves.astype(np.float32),
        phases=rng.uniform(0, 2 * np.pi, 5).astype(np.float32),
        dent=diameter / 2 * float(rng.uniform(0.0, 0.035)) * (1.3 - roundness),
        probes=(directions * surface[:, None] * scale).astype(np.float32),
    )


def draw_stretch(rng: np.random.Generator, flakes: float, needles: float) -> Array:
    """Draw a (3, 3) matrix of determinant 1 that makes a flake, a needle, or nothing else of an equant grain.

    Args:
        rng: draws as often whatever comes out.
        flakes: how often a grain is pressed flat, by two to four.
        needles: how often one is pulled long, by two to four.
    """
    kind, ratio = rng.random(), rng.uniform(2, 4)
    along = 1 / ratio if kind < flakes else ratio if kind < flakes + needles else 1.0
    axes = np.array([along, 1, 1]) / np.cbrt(along)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return np.asarray(turn * axes @ turn.T)


def _even_directions(rng: np.random.Generator, count: int) -> Array:
    """Spread unit vectors over the sphere (Fibonacci lattice), jittered and turned at random: (count, 3) float32."""
    z = 1 - (2 * np.arange(count) + 1) / count
    angle = np.arange(count) * np.pi * (3 - np.sqrt(5))
    ring = np.sqrt(1 - z * z)
    even = np.stack([z, ring * np.sin(angle), ring * np.cos(angle)], 1)
    even += rng.normal(0, 0.5 / np.sqrt(count), even.shape)
    turned = even @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    unit: Array = turned / np.linalg.norm(turned, axis=1, keepdims=True)
    return unit.astype(np.float32)

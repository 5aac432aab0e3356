"""What a synthetic sample is made of: one frozen description."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ps3d_rt.core.grid import Zyx
from ps3d_rt.errors import InputError

AIR, RESIN = 0.0, 1.0
"""The gray values that the others are relative to."""

SHARES = (
    *(
        "touching",
        "fill",
        "roundness",
        "fines",
        "coarse",
        "flakes",
        "needles",
        "inclusions",
        "cracks",
        "porous",
        "seam",
    ),
    *("debonding", "spacers", "bubbles", "dust"),
)
"""Fields in [0, 1]."""

_OF_THE_PACKING = (
    *("size_spread", "fill", "touching", "roundness", "elongation", "fines", "fines_size", "coarse", "coarse_size"),
    *("flakes", "needles", "container", "container_radius", "container_offset"),
)
"""Fields that say nothing about a sample whose grains come from labels."""


@dataclass(frozen=True, kw_only=True)
class SampleSpec:
    """One synthetic sample. Equal specs give equal bytes.

    Gray values are relative: air 0, resin 1 before scaling to uint16.
    """

    seed: int = 0
    shape: Zyx = (256, 256, 256)
    """Voxels z, y, x."""
    spacing_mm: float = 0.01
    """Side of a voxel."""
    particle_size_voxels: float = 24.0
    """Mean equivalent diameter asked for; the sample reports the one it got."""
    size_spread: float = 0.35
    """Standard deviation of ln(diameter): 0.2 is a sieved fraction, 0.6 a crusher's product."""
    fill: float = 0.35
    """Share of the sample's inside that particles should take; dense fills stop early when nothing fits."""
    touching: float = 0.3
    """Share of the particles that touch at least one other over a contact face, 0 to 1."""
    roundness: float = 0.3
    """0 sharp and angular, 1 rounded like river sand."""
    elongation: float = 0.3
    """Spread of the axis ratios: 0 equant, 0.6 needles and flakes."""
    fines: float = 0.0
    """Share of the particles' volume in a second, finer fraction, as a crusher without a screen leaves it."""
    fines_size: float = 0.4
    """Mean diameter of that fraction over the mean of the coarse one."""
    coarse: float = 0.0
    """Share of the particles' volume in a few much larger ones; packed by the source ``physics`` only."""
    coarse_size: float = 6.0
    """Diameter of those over the mean of the others."""
    flakes: float = 0.0
    """Share of the grains that are two to four times as wide as thick, whichever way they lie."""
    needles: float = 0.0
    """Share of the grains that are two to four times as long as wide."""

    phases: tuple[float, ...] = (1.8, 2.2, 3.0)
    """Gray value of each mineral."""
    phase_jitter: float = 0.04
    """Relative standard deviation of a phase's gray value from grain to grain."""
    texture: float = 0.04
    """Gray variation inside a grain, relative to its contrast with the resin."""
    inclusions: float = 0.2
    """Share of the grains with inclusions of another phase."""
    cracks: float = 0.05
    """Share of the grains with internal cracks. A cracked grain is still one particle."""
    porous: float = 0.0
    """Share of the grains with pores in a fifth of their volume, open or closed. The pores belong to the particle."""
    pore_voxels: float = 2.0
    """How wide the pores are, roughly."""
    seam: float = 0.4
    """How dark a contact looks, 0 (invisible: shape alone tells) to 1 (as dark as resin)."""

    seam_width_voxels: float = 1.2
    """Width of that dark film: crushed grains rest on each other's roughness."""
    debonding: float = 0.0
    """Share of the grains that the resin shrank away from: part of their surface lies in a thin film of air."""

    matrix_gray: float = RESIN
    """What lies between the grains: 1 resin, 0 air (loose powder), in between foam or loaded paper."""
    spacers: float = 0.1
    """Volume share of sugar-like spacer grains, which are not particles."""
    spacer_gray: float = 1.25
    bubbles: float = 0.01
    """Volume share of gas bubbles in the resin."""
    container: bool = False
    """Put the sample into a tube along z, with a wall and air outside."""
    container_radius: float = 0.46
    """Inner radius of the tube over the shorter of the sides y and x; a crop may show a part of a wider tube."""
    container_offset: float = 0.0
    """How far its axis lies from the middle of the sample, along x, over the same side."""
    matrix_texture: float = 0.02
    """Large-scale unevenness of the matrix, relative to its gray value."""
    dust: float = 0.0
    """Volume share of bright dust of one to three voxels in the matrix: no particles."""

    blur_voxels: float = 0.8
    """Sigma of the point spread function."""
    hardening: float = 0.0
    """Beam hardening: how much brighter the rim of a large grain is than its middle, and how much darker the matrix
    beside it, relative to the step between the two."""
    fringe: float = 0.0
    """Phase contrast: a bright line inside every surface and a dark one outside; at 1 about an eighth of the step."""
    noise: float = 0.08
    """Standard deviation of the noise, relative to the contrast between the first phase and the matrix."""
    noise_correlation_voxels: float = 0.6
    noise_gray: float = 0.0
    """How much noisier the first phase is than the matrix: 0 not at all, 1 twice; below 0 the matrix is noisier."""
    mottle: float = 0.0
    """Standard deviation of blotches, as denoising leaves them, relative to that contrast."""
    mottle_voxels: float = 3.0
    """Correlation length of the blotches."""
    view_noise: float = 0.0
    """Standard deviation of the fine straight streaks of too few projections, relative to that contrast."""
    rings: float = 0.02
    """Amplitude of ring artifacts, relative to that contrast, as are cupping and streaks."""
    cupping: float = 0.05
    gradient: float = 0.0
    """Rise of the gray values from one end of the sample to the other, in a random direction, over that contrast."""
    streaks: float = 0.03
    bits: int = 16
    """Gray levels of the export: 8 leaves 256 values over its window, on the same scale."""
    clipped: float = 0.0
    """Share of the voxels that the window of the export cuts off at either end."""

    @property
    def contrast(self) -> float:
        """Step from the matrix to the first phase, which noise and artifacts are measured by."""
        return self.phases[0] - self.matrix_gray

    def simulated(self, *, only_gray: bool = False) -> dict[str, Any]:
        """List the fields; ``only_gray`` without those of a packing."""
        return {name: value for name, value in asdict(self).items() if not (only_gray and name in _OF_THE_PACKING)}

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 8:
            raise InputError(f"shape is {self.shape}; a sample has three sides of at least 8 voxels.")
        for name in SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name)}; it is a share and must be in [0, 1].")
        if not 3 <= self.particle_size_voxels <= min(self.shape):
            raise InputError(
                f"particle_size_voxels is {self.particle_size_voxels}; "
                f"allowed is 3 to the shortest side, {min(self.shape)}. Choose another size or a larger shape."
            )
        if not self.phases or self.spacing_mm <= 0 or self.seed < 0:
            raise InputError("a sample needs at least one phase, a spacing above 0 and a seed of at least 0.")
        if self.flakes + self.needles > 1:
            raise InputError(f"flakes and needles are {self.flakes} and {self.needles}; together they are at most 1.")
        if not 0 < self.fines_size <= 1 or self.pore_voxels <= 0 or self.mottle_voxels <= 0:
            raise InputError("fines_size must be in (0, 1]; pore_voxels and mottle_voxels must be above 0.")
        if not 2 <= self.bits <= 16 or not 0 <= self.clipped < 0.5:
            raise InputError(
                f"bits is {self.bits} and clipped {self.clipped}; bits must be 2 to 16, and clipped 0 to below 0.5."
            )

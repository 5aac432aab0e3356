"""What a synthetic sample is made of: one frozen description, and a way to draw random ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ps3d_rt.core.grid import Zyx
from ps3d_rt.errors import InputError


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
    seam: float = 0.4
    """How dark a contact looks, 0 (invisible: shape alone tells) to 1 (as dark as resin)."""

    seam_width_voxels: float = 1.2
    """Width of that dark film: crushed grains rest on each other's roughness."""

    spacers: float = 0.1
    """Volume share of sugar-like spacer grains, which are not particles."""
    spacer_gray: float = 1.25
    bubbles: float = 0.01
    """Volume share of gas bubbles in the resin."""
    container: bool = False
    """Put the sample into a tube along z, with a wall and air outside."""
    matrix_texture: float = 0.02
    """Large-scale unevenness of the resin, relative to its gray value."""

    blur_voxels: float = 0.8
    """Sigma of the point spread function."""
    noise: float = 0.08
    """Standard deviation of the noise, relative to the contrast between the first phase and the resin."""
    noise_correlation_voxels: float = 0.6
    rings: float = 0.02
    """Amplitude of ring artifacts, relative to that contrast, as are cupping and streaks."""
    cupping: float = 0.05
    streaks: float = 0.03

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 8:
            raise InputError(f"shape is {self.shape}; a sample has three sides of at least 8 voxels.")
        for name in ("touching", "fill", "roundness", "inclusions", "cracks", "seam", "spacers", "bubbles"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name)}; it is a share and must be in [0, 1].")
        if not 3 <= self.particle_size_voxels <= min(self.shape):
            raise InputError(
                f"particle_size_voxels is {self.particle_size_voxels}; "
                f"allowed is 3 to the shortest side, {min(self.shape)}. Choose another size or a larger shape."
            )
        if not self.phases or self.spacing_mm <= 0 or self.seed < 0:
            raise InputError("a sample needs at least one phase, a spacing above 0 and a seed of at least 0.")


def random_spec(seed: int, **fixed: Any) -> SampleSpec:
    """Draw a sample as varied as scans are: size, contrast, packing, shape, blur, noise and artifacts.

    Unless ``shape`` is given, the sample is a cube of six particle sizes: a few hundred particles whatever their size.

    Args:
        seed: decides everything that ``fixed`` does not.
        fixed: fields of :class:`SampleSpec` to keep.
    """
    rng = np.random.default_rng([seed, 310])
    contrast = float(np.exp(rng.uniform(np.log(0.35), np.log(3.0))))
    extra = np.sort(rng.uniform(0, 1.5, rng.integers(0, 4))) * contrast
    phases = tuple(round(1 + contrast + float(e), 3) for e in (0.0, *extra))
    dense = rng.random() < 0.5
    drawn: dict[str, Any] = {
        "size_spread": rng.uniform(0.15, 0.6),
        "fill": rng.uniform(0.4, 0.65) if dense else rng.uniform(0.15, 0.4),
        "touching": rng.uniform(0.5, 1.0) if dense else rng.uniform(0.0, 0.7),
        "roundness": rng.uniform(0, 1),
        "elongation": rng.uniform(0.05, 0.5),
        "phases": phases,
        "phase_jitter": rng.uniform(0, 0.08),
        "texture": rng.uniform(0, 0.12),
        "inclusions": rng.uniform(0, 0.5),
        "cracks": rng.uniform(0, 0.15),
        "seam": rng.uniform(0, 1.0),
        "seam_width_voxels": rng.uniform(0.6, 3.0),
        "spacers": 0.0 if rng.random() < 0.6 else rng.uniform(0.03, 0.25),
        "spacer_gray": 1 + contrast * rng.uniform(-0.3, 0.4),
        "bubbles": 0.0 if rng.random() < 0.5 else rng.uniform(0.002, 0.03),
        "container": rng.random() < 0.25,
        "matrix_texture": rng.uniform(0, 0.08),
        "blur_voxels": rng.uniform(0.4, 1.3),
        "noise": np.exp(rng.uniform(np.log(0.03), np.log(0.3))),
        "noise_correlation_voxels": rng.uniform(0, 1.0),
        "rings": 0.0 if rng.random() < 0.5 else rng.uniform(0, 0.1),
        "cupping": 0.0 if rng.random() < 0.4 else rng.uniform(0, 0.25),
        "streaks": 0.0 if rng.random() < 0.5 else rng.uniform(0, 0.12),
    }
    size = float(fixed.get("particle_size_voxels", np.exp(rng.uniform(np.log(12), np.log(40)))))
    drawn |= {"particle_size_voxels": size, "shape": (max(96, round(6 * size)),) * 3}
    drawn = {k: round(float(v), 4) if isinstance(v, float) else v for k, v in drawn.items()}
    drawn["container"] = bool(drawn["container"])
    return SampleSpec(seed=seed, **(drawn | fixed))

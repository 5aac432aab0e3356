"""What a sample of the source ``physics`` is, and how it is scanned: one frozen description."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ps3d_rt.errors import InputError
from ps3d_training.synth.physics.attenuation import Beam
from ps3d_training.synth.physics.reconstruct import FILTERS
from ps3d_training.synth.spec import SampleSpec

_OF_THE_GRAINS = (
    *("seed", "shape", "spacing_mm", "particle_size_voxels", "size_spread", "fill", "touching", "roundness"),
    *("elongation", "flakes", "needles", "coarse", "coarse_size", "cracks", "porous", "pore_voxels", "seam"),
    *("seam_width_voxels", "spacers", "bubbles", "debonding", "container", "container_radius"),
)
"""Fields of a :class:`SampleSpec` that this source reads; the others are about gray values by formula."""
_OF_THE_PACKING = (
    *("size_spread", "fill", "touching", "roundness", "elongation", "flakes", "needles", "coarse", "coarse_size"),
    *("container", "container_radius"),
)


@dataclass(frozen=True, kw_only=True)
class ScanSettings:
    """How the sample is scanned and reconstructed."""

    beam: Beam = field(default_factory=Beam)
    views: int = 200
    """Projections over half a turn; about 1.5 for every voxel of the side is enough."""
    noise: float = 0.1
    """Standard deviation of the noise in the embedding, over the contrast of the darkest particles with it, as a plain
    ramp reconstructs it: the exposure is chosen so that it comes out. Other filters and blurs lower it."""
    scatter: float = 0.0
    """Single scatter over what it comes from, measured value times its logarithm; 0.1 is strong."""
    source_blur: float = 0.4
    """Sigma of the focal spot's blur, detector pixels, before the noise."""
    detector_blur: float = 0.3
    """Sigma of the scintillator's blur, detector pixels, after the noise."""
    fringe: float = 0.0
    """Phase contrast: how much of its curvature is taken from a projection."""
    gain_error: float = 0.0
    """Standard deviation of detector pixels' gain after the flat field correction: rings."""
    axis_error: float = 0.0
    """How far the axis of rotation is from where the reconstruction takes it to be, pixels."""
    surround: float = 0.0
    """The sample is the middle of a cylinder of this radius over half its side, more of the same outside: a truncated
    field of view. 0: there is nothing outside."""
    filter: str = "ramp"
    hardening_correction: float = 0.0
    """Beam hardening correction for the mean material: 0 none, 1 full, above 1 too much."""
    smooth_voxels: float = 0.0
    """Sigma of a filter over the reconstructed volume."""
    bits: int = 16
    clipped: float = 0.0
    """Share of the voxels that the export's window cuts off at the bright end."""
    masked: bool = False
    """Set what lies outside the inscribed circle to 0, as many vendors do."""

    def __post_init__(self) -> None:
        if self.filter not in FILTERS:
            raise InputError(f"the filter is {self.filter}; choose one of {', '.join(FILTERS)}.")
        if self.bits not in (8, 16) or self.views < 8 or self.noise < 0 or not 0 <= self.clipped < 0.5:
            raise InputError("bits are 8 or 16, views at least 8, noise at least 0, clipped from 0 to below 0.5.")
        if self.surround and self.surround < 1.5:
            raise InputError(f"surround is {self.surround}; it is 0, or at least 1.5 so that corners lie inside.")


@dataclass(frozen=True, kw_only=True)
class PhysicsSpec:
    """One sample scanned by simulated physics. Equal specs give equal bytes on one machine."""

    grains: SampleSpec = field(default_factory=SampleSpec)
    """Who is where, what is inside of grains, seed, shape, side of a voxel; its gray fields are not read."""
    material: str = "quartz"
    """Name of the recipe, or of what was drawn."""
    minerals: tuple[tuple[str, float], ...] = (("quartz", 1.0),)
    """Name and share."""
    liberated: float = 1.0
    """Share of the grains that are of one mineral."""
    embedding: str = "PMMA"
    """What lies between the grains: a material; ``air`` for a packing without resin."""
    wall: str = "polypropylene"
    """Of the tube, if ``grains.container``."""
    scan: ScanSettings = field(default_factory=ScanSettings)

    def __post_init__(self) -> None:
        if not self.minerals:
            raise InputError("a sample needs at least one mineral.")
        if self.grains.shape[1] != self.grains.shape[2]:
            raise InputError(f"shape is {self.grains.shape}; slices of this source are square.")

    @property
    def seed(self) -> int:
        """Decides everything that the fields do not."""
        return self.grains.seed

    @property
    def spacing_mm(self) -> float:
        """Side of a voxel."""
        return self.grains.spacing_mm

    def simulated(self, *, only_gray: bool = False) -> dict[str, Any]:
        """List what was asked for; ``only_gray`` without what describes a packing."""
        kept = [name for name in _OF_THE_GRAINS if not (only_gray and name in _OF_THE_PACKING)]
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("grains", "scan")}
        listed = {name: getattr(self.grains, name) for name in kept} | own | {"scan": asdict(self.scan)}
        return {"source": "physics"} | listed

"""Which variations a training patch meets, and how often. No torch here: commands load it at once."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import pi

from ps3d_rt.core.grid import Zyx
from ps3d_rt.errors import InputError

AXES = (0, 1, 2)
PER_CHANNEL = 0.5
"""The published trainer draws twice for some transforms: for the patch and for its channel. There is one channel."""

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Shares of the patches that each variation changes, 0 switches it off; ranges beside them.

    The defaults are those of the published trainer (ParticleSeg3D, nnU-Net branch of that name; spatial ones from
    nnU-Net's own trainer, which it takes over).
    """

    touching: float = 1.0
    """A stored particle is pushed against one of the patch. Needs instances beside the border-core labels."""

    rotation: float = 0.2
    rotation_range: Range = (-pi / 6, pi / 6)
    """Radians, each axis on its own."""
    scaling: float = 0.2
    scaling_range: Range = (0.7, 1.4)
    """Above 1 things become smaller."""
    mirror: bool = True
    """Each axis with share 0.5."""
    transpose: bool = False
    """Axes of a cubic patch are swapped: exact, and almost free."""

    noise: float = 0.1
    noise_deviation: Range = (0, 0.1)
    """nnU-Net calls it variance, and uses it as the standard deviation."""
    blur: float = 0.2 * PER_CHANNEL
    blur_sigma: Range = (0.5, 1.0)
    """Voxels."""
    brightness: float = 0.15
    brightness_range: Range = (0.75, 1.25)
    """A factor."""
    shift: float = 0.1 * PER_CHANNEL
    shift_normal: Range = (0, 0.5)
    """Mean and standard deviation of what is added to all gray values."""
    contrast: float = 0.2 * PER_CHANNEL
    """One of two, equally often: gray values keep their range, or not."""
    contrast_range: Range = (0.5, 2.0)
    low_resolution: float = 0.25 * PER_CHANNEL
    low_resolution_range: Range = (0.5, 1.0)
    gamma: float = 0.0
    gamma_inverted: tuple[float, ...] = (0.1, 0.1)
    """Of the inverted image: a share for every time it is tried."""
    gamma_range: Range = (0.7, 1.5)
    gradient: float = 0.3 * PER_CHANNEL
    """A Gaussian hill or valley is added."""
    gradient_strength: Range = (1.0, 5.0)
    """Height of the hill, either sign."""
    local_gamma: float = 0.3 * PER_CHANNEL
    """Gamma inside a Gaussian spot."""
    local_gamma_ranges: tuple[Range, Range] = ((0.01, 0.8), (1.5, 4.0))
    """One of two, equally often."""
    local_scale: Range = (1 / 6, 1.0)
    """Sigma of hill and spot, log-uniform, in sides of the patch."""
    local_place: Range = (-0.5, 1.5)
    """Their centre, in sides of the patch."""

    def __post_init__(self) -> None:
        shares = {field.name: (getattr(self, field.name),) for field in fields(self) if field.type == "float"}
        for name, values in (shares | {"gamma_inverted": self.gamma_inverted}).items():
            if not all(0 <= share <= 1 for share in values):
                raise InputError(f"augmentation {name} is {values}; it is a share of the patches, 0 to 1.")


PUBLISHED = Augmentation()
FAST = Augmentation(
    touching=0,
    scaling=0.3,
    scaling_range=(0.8, 1.25),
    transpose=True,
    noise=0.15,
    blur=0.15,
    blur_sigma=(0.5, 1.5),
    shift=0.1,
    contrast=0.2,
    gamma=0.3,
    gamma_inverted=(0.1,),
    gradient=0.1,
    local_gamma=0,
)
"""Cheap enough for a CPU: axes are swapped freely, and only a share of the patches is interpolated."""
GENTLE = replace(
    FAST,
    blur=0.1,
    blur_sigma=(0.5, 1.0),
    brightness=0.1,
    brightness_range=(0.9, 1.1),
    shift_normal=(0, 0.15),
    contrast=0.1,
    contrast_range=(0.85, 1.2),
    gamma=0.1,
    gamma_inverted=(0.05,),
    gamma_range=(0.8, 1.25),
    gradient_strength=(0.5, 2.0),
)
"""As fast, but gray values change little: for samples as varied as those of ``ps3d-rt synth --vary``. How bright a body
is against the others then tells a particle from a spacer; where contrast is changed at will, it cannot."""
PRESETS = {"fast": FAST, "gentle": GENTLE, "published": PUBLISHED}


def centre(shape: Zyx, patch: Zyx) -> tuple[slice, slice, slice]:
    """Where the network's patch lies in what was read, before it is turned.

    >>> centre((10, 8, 8), (4, 8, 6))
    (slice(3, 7, None), slice(0, 8, None), slice(1, 7, None))
    """
    z, y, x = (
        slice((outer - inner) // 2, (outer - inner) // 2 + inner) for outer, inner in zip(shape, patch, strict=True)
    )
    return z, y, x

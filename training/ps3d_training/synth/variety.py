"""Draw samples as varied as scans are (domain randomization)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ps3d_training.synth.spec import SampleSpec

_DRAWN_LATER = (
    *("fines", "fines_size", "flakes", "needles", "porous", "pore_voxels", "debonding", "matrix_gray"),
    *("container_radius", "container_offset", "dust", "hardening", "fringe", "noise_gray", "mottle", "mottle_voxels"),
    *("view_noise", "gradient", "bits", "clipped"),
)

NEUTRAL: dict[str, Any] = {name: SampleSpec.__dataclass_fields__[name].default for name in _DRAWN_LATER}
"""The effects that came after release 0.1.0, all off: ``random_spec(seed, **NEUTRAL)`` is the sample it was then."""


def random_spec(seed: int, **fixed: Any) -> SampleSpec:
    """Draw a sample as varied as scans are: size, contrast, packing, shape, matrix, blur, noise and artifacts.

    Unless ``shape`` is given, the sample is a cube of six particle sizes: a few hundred particles whatever their size.
    What is fixed changes nothing else that is drawn.

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
    usual = float(np.exp(rng.uniform(np.log(12), np.log(40))))
    size = float(fixed.get("particle_size_voxels", usual))
    drawn |= {"particle_size_voxels": size, "shape": (max(96, round(6 * size)),) * 3}
    drawn |= _drawn_later(np.random.default_rng([seed, 311]), size)
    if (drawn | fixed)["spacers"]:
        # Bodies in air that are not particles would differ from particles by nothing but their gray value.
        drawn["matrix_gray"] = max(drawn["matrix_gray"], 0.5)
    drawn = {k: round(float(v), 4) if isinstance(v, float) else v for k, v in drawn.items()}
    drawn["container"] = bool(drawn["container"])
    return SampleSpec(seed=seed, **(drawn | fixed))


def _drawn_later(rng: np.random.Generator, size_voxels: float) -> dict[str, Any]:
    """Draw the fields of :data:`NEUTRAL` from a generator of their own: a seed keeps what it drew before them."""

    def some(chance: float, low: float, high: float) -> float:
        """Draw 0, or by this chance a number; two numbers are used either way."""
        hit, value = rng.random() < chance, rng.uniform(low, high)
        return float(value) if hit else 0.0

    drawn: dict[str, Any] = {
        "fines": some(0.2, 0.03, 0.15),
        "fines_size": rng.uniform(0.35, 0.5),
        "flakes": some(0.25, 0.1, 0.6),
        "needles": some(0.15, 0.1, 0.4),
        "porous": some(0.3, 0.1, 0.8),
        "pore_voxels": rng.uniform(1.2, max(1.5, size_voxels / 8)),
        "debonding": some(0.2, 0.1, 0.7),
        "dust": some(0.25, 0.001, 0.01),
        "hardening": some(0.4, 0.05, 0.35),
        "fringe": some(0.4, 0.3, 2.5),
        "noise_gray": some(0.5, -0.5, 1.0),
        "mottle": some(0.3, 0.02, 0.12),
        "mottle_voxels": rng.uniform(1.5, max(2.5, size_voxels / 5)),
        "view_noise": some(0.2, 0.02, 0.15),
        "gradient": some(0.35, 0.05, 0.5),
        "bits": 8 if rng.random() < 0.3 else 16,
        "clipped": some(0.25, 0.0005, 0.015),
    }
    where, foam, powder = rng.random(), rng.uniform(0.5, 1.0), rng.uniform(0.0, 0.15)
    # Most samples are embedded; sand and tablets are not.
    drawn["matrix_gray"] = 1.0 if where < 0.55 else foam if where < 0.7 else powder
    is_part, radius, wall_at = rng.random() < 0.5, rng.uniform(0.6, 1.5), rng.uniform(0.1, 0.4)
    drawn["container_radius"] = radius if is_part else SampleSpec.container_radius
    drawn["container_offset"] = radius - wall_at if is_part else SampleSpec.container_offset
    return drawn

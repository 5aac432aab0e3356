"""An engine without a network: border-core scores computed from gray values by a formula."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from scipy import ndimage

from ps3d_rt.core.grid import Zyx
from ps3d_rt.engines.base import Engine, EngineSpec
from ps3d_rt.model import ModelBundle


@final
class FakeEngine(Engine):
    """Bright particles on a dark ground, by threshold and erosion, the same bits everywhere.

    For normalized gray values g::

        foreground = clip(0.5 + g − threshold, 0, 1)
        core       = minimum of foreground over the cube of side 2·border_voxels + 1 (inside the patch)
        scores     = (1 − foreground, core, foreground − core)

    so a voxel half a gray unit above the threshold, with such voxels all around it, is all core.
    """

    def __init__(self, patch: Zyx, *, threshold: float = 0.0, border_voxels: int = 2) -> None:
        """Make an engine for patches of ``patch`` voxels; ``threshold`` is a normalized gray value."""
        self._threshold = np.float32(threshold)
        self._side = 2 * border_voxels + 1
        self.spec = EngineSpec(name="fake", patch=patch, device="cpu", precision="fp32", batch=2)

    def _infer(self, patches: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        foreground = np.clip(np.float32(0.5) + patches - self._threshold, 0, 1)
        core = ndimage.minimum_filter(foreground, size=(1, 1, *3 * (self._side,)), mode="nearest")
        return np.concatenate([1 - foreground, core, foreground - core], axis=1)


def fake_bundle(patch: int = 32, **fields: Any) -> ModelBundle:
    """Describe a model for :class:`FakeEngine`, without files; patches are cubes of ``patch`` voxels."""
    about = {"target_size_voxels": 12.0, "border_thickness_voxels": 2.0, "sha256": {"a.onnx": "0"}}
    return ModelBundle(name="fake", patch=(patch,) * 3, members=("a.onnx",), **(about | fields))

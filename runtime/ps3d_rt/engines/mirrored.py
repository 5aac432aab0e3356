"""A network and its mirror images as one engine: the mean of their scores."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any, final

from ps3d_rt.core.arrays import array_namespace
from ps3d_rt.engines.base import Engine


@final
class MirroredEngine(Engine):
    """The scores of a patch and of its mirror images, each turned back, summed and divided by their number."""

    def __init__(self, engine: Engine, axes: tuple[int, ...]) -> None:
        """Take over ``engine``, which is closed with this one; ``axes`` 0, 1, 2 are z, y, x.

        n axes have 2ⁿ images: the patch itself and one for every choice of axes.
        """
        self._engine = engine
        of_patches = tuple(axis + 2 for axis in axes)
        self._flips = [flip for count in range(1, len(axes) + 1) for flip in combinations(of_patches, count)]
        self.spec = replace(engine.spec, mirror_axes=axes)

    def _infer(self, patches: Any) -> Any:
        xp: Any = array_namespace(patches)
        scores = self._engine.infer(patches)
        for flip in self._flips:
            scores += xp.flip(self._engine.infer(xp.flip(patches, axis=flip)), axis=flip)
        scores /= float(1 + len(self._flips))
        return scores

    def close(self) -> None:
        """Close the engine behind."""
        self._engine.close()

"""Several networks as one engine: the mean of their scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from ps3d_rt.engines.base import Engine


@final
class EnsembleEngine(Engine):
    """The members' scores, summed in their order and divided by their number."""

    def __init__(self, members: Sequence[Engine]) -> None:
        """Take over ``members``, engines of one kind and patch; they are closed with this one."""
        self._members = tuple(members)
        self.spec = members[0].spec

    def _infer(self, patches: Any) -> Any:
        first, *others = self._members
        scores = first.infer(patches)
        for member in others:
            scores += member.infer(patches)
        scores /= float(len(self._members))
        return scores

    def close(self) -> None:
        """Close every member."""
        for member in self._members:
            member.close()

"""For processes that have a GPU each where there is none: to import this is to put the stand-in in CuPy's place."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import host_cupy
from fake_engine import FakeEngine
from ps3d_rt.core.arrays import asnumpy
from ps3d_rt.engines.base import Engine
from ps3d_rt.io.zarr_store import ZarrStore

for _name, _module in host_cupy.modules().items():
    sys.modules.setdefault(_name, _module)


@final
class GpuEngine(Engine):
    """The fake engine with its patches and scores on a GPU, though it computes on the host."""

    def __init__(self, patch: tuple[int, int, int]) -> None:
        self._host = FakeEngine(patch, threshold=2.0)
        self.spec = replace(self._host.spec, device="cuda:0")

    def _infer(self, patches: Any) -> Any:
        return sys.modules["cupy"].asarray(self._host.infer(asnumpy(patches)))


def reopened(patch: tuple[int, int, int], seen: Path) -> GpuEngine:
    """Note which process this is and what GPU it sees."""
    (seen / str(os.getpid())).write_text(os.environ["CUDA_VISIBLE_DEVICES"])
    return GpuEngine(patch)


@dataclass(frozen=True)
class Store(ZarrStore):
    """Whatever a process gets first, it gets one of these too."""

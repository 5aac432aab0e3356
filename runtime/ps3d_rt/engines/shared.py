"""An engine that other processes can open too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, final

from ps3d_rt.engines.base import Engine


@final
class SharedEngine(Engine):
    """An engine that is pickled as the function that opens it again, never as its network."""

    def __init__(self, engine: Engine, reopen: Callable[[], Engine], more_devices: tuple[str, ...] = ()) -> None:
        """Take over an engine.

        Args:
            engine: closed with this one.
            reopen: opens it in another process; is pickled.
            more_devices: GPUs on which processes open it beside its own device.
        """
        self._engine, self._reopen = engine, reopen
        self.spec = replace(engine.spec, more_devices=more_devices)

    def __reduce__(self) -> tuple[Callable[[], Engine], tuple[()]]:
        """Pickle how the engine is opened."""
        return self._reopen, ()

    def _infer(self, patches: Any) -> Any:
        return self._engine.infer(patches)

    def close(self) -> None:
        """Close the engine behind."""
        self._engine.close()

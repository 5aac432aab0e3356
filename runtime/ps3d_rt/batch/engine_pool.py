"""One engine for many runs: opened for the first that needs it, kept while the model stays the same."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from ps3d_rt.api import engine_for
from ps3d_rt.engines.base import Engine
from ps3d_rt.model import ModelBundle, load_model
from ps3d_rt.predict_options import PredictOptions

OpenEngine = Callable[[ModelBundle, PredictOptions], Engine]


def open_as_asked(bundle: ModelBundle, options: PredictOptions) -> Engine:
    """Open the engine that the options ask for."""
    return engine_for(bundle, options, options.device, int(options.gpu_memory_gib * 2**30) // 4)


class EnginePool:
    """Holds one model and its engine; use as a context manager."""

    def __init__(self, options: PredictOptions, opens: OpenEngine = open_as_asked) -> None:
        """Open nothing yet.

        Args:
            options: what decides the engine; its model is that of samples which name none.
            opens: how an engine is opened.
        """
        self.opened = 0
        """How many engines were opened so far."""
        self._options, self._opens = options, opens
        self._bundles: dict[str, ModelBundle] = {}
        self._engine: Engine | None = None
        self._engine_of = ""

    def model(self, name: str | None) -> ModelBundle:
        """Load a model, once.

        Raises:
            InputError: if there is no such model, or it is not whole.
        """
        given = self._options.model
        if name is None and isinstance(given, ModelBundle):
            return given
        wanted = str(given) if name is None else name
        if wanted not in self._bundles:
            self._bundles[wanted] = load_model(wanted)
        return self._bundles[wanted]

    def engine(self, bundle: ModelBundle) -> Engine:
        """Give the open engine of a model; that of another is closed first.

        Raises:
            CapabilityError: if the engine or the device is not there.
        """
        key = f"{bundle.path}:{bundle.hash}"
        if self._engine is None or self._engine_of != key:
            self.close()
            self._engine, self._engine_of = self._opens(bundle, self._options), key
            self.opened += 1
        return self._engine

    def close(self) -> None:
        """Close the engine, if one is open."""
        if self._engine is not None:
            self._engine.close()
        self._engine = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

"""Engines built for a GPU, kept between runs: one engine a key, beside it a manifest that says what it is.

    KEY.engine   the bytes TensorRT made
    KEY.json     the key in full, sha256 of the bytes, what the builder saw, and the accuracy gate's verdict

KEY is a hash of everything an engine depends on, so an engine of another network, version or GPU is never found.
Files appear whole or not at all; an engine whose bytes are not those of its manifest counts as missing.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from platformdirs import user_cache_dir

from ps3d_rt.core.grid import Zyx
from ps3d_rt.errors import InputError
from ps3d_rt.io.atomic_write import atomic_write
from ps3d_rt.io.json_text import read_json

logger = logging.getLogger(__name__)

VARIABLE = "PS3D_RT_CACHE"
LAYOUT = 1
"""Part of every key; raise it when the same key must give another engine."""


@dataclass(frozen=True, kw_only=True)
class EngineKey:
    """Everything an engine depends on."""

    onnx_sha256: str
    """Of the network it was built from."""
    flavour: str
    """``tensorrt`` or ``tensorrt-rtx``."""
    version: str
    """Of TensorRT."""
    gpu: str
    """Name and compute capability of the GPU; empty for an engine that is compiled on the user's GPU."""
    precision: str
    """``fp32``, ``fp16`` or ``int8``: what the network is exported in."""
    patch: Zyx
    """Input of the network, voxels z, y, x."""
    batches: tuple[int, ...]
    """Patches a call that it was built for, ascending."""

    @property
    def digest(self) -> str:
        """One sha256 over all of it: the name of the files."""
        return sha256(json.dumps({"layout": LAYOUT, **asdict(self)}, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Verdict:
    """What the accuracy gate found."""

    passed: bool
    measured: dict[str, Any]
    """F1_instance, MergerRatio and SplitterRatio of engine and fp32 reference, NaN checks, patches/s. JSON."""


@dataclass(frozen=True)
class CachedEngine:
    """An engine in the cache."""

    path: Path
    """The engine's bytes."""
    manifest: dict[str, Any]
    """``key``, ``engine_sha256``, ``facts`` and ``gate``, as in the file beside."""

    @property
    def gate(self) -> Verdict | None:
        """The accuracy gate's verdict; None if the engine has not been through it."""
        verdict = self.manifest["gate"]
        return None if verdict is None else Verdict(**verdict)

    def record_gate(self, verdict: Verdict) -> CachedEngine:
        """Write the verdict into the manifest, instead of an earlier one."""
        manifest = {**self.manifest, "gate": asdict(verdict)}
        replace_file(self.path.with_suffix(".json"), _as_bytes(manifest))
        return CachedEngine(self.path, manifest)


class EngineCache:
    """The engines of one folder."""

    def __init__(self, folder: Path | None = None) -> None:
        """Use ``folder``; None: ``engines`` in :func:`user_folder`. It is made when the first engine comes."""
        self.folder = folder or user_folder() / "engines"

    def find(self, key: EngineKey) -> CachedEngine | None:
        """Give the engine of a key.

        Returns:
            None if there is none, or it is damaged; then a warning is logged.
        """
        path = self.folder / f"{key.digest}.engine"
        try:
            manifest = read_json(path.with_suffix(".json"))
            same = sha256(path.read_bytes()).hexdigest() == manifest["engine_sha256"]
            if same and manifest.keys() >= {"facts", "gate"}:
                return CachedEngine(path, manifest)
            why = "its bytes are not those the manifest describes"
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            why = f"its manifest cannot be read ({error})"
        logger.warning("%s is damaged: %s; the engine is built again.", path, why)
        return None

    def store(self, key: EngineKey, engine: bytes, facts: Mapping[str, Any]) -> CachedEngine:
        """Keep an engine, instead of an earlier one of the same key and its verdict.

        Args:
            key: what it depends on.
            engine: as TensorRT serialized it.
            facts: what is known about it, JSON.

        Raises:
            InputError: if the folder cannot be written.
        """
        path = self.folder / f"{key.digest}.engine"
        manifest = {
            "key": asdict(key),
            "engine_sha256": sha256(engine).hexdigest(),
            "facts": dict(facts),
            "gate": None,
        }
        # The engine first: stopped in between, its manifest is missing or describes other bytes.
        replace_file(path, engine)
        replace_file(path.with_suffix(".json"), _as_bytes(manifest))
        return CachedEngine(path, json.loads(_as_bytes(manifest)))


def user_folder() -> Path:
    """Return the folder for files that can be made again: ``PS3D_RT_CACHE``, or the system's cache folder."""
    return Path(os.environ.get(VARIABLE) or user_cache_dir("ps3d-rt", appauthor=False))


def _as_bytes(manifest: Mapping[str, Any]) -> bytes:
    return (json.dumps(manifest, indent=2, allow_nan=False) + "\n").encode()


def replace_file(path: Path, content: bytes) -> None:
    """Write a file of the cache; a reader sees the old one or the new one.

    Raises:
        InputError: if the folder cannot be written.
    """
    try:
        with atomic_write(path, overwrite=True, shared=True) as unfinished:
            unfinished.write_bytes(content)
    except OSError as error:
        raise InputError(
            f"the engine cache {path.parent} cannot be written; "
            f"set the variable {VARIABLE} to a folder that can – {error}"
        ) from error

"""NumPy ``.npy`` files, memory-mapped. Nothing is ever unpickled."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ps3d_rt.io.readable import readable
from ps3d_rt.io.volume import ArrayVolume, SpacingMm, Volume, stem_of


def open_file(path: Path, spacing_mm: SpacingMm | None) -> Volume:
    """Open ``path``; the file holds no spacing, so it is None unless given."""
    with readable(str(path), "the file"):
        array = np.lib.format.open_memmap(path, mode="r")
    return ArrayVolume(array, spacing_mm, name=stem_of(path), source=str(path))

"""What every check of ``gpu_check.py`` gets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Bench:
    """What every check gets."""

    device: str
    """``cpu`` or ``cuda:N``."""
    quick: bool
    """Tiny inputs: shows that the checks work, measures nothing."""
    work: Path
    """Folder for models, scans and runs; kept between calls."""
    model: str = "default"

    @property
    def on_gpu(self) -> bool:
        return self.device != "cpu"

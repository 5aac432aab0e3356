"""A checkpoint on disk: whole or not there, and nothing in it runs when it is read."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from ps3d_rt.errors import InputError
from ps3d_rt.io.atomic_write import atomic_write
from ps3d_rt.io.read_errors import words_of

CHECKPOINT = "checkpoint_latest.pth"


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Replace ``path``; a reader finds the old one or the new one, never a part."""
    with atomic_write(path, overwrite=True) as unfinished:
        torch.save(content, unfinished)


def read_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read tensors and plain values.

    Raises:
        InputError: if the file is not a checkpoint, or holds anything else.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        raise InputError(
            f"{path} is not a checkpoint that can be read; delete it and train again{words_of(error)}."
        ) from error
    if not isinstance(content, dict) or "plan" not in content:
        raise InputError(f"{path} was not written by ps3d-rt train run.")
    return content

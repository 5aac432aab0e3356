"""A 2-D U-Net, slice by slice: the foreground of the paper's second baseline, which then erodes and grows.

The network is an ONNX file with input (1, 1, y, x) float32, gray values standardized over the volume as for our own
network, and output (1, 2, y, x): scores of background and particle. Height and width are dynamic, in multiples of 32.
``unet2d_training.py`` trains one; any framework can.

Source: Gotkowski et al., Powder Technology 434 (2024) 119286, section on baselines.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ps3d_rt.core.arrays import Array
from ps3d_rt.core.normalize import gray_scale, zscore
from ps3d_rt.errors import InputError

MULTIPLE = 32
"""Sides that a network with up to five poolings takes."""


class SliceNetwork:
    """The network, ready to run on the CPU.

    Raises:
        InputError: if ``path`` is no ONNX file.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        import onnxruntime  # noqa: PLC0415 - heavy

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise InputError(f"{path} cannot be read as a network ({error}). Pass an ONNX file.") from error
        self._input = self._session.get_inputs()[0].name

    def foreground(self, image: Array) -> Array:
        """Say where particles are: (z, y, x) gray values → bool.

        Raises:
            InputError: if the network's output is not of two classes.
        """
        _, height, width = image.shape
        found = np.empty(image.shape, np.bool_)
        for z, plane in enumerate(zscore(image, gray_scale(image))):
            taken = padded(plane)
            (scores,) = self._session.run(None, {self._input: taken})
            if scores.shape != (1, 2, *taken.shape[2:]):
                raise InputError(f"the 2-D network gives {scores.shape} for {taken.shape}; it must give two classes.")
            found[z] = (scores[0, 1] > scores[0, 0])[:height, :width]
        return found


def padded(plane: Array) -> Array:
    """Make a slice fit the network: (y, x) → (1, 1, y, x), its far edges repeated up to multiples of 32.

    >>> padded(np.zeros((30, 65), np.float32)).shape
    (1, 1, 32, 96)
    """
    return np.pad(plane, [(0, -side % MULTIPLE) for side in plane.shape], mode="edge")[None, None]

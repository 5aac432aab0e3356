"""Particles in Compox, TESCAN's host for Python algorithms: slices in, one label per particle out.

Written against compox 3.2, which calls the methods of :class:`Runner` in the order of this file.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from compox.algorithm_utils.Image2SegmentationRunner import Image2SegmentationRunner
from host_data import HostProgress, as_volume, device_of, fitting, particle_size_of, spacing_of

import ps3d_rt

MODEL = "files/model.ps3d"
"""Asset: a zipped model bundle. Without it the bundled model is used."""


class Runner(Image2SegmentationRunner):
    """Image → labels, as :func:`ps3d_rt.predict` gives them."""

    def load_assets(self) -> None:
        """Load the model, once for all runs of this runner."""
        try:
            asset = self.fetch_asset(MODEL)
        except FileNotFoundError:
            self.model = ps3d_rt.load_model("default")
            return
        with tempfile.TemporaryDirectory(prefix="ps3d-rt-compox-") as folder:
            archive = Path(folder) / Path(MODEL).name
            archive.write_bytes(asset.read())
            self.model = ps3d_rt.load_model(archive)

    def inference(self, data: np.ndarray[Any, Any], args: dict[str, Any] | None = None) -> np.ndarray[Any, Any]:
        """Segment slices.

        Args:
            data: (z, y, x) gray values.
            args: the parameters of ``pyproject.toml``.

        Returns:
            (z, y, x) labels 1..N, 0 is no particle, of the type that was asked for.

        Raises:
            ps3d_rt.errors.InputError: if the slices or a parameter cannot be used, or there are more particles than
                labels of the type can tell apart.
        """
        args = args or {}
        found = ps3d_rt.predict(
            as_volume(data),
            spacing=spacing_of(args),
            particle_size=particle_size_of(args),
            model=self.model,
            engine=str(args.get("engine", "auto")),
            device=device_of(self.device),
            progress=HostProgress(self.set_progress),
        )
        for text in found.run["warnings"]:
            self.log_message(text, "WARNING")
        return fitting(found.labels, len(found.particles), str(args.get("label_type", "uint16")))

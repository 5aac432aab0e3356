"""Labelled samples in the published layout: ``images``, ``instance_seg`` and ``metadata.json`` in one folder.

A sample that is labelled in part has a third volume, in ``annotated``: not 0 where the labels hold, background or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ps3d_rt.core.grid import Box
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import SpacingMm, check_spacing
from ps3d_rt.io.json_text import read_json
from ps3d_rt.io.names import stem_of
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.read_errors import parse_errors
from ps3d_rt.io.spacing import contradicted

_LAYOUT = (
    'a folder of samples holds images, instance_seg and metadata.json: {"NAME": {"spacing": mm, "particle_size": mm}}'
)


@dataclass(frozen=True)
class LabelledScan:
    """One labelled scan on disk."""

    name: str
    image: Path
    instances: Path
    spacing_mm: SpacingMm
    particle_size_mm: float
    """Mean diameter of the particles."""
    annotated: Path | None = None
    """Volume that is not 0 where the labels are valid; None: everywhere."""

    def read(self, on_warning: Callable[[str], object] = lambda text: None) -> tuple[NDArray[Any], NDArray[Any]]:
        """Read gray values and particle ids.

        Args:
            on_warning: gets the warnings of the files, and those about a spacing that contradicts ``metadata.json``.

        Returns:
            (z, y, x) gray values and (z, y, x) integers, 0 is no particle. Labels saved as whole floats, as the
            published tools do, come as int64.

        Raises:
            InputError: if their shapes differ, the labels are no whole numbers, or only a part is labelled.
        """
        image, instances, known = self.read_partly(on_warning)
        if known is not None and not known.all():
            raise InputError(
                f"sample {self.name}: {known.mean():.1%} of its voxels are labelled, and all are needed here; finish "
                "it, or take it out of metadata.json."
            )
        return image, instances

    def read_partly(
        self, on_warning: Callable[[str], object] = lambda text: None
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_] | None]:
        """Read what :meth:`read` does, and which voxels are labelled, (z, y, x); None: all of them.

        Raises:
            InputError: if shapes differ, or the labels are no whole numbers.
        """
        image, instances = (self._read(path, on_warning) for path in (self.image, self.instances))
        if image.shape != instances.shape:
            raise InputError(f"sample {self.name}: the image is {image.shape} voxels, its labels {instances.shape}.")
        known = self.read_annotated()
        if known is not None and known.shape != image.shape:
            raise InputError(f"{self.annotated} has {known.shape} voxels, the image {image.shape}; both must agree.")
        if instances.dtype.kind in "iu":
            return image, instances, known
        whole = instances.astype(np.int64)
        if not np.array_equal(whole, instances):
            raise InputError(
                f"{self.instances} is {instances.dtype} with values between the labels; labels are whole numbers."
            )
        return image, whole, known

    def read_annotated(self) -> NDArray[np.bool_] | None:
        """Read which voxels are labelled, (z, y, x); None: all of them."""
        if self.annotated is None:
            return None
        known: NDArray[np.bool_] = read_whole(self.annotated) != 0
        return known

    def _read(self, path: Path, on_warning: Callable[[str], object]) -> NDArray[Any]:
        with open_volume(path) as volume:
            contradictions = contradicted(self.spacing_mm, "metadata.json", volume.spacing_mm, str(path))
            for text in (*volume.warnings, *contradictions):
                on_warning(text)
            return volume.read(Box.of_shape(volume.shape))


def find_samples(folder: Path) -> Iterator[LabelledScan]:
    """List the samples that ``folder/metadata.json`` names, in its order.

    Raises:
        InputError: naming the file or the entry that is missing or wrong.
    """
    listing = folder / "metadata.json"
    try:
        with parse_errors(listing, "JSON", _LAYOUT):
            metadata = read_json(listing)
    except FileNotFoundError as error:
        raise InputError(f"{listing} is not there; {_LAYOUT}.") from error
    except OSError as error:
        raise InputError(f"{listing} cannot be read; check the file – {error.strerror or error}") from error
    if not isinstance(metadata, dict) or not metadata:
        raise InputError(f"{listing} names no sample; {_LAYOUT}.")
    for name, entry in metadata.items():
        try:
            # The published tools write one number; a scanner may differ per axis.
            spacing = np.asarray(entry["spacing"], float).tolist()
            size = float(entry["particle_size"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"{listing}: {name} needs numbers spacing and particle_size, in mm.") from error
        if not (isfinite(size) and size > 0):
            raise InputError(f"{listing}: {name} has particle_size {size:g}; it is a diameter in mm, above 0.")
        image, instances = _find(folder / "images", name), _find(folder / "instance_seg", name)
        where = folder / "annotated"
        known = _find(where, name) if where.is_dir() else None
        yield LabelledScan(name, image, instances, check_spacing(spacing, f"{listing}: {name}"), size, known)


def read_whole(path: Path) -> NDArray[Any]:
    """Read a volume into memory: (z, y, x), native dtype."""
    with open_volume(path) as volume:
        return volume.read(Box.of_shape(volume.shape))


def _find(folder: Path, name: str) -> Path:
    """Find the one volume of ``folder`` that is called ``name``, whatever its format."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder. Samples are images, instance_seg and metadata.json.")
    found = [path for path in sorted(folder.iterdir()) if stem_of(path) == name]
    if len(found) != 1:
        raise InputError(f"{folder} holds {len(found)} volumes called {name}; it must hold one, such as {name}.tif.")
    return found[0]


def simulated_note(scan: Path) -> tuple[str, ...]:
    """Say that a scan is simulated if it lies in a folder that ``ps3d-rt synth`` made; () if that is not known."""
    listing = scan.parent.parent / "metadata.json"
    try:
        entry = read_json(listing)[scan.stem]
        simulated = "simulated" in entry
    except (OSError, ValueError, LookupError, TypeError):
        return ()
    return ("This scan is simulated, made by ps3d-rt synth: no real sample was measured.",) if simulated else ()

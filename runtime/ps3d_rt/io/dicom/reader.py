"""Reads DICOM: a folder of one series, or one file with many frames."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import imagecodecs
import numpy as np

from ps3d_rt.errors import InputError, not_installed
from ps3d_rt.io.base import SpacingMm, Volume
from ps3d_rt.io.dicom.series import ImageHeader, arrange
from ps3d_rt.io.read_errors import read_errors
from ps3d_rt.io.slices.volume import SLICE_THREADS, SliceFiles, SlicesVolume
from ps3d_rt.io.spacing import spacing_that_counts

_ENDINGS = (".dcm", ".dicom", ".ima")
_MAGIC_AT, _MAGIC = 128, b"DICM"
_DIRECTORY = "1.2.840.10008.1.3.10"
"""Media storage directory: a list of files, no image."""
_CODECS: dict[str, Callable[[bytes], Any]] = {
    "1.2.840.10008.1.2.4.50": imagecodecs.jpeg_decode,
    "1.2.840.10008.1.2.4.51": imagecodecs.jpeg_decode,
    "1.2.840.10008.1.2.4.57": imagecodecs.ljpeg_decode,
    "1.2.840.10008.1.2.4.70": imagecodecs.ljpeg_decode,
    "1.2.840.10008.1.2.4.80": imagecodecs.jpegls_decode,
    "1.2.840.10008.1.2.4.81": imagecodecs.jpegls_decode,
    "1.2.840.10008.1.2.4.90": imagecodecs.jpeg2k_decode,
    "1.2.840.10008.1.2.4.91": imagecodecs.jpeg2k_decode,
}
"""Transfer syntax → decoder; pydicom reads those that are not compressed, deflated or run-length encoded itself."""
_PLAIN = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"}
_SEQUENCE_END = b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"
_MOST_PADDING_BYTES = 4096
_LOSSY = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.91"}

Place = tuple[Path, int, ImageHeader]
"""File, frame, and what its header says."""


def dicom_files(folder: Path, names: Iterable[str]) -> list[str]:
    """List the DICOM files of ``folder`` among ``names``, by their ending, or without a known one by their content."""
    found = []
    for name in names:
        suffix = Path(name).suffix.lower()
        if suffix in _ENDINGS or ((not suffix or re.fullmatch(r"\.\d+", suffix)) and _is_dicom(folder / name)):
            found.append(name)
    return found


def open_file(path: Path, spacing_mm: SpacingMm | None) -> Volume:
    """Open one file with many frames.

    Raises:
        InputError: if it is broken, no gray volume, or one slice only.
        CapabilityError: if pydicom is not installed.
    """
    return _open([path], path, spacing_mm)


def open_series(folder: Path, names: Iterable[str], spacing_mm: SpacingMm | None) -> Volume:
    """Open the series that the files ``names`` of ``folder`` are; raises as :func:`open_file`."""
    return _open([folder / name for name in names], folder, spacing_mm)


def _open(files: list[Path], path: Path, spacing_mm: SpacingMm | None) -> Volume:
    pydicom = _pydicom()
    with ThreadPoolExecutor(SLICE_THREADS) as pool:
        read = list(pool.map(partial(_images, pydicom), files))
    places = [place for of_file, _ in read for place in of_file]
    if not places:
        raise InputError(f"{path}: no file of {len(files)} holds a DICOM image; give the folder of the series.")
    images = [image for _, _, image in places]
    series = arrange(images, str(path))
    dtype = _dtype(images)
    slices = SliceFiles(
        [places[index] for index in series.order], partial(_decode, pydicom, dtype), images[0].shape, dtype
    )
    stated = spacing_that_counts(spacing_mm, lambda: series.spacing, str(path))
    volume = SlicesVolume(slices, stated.spacing_mm, path)
    volume.warn(*stated.remarks, *(f"{path}: {remark}" for remark in series.remarks))
    if any(is_lossy for _, is_lossy in read):
        volume.warn(
            f"{path}: the slices were compressed with loss of detail; export the scan again without if you can."
        )
    return volume


def _pydicom() -> ModuleType:
    try:
        import pydicom  # noqa: PLC0415
        import pydicom.errors  # noqa: PLC0415
        import pydicom.pixels  # noqa: PLC0415
    except ImportError as error:
        raise not_installed(f"pydicom does not load ({error})", "ps3d-rt[dicom]") from error
    # pydicom warns of every value that the standard would write differently; what matters is checked here.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"pydicom(\.|$)")
    return pydicom


def _readable(pydicom: ModuleType, path: Path, what: str) -> AbstractContextManager[None]:
    errors = pydicom.errors
    return read_errors(str(path), what, also=(errors.InvalidDicomError, errors.BytesLengthException))


def _is_dicom(path: Path) -> bool:
    with read_errors(str(path), "the file"), path.open("rb") as file:
        file.seek(_MAGIC_AT)
        return file.read(len(_MAGIC)) == _MAGIC


def _images(pydicom: ModuleType, path: Path) -> tuple[list[Place], bool]:
    """Read the headers of the frames of a file, none if it holds no image, and whether they have lost detail."""
    if not _is_dicom(path):
        raise InputError(f"{path}: is not a DICOM file, or its start is damaged; copy or export it again.")
    with _readable(pydicom, path, "the DICOM header"), path.open("rb") as file:
        data = pydicom.dcmread(file, stop_before_pixels=True)
        if data.file_meta.get("MediaStorageSOPClassUID") == _DIRECTORY:
            return [], False
        if "Rows" not in data or "Columns" not in data or "BitsAllocated" not in data:
            raise InputError(f"{path}: holds no DICOM image, or it is cut short; remove it, or copy it again.")
        _check_gray(data, path)
        count = int(data.get("NumberOfFrames") or 1)
        _check_whole(file, data, count, path)
        lossy = data.file_meta.TransferSyntaxUID in _LOSSY or data.get("LossyImageCompression") == "01"
        return [(path, frame, _header(data, path, frame, count)) for frame in range(count)], lossy


def _check_gray(data: Any, path: Path) -> None:
    kind = data.get("PhotometricInterpretation", "MONOCHROME2")
    if int(data.get("SamplesPerPixel", 1)) != 1 or not kind.startswith("MONOCHROME"):
        raise InputError(f"{path}: found colour ({kind}); a volume has one gray value per voxel: export it in gray.")


def _check_whole(file: IO[bytes], data: Any, count: int, path: Path) -> None:
    """Check that the pixels that start at the position of ``file`` are all there: a decoder may fill in what is not."""
    syntax, start = data.file_meta.TransferSyntaxUID, file.tell()
    there = file.seek(0, 2) - start
    if syntax in _PLAIN:
        is_whole = there >= int(data.Rows) * int(data.Columns) * count * int(data.BitsAllocated) // 8
    else:
        file.seek(-min(there, _MOST_PADDING_BYTES), 2)
        is_whole = not syntax.is_encapsulated or _SEQUENCE_END in file.read()
    if not is_whole:
        raise InputError(f"{path}: has not all its pixels: it is cut short; copy or export it again.")


def _header(data: Any, path: Path, frame: int, count: int) -> ImageHeader:
    """Read what is said of a frame: by the frame's own group, the group that all share, or the file."""
    groups = [
        group
        for name, at in (("PerFrameFunctionalGroupsSequence", frame), ("SharedFunctionalGroupsSequence", 0))
        if len(sequence := data.get(name) or ()) > at
        for group in [sequence[at]]
    ]

    def said(sequence: str, key: str) -> Any:
        inside = [group[sequence].value[0] for group in groups if group.get(sequence)]
        return next((part.get(key) for part in [*inside, data] if part.get(key) is not None), None)

    pixel, position = (
        said("PixelMeasuresSequence", "PixelSpacing"),
        said("PlanePositionSequence", "ImagePositionPatient"),
    )
    orientation = said("PlaneOrientationSequence", "ImageOrientationPatient")
    slope, intercept = (said("PixelValueTransformationSequence", f"Rescale{part}") for part in ("Slope", "Intercept"))
    step, bits = said("PixelMeasuresSequence", "SpacingBetweenSlices"), int(data.BitsAllocated)
    if count > 1 and not groups:  # an old multi-frame file: its one position is that of the first frame
        position = None
    number = frame if count > 1 else data.get("InstanceNumber")
    return ImageHeader(
        name=path.name if count == 1 else f"{path.name}, frame {frame}",
        series=str(data.get("SeriesInstanceUID", "")),
        title=str(data.get("SeriesDescription", "")),
        shape=(int(data.Rows), int(data.Columns)),
        dtype=f"{'int' if data.get('PixelRepresentation') else 'uint'}{max(8, bits)}",
        slope=1.0 if slope is None else float(slope),
        intercept=float(intercept or 0),
        pixel_mm=None if not pixel else (float(pixel[0]), float(pixel[1])),
        position_mm=None if not position else (float(position[0]), float(position[1]), float(position[2])),
        orientation=None if not orientation else tuple(float(cosine) for cosine in orientation),
        number=None if number is None else int(number),
        step_mm=None if step is None else float(step),
        is_inverted=data.get("PhotometricInterpretation") == "MONOCHROME1",
    )


def _dtype(images: Iterable[ImageHeader]) -> np.dtype[Any]:
    """Tell the type of the gray values: as stored, or float if any image has a slope or an intercept."""
    first, *_ = images = list(images)
    stored = np.dtype(first.dtype)
    if not any(image.is_scaled for image in images):
        return stored
    return np.dtype(np.float32 if stored.itemsize <= 2 else np.float64)


def _decode(pydicom: ModuleType, dtype: np.dtype[Any], place: Place) -> np.ndarray[Any, Any]:
    path, frame, header = place
    with _readable(pydicom, path, "the DICOM image"):
        stored = np.asarray(_stored(pydicom, path, frame))
        if header.is_scaled or dtype.kind == "f":
            scaled: np.ndarray[Any, Any] = stored * dtype.type(header.slope) + dtype.type(header.intercept)
            return scaled.astype(dtype, copy=False)
        return stored.astype(dtype, copy=False)


def _stored(pydicom: ModuleType, path: Path, frame: int) -> Any:
    codec, packed, frames = _packed(pydicom, path)
    if codec is None:
        return pydicom.pixels.pixel_array(path, index=frame, raw=True)
    return codec(pydicom.encaps.get_frame(packed, frame, number_of_frames=frames))


@lru_cache(maxsize=SLICE_THREADS)
def _packed(pydicom: ModuleType, path: Path) -> tuple[Callable[[bytes], Any] | None, bytes, int]:
    """Read the compressed frames of a file, once for all of them; no bytes if pydicom decodes them itself."""
    data = pydicom.dcmread(path, stop_before_pixels=True)
    codec = _CODECS.get(data.file_meta.TransferSyntaxUID)
    if codec is None:
        return None, b"", 0
    return codec, pydicom.dcmread(path).PixelData, int(data.get("NumberOfFrames") or 1)

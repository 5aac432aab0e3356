"""A folder of slices, one file a slice: TIFF, PNG, BMP, JPEG 2000 or JPEG; or a DICOM series."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ps3d_rt.errors import InputError
from ps3d_rt.io.base import SpacingMm, Volume
from ps3d_rt.io.dicom.reader import dicom_files, open_series
from ps3d_rt.io.slices.images import SLICE_FORMATS, SliceFormat, SliceHeader
from ps3d_rt.io.slices.order import order_slices, written_apart
from ps3d_rt.io.slices.projections import check_projections
from ps3d_rt.io.slices.skyscan import facts_of, previews, read_logs
from ps3d_rt.io.slices.volume import SLICE_THREADS, SliceFiles, SlicesVolume
from ps3d_rt.io.spacing import StatedSpacing, spacing_that_counts
from ps3d_rt.io.tiff_values import calibrated


def open_file(path: Path, spacing_mm: SpacingMm | None) -> Volume:
    """Open the folder ``path``; every slice's header is read and compared with the others.

    Raises:
        InputError: if the files are not the slices of one whole volume, or one is cut short, colour, multi-page, or
            of another shape or dtype.
    """
    files = sorted(file for file in path.iterdir() if not file.is_dir() and not file.name.startswith("."))
    if lost := [file.name for file in files if not file.is_file()]:
        raise InputError(f"{path}: {lost[0]} is a link to a missing file; copy that file here, or remove the link.")
    names = [file.name for file in files]
    if dicom := dicom_files(path, names):
        _check_no_images(names, dicom, path)
        return open_series(path, dicom, spacing_mm)
    logs = read_logs(path, names)
    aside = previews(names, logs)
    kind, of_kind, remarks = _kind_of([name for name in names if name not in aside], path)
    order = order_slices(of_kind, str(path))
    places = [path / name for name in order.names]
    with ThreadPoolExecutor(SLICE_THREADS) as pool:
        headers = list(pool.map(kind.header_of, places))
    _check_equal(places, headers)
    slices = SliceFiles(places, kind.decode, headers[0].shape, headers[0].dtype)
    said = facts_of(logs, prefix=order.prefix, count=len(places), shape=slices.shape, folder=path)
    stated = spacing_that_counts(spacing_mm, lambda: StatedSpacing(said.spacing_mm), str(path))
    volume = SlicesVolume(slices, stated.spacing_mm, path)
    volume.warn(*stated.remarks)
    warning = check_projections(path, names, count=len(places), shape=slices.shape)
    volume.warn(*(f"{path}: {text}" for text in [*remarks, *order.remarks, *said.remarks, warning] if text))
    volume.warn(*(f"{path}: the slices {header.remark}" for header in headers if header.remark))
    if apart := written_apart(order.names, [place.stat().st_mtime for place in places]):
        volume.warn(f"{path}: {apart}")
    return calibrated(volume, dict(headers[0].calibration) or None)


def _images_among(names: list[str]) -> list[tuple[SliceFormat, list[str]]]:
    found = [(kind, [name for name in names if Path(name).suffix.lower() in kind.endings]) for kind in SLICE_FORMATS]
    return [(kind, of_kind) for kind, of_kind in found if of_kind]


def _check_no_images(names: list[str], dicom: list[str], path: Path) -> None:
    for kind, of_kind in _images_among(names):
        if len(of_kind) > 1:
            raise InputError(
                f"{path}: found {len(dicom)} DICOM and {len(of_kind)} {kind.name} files; a folder holds one scan: move "
                "the others to folders of their own."
            )


def _kind_of(names: list[str], path: Path) -> tuple[SliceFormat, list[str], list[str]]:
    """Find the format of the slices, their names, and what is ignored.

    A single image beside many of another format is a preview; two formats with several files each are two scans.
    """
    found = _images_among(names)
    if not found:
        allowed = ", ".join(ending for kind in SLICE_FORMATS for ending in kind.endings)
        inside = names or [f"{folder.name}/" for folder in sorted(path.iterdir()) if folder.is_dir()]
        there = f"; it holds {', '.join(inside[:3])}{' …' * (len(inside) > 3)}" if inside else ", it is empty"
        raise InputError(
            f"{path}: the folder holds no slices ({allowed}){there}: give a folder of slices, or the file itself."
        )
    several = [pair for pair in found if len(pair[1]) > 1] or found
    if len(several) > 1:
        said = " and ".join(f"{len(of_kind)} {kind.name} files" for kind, of_kind in several)
        raise InputError(f"{path}: found {said}; a folder holds one scan: move the others to folders of their own.")
    kind, of_kind = several[0]
    aside = [name for other, names in found if other is not kind for name in names]
    return kind, of_kind, [f"{name} is left aside: the slices are {kind.name}." for name in aside]


def _check_equal(places: list[Path], headers: list[SliceHeader]) -> None:
    if len({header.calibration for header in headers}) > 1:
        raise InputError(
            f"{places[0].parent}: the slices have several calibrations of gray values; export them again with one."
        )
    layouts = [(header.shape, header.dtype.name) for header in headers]
    usual = Counter(layouts).most_common(1)[0][0]
    odd = [(place, layout) for place, layout in zip(places, layouts, strict=True) if layout != usual]
    if odd:
        place, (shape, dtype) = odd[0]
        more = f" (and {len(odd) - 1} more)" if len(odd) > 1 else ""
        raise InputError(
            f"{place}: the slice{more} is {shape} {dtype}, the other {len(places) - len(odd)} are {usual[0]} "
            f"{usual[1]}; all slices of a volume have one shape and type: remove or export it again."
        )

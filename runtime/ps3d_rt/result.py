"""What a prediction gives in Python, or what one has left in a folder: to look at, to save, to go on with."""

from __future__ import annotations

import webbrowser
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from ps3d_rt.core.arrays import asnumpy, borrowed
from ps3d_rt.io.base import ArrayVolume, Volume
from ps3d_rt.io.names import file_and_inside
from ps3d_rt.io.open import open_volume
from ps3d_rt.io.raw import bare_layout
from ps3d_rt.io.table import read_dropped, read_table
from ps3d_rt.particles import Particles
from ps3d_rt.pipeline import RunResult
from ps3d_rt.report import render_report, take_pictures
from ps3d_rt.run_record import read_record


@dataclass(frozen=True)
class Report:
    """The page of a result: shown by notebooks, or saved."""

    html: str

    def save(self, path: str | Path) -> Path:
        """Write the page, which needs nothing but itself; a file that is there is replaced."""
        path = Path(path)
        path.write_text(self.html, encoding="utf-8", newline="\n")
        return path

    def open(self, path: str | Path = "report.html") -> Path:
        """Save the page and open it in the browser."""
        saved = self.save(path)
        webbrowser.open(saved.resolve().as_uri())
        return saved

    def __repr__(self) -> str:
        return f"<report, {len(self.html) / 1e6:.1f} MB>"

    def _repr_html_(self) -> str:
        frame = 'width="100%" height="800" style="border: 0"'
        return f'<iframe srcdoc="{escape(self.html)}" {frame}></iframe>'


@dataclass(frozen=True, repr=False)
class Result(RunResult):
    """What a prediction gives; :func:`ps3d_rt.open_result` gives the same of a folder."""

    particles: Particles
    """One row a particle."""
    scan: Any = None
    """Path, array or volume that was segmented; None if it is not there any more."""
    layout: Mapping[str, Any] = field(default_factory=dict)
    """How a raw file of the scan is laid out: keywords of :func:`ps3d_rt.io.open.open_volume`."""

    def report(self) -> Report:
        """Draw the report, with slices of the scan if it is there."""
        labels, scan = self._labels(), self.open_scan()
        pictures = take_pictures(None if scan is None else scan.read, labels.read, labels.shape, self.particles)
        return Report(render_report(self.run, self.particles, pictures))

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write what ``ps3d-rt predict`` writes: labels, table, dropped particles, report and ``run.json``.

        Args:
            folder: appears when it is complete.
            overwrite: replace an output that is there.

        Raises:
            InputError: if the folder is there, or is not an output of ours.
        """
        from ps3d_rt.output import REPORT, save_output  # noqa: PLC0415 - loads the writers

        folder = Path(folder)
        save_output(folder, self._labels(), self.particles, self.dropped, self.run, overwrite=overwrite)
        self.report().save(folder / REPORT)
        return folder

    def show(self, color_by: str | None = None) -> Any:
        """Show scan, labels and table in napari; gives the viewer.

        Args:
            color_by: column of the table; None gives every particle any colour.

        Raises:
            CapabilityError: if napari is not installed, or cannot show a window here.
            InputError: if there is no such column.
        """
        from ps3d_rt.view.napari_layers import add_arrays, open_viewer  # noqa: PLC0415 - needs an extra

        viewer = open_viewer("ps3d-rt")
        labels = self.labels if isinstance(self.labels, Volume) else asnumpy(self.labels)
        add_arrays(viewer, self.open_scan(), [labels], self.particles, self.run["scan"]["spacing_mm"], color_by)
        return viewer

    def _labels(self) -> Volume:
        if isinstance(self.labels, Volume):
            return self.labels
        return ArrayVolume(asnumpy(self.labels), self.run["scan"]["spacing_mm"], name=self.run["scan"]["name"])

    def open_scan(self) -> Volume | None:
        """Open what was segmented; None if it is not there any more."""
        if isinstance(self.scan, str | Path):
            there = file_and_inside(Path(self.scan))[0].exists()
            return open_volume(self.scan, spacing_mm=self.run["scan"]["spacing_mm"], **self.layout) if there else None
        if self.scan is None or isinstance(self.scan, Volume):
            return self.scan
        return ArrayVolume(asnumpy(borrowed(self.scan)), self.run["scan"]["spacing_mm"])

    def __repr__(self) -> str:
        z, y, x = self.labels.shape
        return f"<Result: {len(self.particles)} particles in {z} × {y} × {x} voxels>"

    def _repr_html_(self) -> str:
        """Show a middle slice's facts and the table in a notebook."""
        return f"<p>{escape(repr(self)[1:-1])}</p>{self.particles._repr_html_()}"


def read_result(folder: Path) -> Result:
    """Open an output as a result; its labels and its scan are read when they are asked for.

    Raises:
        InputError: if the folder is not an output of ours, or a file in it is damaged.
    """
    from ps3d_rt.output import check_mark  # noqa: PLC0415 - loads the writers
    from ps3d_rt.run_folder import MARK  # noqa: PLC0415

    check_mark(folder)
    record = read_record(folder / MARK)
    scan, found = record.scan, Path(record.scan.source)
    there = file_and_inside(found)[0].exists()
    return Result(
        labels=open_volume(folder / f"{scan.name}.ome.zarr"),
        particles=Particles.from_table(read_table(folder)),
        dropped=read_dropped(folder),
        run=record.to_json(),
        scan=found if there else None,
        layout=bare_layout(found, scan.shape, scan.dtype) if there else {},
    )

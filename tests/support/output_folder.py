"""An output as `predict` writes it, from labels that are known: labels, table and run.json, no network."""

import json
from pathlib import Path

import numpy as np

from ps3d_rt.core.measure import measure
from ps3d_rt.io.labels_writer import LabelsZarr, create_labels
from ps3d_rt.io.table import write_table


def write_output(folder: Path, labels, scan, *, spacing_mm=0.01, model="fake", **gray):
    """Write OUT and, beside it, the scan as npy; returns OUT. ``gray`` is what run.json says of gray values."""
    scan_path = folder.parent / f"{folder.name}-scan.npy"
    np.save(scan_path, scan)
    spacing = (spacing_mm,) * 3
    folder.mkdir()
    create_labels(folder / "scan.ome.zarr", "scan", labels.shape, spacing)
    store = LabelsZarr(folder / "scan.ome.zarr")
    for box in store.boxes(0):
        store.write(box, labels[box.slices].astype(np.uint32))
    write_table(measure(labels, spacing, scan), folder)
    about = {"name": "scan", "source": str(scan_path), "shape": labels.shape, "dtype": str(scan.dtype)}
    run = {"scan": about | {"spacing_mm": spacing}, "model": {"name": model, "sha256": model}, "gray": gray}
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    return folder

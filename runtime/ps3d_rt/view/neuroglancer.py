"""An output in Neuroglancer: the state of the viewer as JSON, and a link that opens it.

The browser fetches everything from where the output folder is served; nothing is sent anywhere. State and link follow
https://github.com/google/neuroglancer: layers, dimensions with units, and a link whose part after ``#!`` is the address
of a state.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ps3d_rt.io.labels_writer import GROUP
from ps3d_rt.output import Output
from ps3d_rt.view.colours import colours_by

STATE_NAME = "neuroglancer.json"
VIEWER = "https://neuroglancer-demo.appspot.com"


def state_of(output: Output, address: str, color_by: str | None = None) -> dict[str, Any]:
    """Describe what Neuroglancer shows: the labels, and every other OME-Zarr in the folder as an image.

    Args:
        output: of a run.
        address: where its folder is served, such as ``http://127.0.0.1:9000``.
        color_by: column of the table; None gives every particle any colour.

    Raises:
        InputError: if there is no such column.
    """
    folder, labels = output.labels_path.parent, output.labels_path
    axes = list(zip("zyx", output.record.scan.spacing_mm, output.labels.shape, strict=True))[::-1]
    images = [
        {"type": "image", "name": path.name, "source": f"zarr://{address}/{path.name}/"}
        for path in sorted(folder.glob("*.zarr"))
        if path != labels
    ]
    particles: dict[str, Any] = {
        "type": "segmentation",
        "name": "particles",
        "source": f"zarr://{address}/{labels.name}/{GROUP}/",
    }
    if color_by is not None:
        colours = (255 * colours_by(output.table, color_by)).round().astype(int).tolist()
        named = zip(output.table.label.tolist(), colours, strict=True)
        particles["segmentColors"] = {str(label): f"#{r:02x}{g:02x}{b:02x}" for label, (r, g, b) in named}
    return {
        "dimensions": {axis: [spacing, "mm"] for axis, spacing, _ in axes},
        "position": [n / 2 for _, _, n in axes],
        "layers": [*images, particles],
        "layout": "4panel",
    }


def link_to(address: str) -> str:
    """Link that opens the state in a browser."""
    return f"{VIEWER}/#!{address}/{STATE_NAME}"


def serve_hint(folder: Path, address: str) -> str:
    """Say how to serve the folder, so that a page of another origin may read it."""
    port = address.rpartition(":")[2].strip("/")
    return f"serve the folder with CORS, then open the link: npx http-server {folder} --cors -p {port}"

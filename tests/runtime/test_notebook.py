"""The notebook of the docs runs from top to bottom in a kernel of its own."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[2] / "docs/notebook.ipynb"
NEEDED = ("nbclient", "nbformat", "ipykernel", "matplotlib")
missing = [name for name in NEEDED if find_spec(name) is None]


@pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")
@pytest.mark.filterwarnings("ignore")  # those of Jupyter's own packages
def test_the_notebook_runs_and_shows_labels_table_and_plot(monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat  # noqa: PLC0415
    from nbclient import NotebookClient  # noqa: PLC0415

    for name in ("DISPLAY", "PYTHONWARNINGS"):  # no window opens
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not [cell for cell in notebook.cells if cell.cell_type == "code" and cell.outputs], "kept without outputs"
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    shown: list[Any] = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pages = "".join("".join(output.data.get("text/html", "")) for output in shown if "data" in output)
    assert "equivalent_diameter_mm" in pages, "the table"
    assert " particles in " in pages, "the bar has become a line"
    assert sum("image/png" in output.get("data", {}) for output in shown) == 2, "labels and size distribution"
    assert not [output for output in shown if output.get("name") == "stderr"]

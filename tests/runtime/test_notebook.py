"""The notebooks of the docs run from top to bottom, each in a kernel of its own."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"
NEEDED = ("nbclient", "nbformat", "ipykernel", "matplotlib")
missing = [name for name in NEEDED if find_spec(name) is None]
pytestmark = [
    pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}"),
    pytest.mark.filterwarnings("ignore"),  # those of Jupyter's own packages
]


def outputs_of(name: str, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Run a notebook, which is kept without outputs; gives what it showed."""
    import nbformat  # noqa: PLC0415
    from nbclient import NotebookClient  # noqa: PLC0415

    for variable in ("DISPLAY", "PYTHONWARNINGS"):  # no window opens
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    notebook = nbformat.read(DOCS / name, as_version=4)
    assert not [cell for cell in notebook.cells if cell.cell_type == "code" and cell.outputs], "kept without outputs"
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    shown: list[Any] = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in shown if output.get("name") == "stderr"]
    return shown


def html_of(shown: list[Any]) -> str:
    return "".join("".join(output.data.get("text/html", "")) for output in shown if "data" in output)


def pictures_in(shown: list[Any]) -> int:
    return sum("image/png" in output.get("data", {}) for output in shown)


def test_the_notebook_runs_and_shows_labels_table_and_plot(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = outputs_of("notebook.ipynb", monkeypatch)
    assert "equivalent_diameter_mm" in html_of(shown), "the table"
    assert " particles in " in html_of(shown), "the bar has become a line"
    assert pictures_in(shown) == 2, "labels and size distribution"


@pytest.mark.skipif(find_spec("pandas") is None, reason="pandas is not installed")
def test_the_notebook_of_minerals_runs_and_shows_tables_and_the_liberation_curve(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = outputs_of("minerals.ipynb", monkeypatch)
    columns = {
        *("quartz_share_error", "mass_share", "recovery", "touches", "d50_mm", "size_low_mm"),
        *("particles_needed", "chance_of_all"),
    }
    assert not {name for name in columns if f"<th>{name}</th>" not in html_of(shown)}
    assert pictures_in(shown) == 1

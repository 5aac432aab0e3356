"""The command that installs an extra fits what installed the environment."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ps3d_rt import installing
from ps3d_rt.errors import not_installed
from ps3d_rt.installing import install_command


@pytest.mark.parametrize(
    ("prefix", "extra", "package"),
    [
        (
            "home/me/.local/share/pipx/venvs/ps3d-rt",
            'pipx install --force "ps3d-rt[gpu]"',
            "pipx inject ps3d-rt napari",
        ),
        (
            "home/me/.local/share/uv/tools/ps3d-rt",
            'uv tool install "ps3d-rt[gpu]"',
            "uv tool install --with napari ps3d-rt",
        ),
        ("opt/conda/envs/ct", 'python -m pip install "ps3d-rt[gpu]"', "python -m pip install napari"),
        ("work/.venv", 'pip install "ps3d-rt[gpu]"', "pip install napari"),
    ],
)
def test_each_kind_of_environment_has_its_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, prefix: str, extra: str, package: str
) -> None:
    monkeypatch.undo()  # what makes all of it pip in other tests
    folder = tmp_path / prefix
    (folder / "conda-meta" if "conda" in prefix else folder).mkdir(parents=True)
    monkeypatch.setattr(sys, "prefix", str(folder))
    monkeypatch.setattr(installing, "checkout", lambda: None)
    monkeypatch.setattr(installing, "find_spec", lambda name: object())
    assert (install_command("ps3d-rt[gpu]"), install_command("napari")) == (extra, package)


def test_without_pip_it_is_uv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(installing, "find_spec", lambda name: None)
    monkeypatch.setattr(installing, "checkout", lambda: Path("/src/ps3d-rt"))
    assert install_command("ps3d-rt[gpu]") == f'uv pip install -e "{Path("/src/ps3d-rt")}[gpu]"'


def test_brackets_stand_in_double_quotes_which_every_shell_takes() -> None:
    error = not_installed("napari does not load", "ps3d-rt[annotate]")
    assert str(error) == 'napari does not load; install it: pip install "ps3d-rt[annotate]"'
    assert error.exit_code == 3

"""``ps3d-rt bundle-offline``: what pip is asked for, and that a folder of wheels is whole or not there."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ps3d_rt import offline
from ps3d_rt.cli.bundle_offline import bundle_offline
from ps3d_rt.errors import CapabilityError, InputError
from ps3d_rt.offline import PLATFORMS, Wanted, gather_wheels


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What pip was asked for; it makes a wheel for each."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> Any:
        commands.append(command)
        flag = "--wheel-dir" if "wheel" in command else "--dest"
        folder = Path(command[command.index(flag) + 1])
        (folder / f"{'ps3d_rt' if 'wheel' in command else 'numpy'}-1-py3-none-any.whl").write_bytes(b"123")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(offline.subprocess, "run", run)
    return commands


def after(command: list[str], option: str) -> list[str]:
    return [command[k + 1] for k, word in enumerate(command) if word == option]


def test_from_a_checkout_its_wheel_is_built_and_the_pinned_ones_are_fetched(
    asked: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(offline, "checkout", lambda: tmp_path / "src")
    bundle_offline(tmp_path / "wheels", platform="windows", python="3.12", extra=["serve", "dicom"])
    build, download = asked
    assert build[-1] == str(tmp_path / "src")
    assert download[-1].endswith("ps3d_rt-1-py3-none-any.whl[serve,dicom]")
    assert after(download, "--platform") == ["win_amd64"]
    assert after(download, "--python-version") == ["3.12"]
    assert after(download, "--only-binary") == [":all:"]
    assert after(download, "--constraint") == [str(tmp_path / "src" / "constraints.txt")]
    said = json.loads(capsys.readouterr().out)
    assert (said["wheels"], said["bytes"]) == (2, 6)
    assert said["install"] == 'pip install --no-index --find-links wheels "ps3d-rt[serve,dicom]"'
    assert sorted(path.name for path in tmp_path.iterdir()) == ["wheels"], "nothing else is left"


def test_an_installation_from_an_index_asks_for_its_own_version(
    asked: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offline, "checkout", lambda: None)
    monkeypatch.setattr(offline, "version", lambda name: "1.2.3")
    gather_wheels(tmp_path / "wheels", Wanted(extras=("serve",)))
    assert [command[-1] for command in asked] == ["ps3d-rt[serve]==1.2.3"]
    assert after(asked[0], "--platform") == [], "as this machine"


def test_what_pip_cannot_do_leaves_nothing_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline, "checkout", lambda: None)
    failed = subprocess.CompletedProcess([], 1, "Collecting x\nERROR: No matching distribution found for x\n\n", "")
    monkeypatch.setattr(offline.subprocess, "run", lambda command, **_: failed)
    with pytest.raises(InputError, match=r"pip download ended with 1; .* – ERROR: No matching distribution"):
        gather_wheels(tmp_path / "wheels", Wanted())
    assert [*tmp_path.iterdir()] == []
    with pytest.raises(InputError, match=f"give one of {', '.join(PLATFORMS)}"):
        gather_wheels(tmp_path / "wheels", Wanted(platform="amiga"))
    monkeypatch.setattr(offline, "find_spec", lambda name: None)
    with pytest.raises(CapabilityError, match="pip"):
        gather_wheels(tmp_path / "wheels", Wanted())

"""How a package is installed here, in the words of what installed ps3d-rt, for any shell."""

from __future__ import annotations

import json
import sys
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlparse

NAME = "ps3d-rt"


def install_command(requirement: str) -> str:
    """Give the command that installs a package, or ``ps3d-rt[EXTRA]``, beside this ps3d-rt.

    Double quotes around brackets serve in bash, zsh, PowerShell and cmd alike; single ones do not in cmd.

    Args:
        requirement: as pip takes it.
    """
    ours = requirement.startswith(NAME)
    quoted = f'"{requirement}"' if "[" in requirement else requirement
    tool = _tool()
    if tool == "pipx":
        return f"pipx install --force {quoted}" if ours else f"pipx inject {NAME} {quoted}"
    if tool == "uv tool":
        return f"uv tool install {quoted}" if ours else f"uv tool install --with {quoted} {NAME}"
    source = checkout()
    if ours and source is not None:
        quoted = f'-e "{source}{requirement.removeprefix(NAME)}"'
    if tool == "conda":
        return f"python -m pip install {quoted}"  # the environment's own pip, whichever comes first on the path
    return f"{tool} install {quoted}"


def _tool() -> str:
    """Tell from where Python lies what installed the environment: pipx, uv or conda; else it is pip's."""
    prefix = Path(sys.prefix)
    above = {part.name: part.parent.name for part in (prefix, *prefix.parents)}
    if above.get("venvs") == "pipx":
        return "pipx"
    if above.get("tools") == "uv":
        return "uv tool"
    if (prefix / "conda-meta").is_dir():
        return "conda"
    return "pip" if find_spec("pip") else "uv pip"


def checkout() -> Path | None:
    """Find the folder that ps3d-rt was installed from with ``-e``; None if it was not."""
    try:
        facts = json.loads(distribution(NAME).read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        return None
    if not facts.get("dir_info", {}).get("editable"):
        return None
    path = unquote(urlparse(facts["url"]).path)
    return Path(path[1:] if path[2:3] == ":" else path)  # /C:/folder on Windows

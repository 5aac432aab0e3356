"""Rules for files: their length, their names, and what must not stand in them."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("runtime", "training", "export", "benchmarks", "tests", "docs", ".ci")
PYTHON = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
TEXT = sorted(
    path
    for path in [*ROOT.glob("*"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]
    if path.is_file() and path.name != ".git" and path.suffix in {"", ".md", ".txt", ".toml", ".py", ".html", ".json"}
)
PAGES = [path for path in TEXT if path.suffix == ".md"]


def test_no_file_is_over_450_lines():
    assert PYTHON
    assert not [path for path in PYTHON if len(path.read_text(encoding="utf-8").splitlines()) > 450]


def test_every_name_says_what_the_file_does():
    vague = {"utils", "util", "helpers", "helper", "common", "misc", "tools"}
    assert not [path for path in PYTHON if vague & set(path.relative_to(ROOT).with_suffix("").parts)]


def test_no_file_knows_the_machine_it_was_written_on():
    machine = re.compile(r"(?<![\w.\]/-])(/(work|root|home|tmp|opt|mnt|Users)/|[A-Z]:\\\\?Users)")
    found = {}
    for path in TEXT:
        if path != Path(__file__) and (match := machine.search(path.read_text(encoding="utf-8"))):
            found[path] = match[0]
    assert not found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert not [link for link in links if not (page.parent / link).exists()]


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "Makefile", ROOT / ".ci/older_cpu.py"], ids=lambda page: str(page.relative_to(ROOT))
)
def test_files_named_in_the_text_are_there(page):
    named = re.findall(
        r"\b((?:runtime|training|export|benchmarks|tests)/[\w/.-]+\.\w+)", page.read_text(encoding="utf-8")
    )
    assert not [name for name in named if not (ROOT / name).exists()]


def test_constraints_pin_every_direct_dependency_to_one_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {line.partition("==")[0] for line in lines if "==" in line}
    direct = {
        re.match(r"[\w.-]+", line)[0]
        for line in project["dependencies"] + extras["dev"] + extras["docs"] + extras["train"] + extras["bench"]
    }
    assert pins == direct | {"torchvision"}

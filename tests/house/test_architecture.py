"""docs/architecture.md names files, functions and stages that exist, in the order in which a run calls them."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUNTIME = ROOT / "runtime/ps3d_rt"
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`([\w/]+(?:\.py|/))(?:::(\w+))?`", PAGE)) - {("runtime/ps3d_rt/", "")})


def test_the_page_names_files():
    assert len(NAMED) > 20


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_what_the_page_names_is_there(path, name):
    assert (RUNTIME / path).exists()
    if name:
        tree = ast.parse((RUNTIME / path).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def test_the_stages_stand_in_the_order_of_the_run():
    tree = ast.parse((RUNTIME / "pipeline.py").read_text(encoding="utf-8"))
    lines = {
        node.func.id: node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    on_page = re.findall(r"^\| \w+ \| `stages/\w+\.py::(\w+)`", PAGE, re.MULTILINE)
    # A stage whose result the next one takes may be called in its arguments, on the same line.
    assert len(on_page) == 6
    assert [lines[name] for name in on_page] == sorted(lines[name] for name in on_page)

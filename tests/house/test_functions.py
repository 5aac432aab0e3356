"""Functions are short and take few arguments; what many arguments describe is a dataclass."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("runtime", "training", "export", "benchmarks")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(package: str) -> Iterator[tuple[Path, Function, bool]]:
    """Every function of a package, and whether it is a method."""
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for child in ast.iter_child_nodes(node):
                if isinstance(child, Function):
                    yield path, child, isinstance(node, ast.ClassDef)


def decorators(function: Function) -> set[str]:
    return {ast.unparse(decorator).split("(")[0] for decorator in function.decorator_list}


def parameters(function: Function, is_method: bool) -> int:
    given = function.args
    named = len(given.posonlyargs + given.args + given.kwonlyargs)
    starred = sum(one is not None for one in (given.vararg, given.kwarg))
    return named + starred - (is_method and "staticmethod" not in decorators(function))


def lines(function: Function) -> int:
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


@pytest.mark.parametrize("package", PACKAGES)
def test_no_function_takes_more_than_6_parameters(package: str) -> None:
    """Not counted: commands, whose options they are, and kernels, which are handed arrays and numbers only."""
    kernels = {"compiled", "numba.njit"}
    many = [
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}"
        for path, function, is_method in functions(package)
        if parameters(function, is_method) > 6 and "cli" not in path.parts and not decorators(function) & kernels
    ]
    assert not many


@pytest.mark.parametrize("package", PACKAGES)
def test_functions_are_short(package: str) -> None:
    """19 of 20 have at most 40 lines, docstring included, and none has more than 80."""
    lengths = sorted(lines(function) for _, function, _ in functions(package))
    assert lengths[int(0.95 * len(lengths))] <= 40
    assert lengths[-1] <= 80

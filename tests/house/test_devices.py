"""Nobody asks whether there is a GPU but those who must know: the devices, the engines and the array libraries."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KNOWING = ("runtime/ps3d_rt/devices/", "runtime/ps3d_rt/engines/", "runtime/ps3d_rt/core/arrays.py")
ASKED = {"cupy", "gpu_index", "is_cupy_array", "load_cupy", "namespace_of"}
"""Names whose use is the question: stages take ``Device.namespace`` and let the array decide."""
KINDS = {"CpuDevice", "GpuDevice", "GpuVolume"}
"""Classes that nobody else tells apart."""


def questions(source: str) -> list[int]:
    """Lines of a file that ask whether there is a GPU, or name what only one kind of device has."""
    return sorted(
        {
            node.lineno
            for node in ast.walk(ast.parse(source))
            if (isinstance(node, ast.alias) and node.name.rpartition(".")[2] in ASKED | KINDS)
            or (isinstance(node, ast.Name | ast.Attribute) and _name(node) in ASKED | KINDS)
            or (isinstance(node, ast.Compare) and any(map(_names_a_device, [node.left, *node.comparators])))
            or (isinstance(node, ast.Call) and _name(node.func) == "startswith" and any(map(_is_cuda, node.args)))
        }
    )


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _names_a_device(node: ast.AST) -> bool:
    """Whether a side of a comparison is numpy itself, or the name of a device, alone or in a list."""
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return any(map(_names_a_device, node.elts))
    return _name(node) == "np" or _is_cuda(node) or (isinstance(node, ast.Constant) and node.value == "cpu")


def _is_cuda(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.partition(":")[0] == "cuda"


def test_no_condition_asks_whether_there_is_a_gpu() -> None:
    files = [path for folder in ("runtime", "export") for path in (ROOT / folder).rglob("*.py")]
    assert files
    found = {
        name: lines
        for path in files
        if not (name := path.relative_to(ROOT).as_posix()).startswith(KNOWING)
        and (lines := questions(path.read_text(encoding="utf-8")))
    }
    assert not found


@pytest.mark.parametrize(
    "line",
    [
        "from ps3d_rt.core.arrays import is_cupy_array",
        "if xp is not np: pass",
        "if device == 'cpu': pass",
        "on_gpu = devices != ('cpu',)",
        "if spec.device.startswith('cuda'): pass",
        "if isinstance(volume, gpu_volume.GpuVolume): pass",
        "xp = arrays.namespace_of(device)",
        "import cupy",
    ],
)
def test_a_question_is_seen(line: str) -> None:
    assert questions(f"x = 1\n{line}") == [2]


def test_what_a_device_answers_is_no_question() -> None:
    assert not questions(
        "xp = stage.device.namespace\ndevice = device_named('cpu')\nx = np.zeros(3)\nif x is None: pass"
    )

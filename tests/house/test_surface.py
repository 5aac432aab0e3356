"""What a user of the Python API meets first: its names, and how little an import costs."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import ps3d_rt

ROOT = Path(__file__).parents[2]
HEAVY = {"cupy", "edt", "nnunetv2", "onnx", "onnxruntime", "openvino", "torch", "torchvision"}
HEAVY |= {"tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings"}
HEAVY |= {"h5py", "nibabel", "numba", "numpy", "pyarrow", "scipy", "tifffile", "zarr"}
HEAVY |= {"jinja2", "msgspec"}


def test_the_public_api_is_this_list_and_all_of_it_is_there():
    assert ps3d_rt.__all__ == [
        "Result",
        "compare",
        "evaluate",
        "load_model",
        "measure",
        "minerals",
        "open_result",
        "open_volume",
        "predict",
        "predict_to_folder",
    ]
    for name in ps3d_rt.__all__:
        assert getattr(ps3d_rt, name).__doc__
    assert dir(ps3d_rt) == sorted([*ps3d_rt.__all__, "__version__"]), "what Tab completes"
    assert ps3d_rt.__version__[0].isdigit()


def test_one_word_for_the_size_of_a_voxel():
    for name in ps3d_rt.__all__:
        parameters = set(inspect.signature(getattr(ps3d_rt, name)).parameters)
        assert not {"spacing_mm", "voxel_size", "pixel_size", "offset_bytes"} & parameters, name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="predikt"):
        ps3d_rt.predikt  # noqa: B018


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after ``code`` and had not before."""
    script = f"import sys\nbefore = set(sys.modules)\n{code}\nprint(*(sys.modules.keys() - before))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()} - sys.stdlib_module_names


def test_importing_the_package_loads_the_standard_library_only():
    assert loaded_by("import ps3d_rt") == {"ps3d_rt"}


def test_the_command_line_is_there_before_any_array_engine_or_trainer_is_loaded():
    assert not loaded_by("from ps3d_rt.cli import build_app; build_app()") & HEAVY


@pytest.mark.parametrize("page", ["README.md", "docs/user-guide.md"])
def test_calls_in_the_pages_fit_the_signatures(page):
    blocks = (ROOT / page).read_text(encoding="utf-8").split("```python\n")[1:]
    assert blocks
    calls = [
        node
        for block in blocks
        for node in ast.walk(ast.parse(block.split("```")[0]))
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("ps3d_rt.")
    ]
    assert calls
    for call in calls:
        function = getattr(ps3d_rt, ast.unparse(call.func).removeprefix("ps3d_rt."))
        inspect.signature(function).bind(*call.args, **{word.arg: word.value for word in call.keywords})

"""Imports go one way; the folder list is the architecture."""

import ast
import re
import sys
import tomllib
from collections.abc import Container, Iterator
from importlib.metadata import packages_distributions
from importlib.util import resolve_name
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOME = {"ps3d_rt": "runtime", "ps3d_training": "training", "ps3d_export": "export", "ps3d_bench": "benchmarks"}

PURE = {"numpy", "scipy", "numba"}
"""Third-party packages that core may import."""
ON_USE = {"cupy", "cupyx"}
"""Those it may import inside a function: a CPU installation has none of them."""
EXTRAS = {"IPython", "distributed", "fsspec", "napari", "pydicom", "starlette", "uvicorn", "xlsxwriter"}
"""Those that the rest of the runtime may import inside a function, from an extra or where they run already."""
OUTSIDE = {"io", "logging", "os", "pathlib", "shutil", "socket", "subprocess", "sys", "tempfile"}
"""Standard modules that reach files, processes or the terminal."""

LAYERS = {
    "installing": set(),
    "errors": {"installing"},
    "core": {"errors"},
    "events": {"core", "errors"},
    "io": {"core", "errors"},
    "model": {"core", "errors", "io"},
    "report": {"core", "errors"},
    "workers": {"errors"},
    "devices": {"core", "errors", "io", "memory", "workers"},
    "engines": {"core", "devices", "errors", "io", "model", "workers"},
    "journal": {"core", "errors", "io", "workers"},
    "memory": {"core", "errors"},
    "plan": {"cluster", "core", "devices", "errors", "io", "memory", "model"},
    "clock": {"events"},
    "run_record": {"errors", "io"},
    "cluster": {"clock", "cluster_worker", "core", "errors", "events", "workers"},
    "cluster_worker": {"errors", "versions", "workers"},
    "stages": {
        *("clock", "cluster", "core", "devices", "engines", "errors", "events", "io", "journal", "memory", "model"),
        *("plan", "prefetch", "run_record", "versions", "workers"),
    },
    "pipeline": {"clock", "core", "engines", "errors", "events", "io", "model", "plan", "stages"},
}
"""Part of the runtime → the other parts it may import. Parts not listed may import all but cli."""


def sources(folder: str) -> list[Path]:
    """Every Python file under ``folder``; none at all means the test looks in the wrong place."""
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, f"no Python file under {folder}"
    return found


def nodes(tree: ast.AST, *, inside_functions: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(tree):
        if inside_functions or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
            yield from nodes(child, inside_functions=inside_functions)


def imports(path: Path, *, inside_functions: bool = True) -> set[str]:
    """Dotted names that a file imports, ``import_module`` included; a name from a module is appended to it."""
    package = ".".join(path.relative_to(ROOT).parts[1:-1])
    names = set()
    for node in nodes(ast.parse(path.read_text(encoding="utf-8")), inside_functions=inside_functions):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = resolve_name("." * node.level + (node.module or ""), package)
            names |= {f"{module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            texts = (part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant))
            names |= {text for text in texts if isinstance(text, str)}
    return names


def modules(*folders: str) -> dict[str, Path]:
    """Dotted name → file, of all modules under these folders."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts[1:]).removesuffix(".__init__"): path
        for folder in folders
        for path in sources(folder)
    }


def module_of(name: str, known: Container[str]) -> str:
    """The module that an import loads: ``ps3d_rt.core.grid.Box`` → ``ps3d_rt.core.grid``; empty if not one of these."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name


def tops(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def parts(names: set[str]) -> set[str]:
    """Parts of the runtime among dotted names: ``ps3d_rt.core.grid.Box`` → ``core``."""
    return {name.split(".")[1] for name in names if name.startswith("ps3d_rt.")}


def test_core_reaches_no_file_no_device_and_no_terminal():
    for path in sources("runtime/ps3d_rt/core"):
        everything, at_load = tops(imports(path)), tops(imports(path, inside_functions=False))
        assert not everything & OUTSIDE, path
        assert everything - sys.stdlib_module_names - PURE - ON_USE <= {"ps3d_rt"}, path
        assert not at_load & ON_USE, path
        called = {
            node.func.id
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not called & {"open", "print", "input"}, path


def test_core_is_given_arrays_not_where_they_are_kept():
    """What reads a store, maps tasks or writes a journal is a stage; core makes what a stage passes on."""
    for path in sources("runtime/ps3d_rt/core"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        given = [
            (n.arg, ast.unparse(n.annotation or ast.Constant(None))) for n in ast.walk(tree) if isinstance(n, ast.arg)
        ]
        assert not {"journal", "map_tasks", "mapper", "storage", "store"} & {name for name, _ in given}, path
        assert not [kind for _, kind in given if re.search(r"\b(Journal|Rows|Store|TaskMap|Workers)\b", kind)], path
        interfaces = {
            node.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef) and "Protocol" in {ast.unparse(base) for base in node.bases}
        }
        assert interfaces <= {"SampleTable"}, f"{path}: there is more than arrays behind an interface"


def test_every_part_of_the_runtime_imports_only_the_parts_below_it():
    folder = ROOT / "runtime/ps3d_rt"
    files = sources("runtime/ps3d_rt")
    found = {path.relative_to(folder).parts[0].removesuffix(".py"): [] for path in files}
    for path in files:
        found[path.relative_to(folder).parts[0].removesuffix(".py")].append(path)
    assert found.keys() >= LAYERS.keys()
    for part, paths in found.items():
        allowed = LAYERS.get(part, found.keys() - {"cli"}) | {part}
        for path in paths:
            assert parts(imports(path)) <= allowed | (found.keys() if part == "cli" else set()), path


def test_no_file_imports_itself_by_way_of_others():
    """Imports inside functions count: they hide a circle from Python, not from a reader."""
    files = modules(*HOME.values())
    needs = {module: {module_of(name, files) for name in imports(path)} - {module} for module, path in files.items()}
    while loose := {module for module, others in needs.items() if not others & needs.keys()} | (
        needs.keys() - set().union(*needs.values())
    ):
        needs = {module: others - loose for module, others in needs.items() if module not in loose}
    assert not needs, "circles, and what lies between them"


def test_the_runtime_imports_neither_training_nor_export_nor_what_they_need():
    for path in sources("runtime"):
        assert not tops(imports(path)) & {"torch", "torchvision", "nnunetv2", "ps3d_training", "ps3d_export"}, path


def test_nobody_makes_a_cuda_context_beside_cupys():
    for folder in HOME.values():
        for path in sources(folder):
            assert "pycuda" not in tops(imports(path)), path


def test_training_and_export_do_not_know_each_other():
    for path in sources("training"):
        assert not tops(imports(path)) & {"ps3d_export", "torchvision"}, path
    for path in sources("export"):
        assert not tops(imports(path)) & {"ps3d_training", "nnunetv2"}, path


def test_no_package_imports_the_benchmarks():
    for folder in ("runtime", "training", "export"):
        for path in sources(folder):
            assert not tops(imports(path)) & {"ps3d_bench"}, path


def test_the_benchmark_commands_load_what_they_measure_with_only_when_they_run():
    for path in sources("benchmarks/ps3d_bench/cli"):
        at_load = {name for name in imports(path, inside_functions=False) if name.startswith("ps3d_")}
        light = r"ps3d_rt\.errors|ps3d_rt\.cli\.options|ps3d_bench\.(capability|environment|cli)\b"
        assert not [name for name in at_load if not re.match(light, name)], path


def test_synth_needs_numpy_scipy_and_numba_only():
    for path in sources("training/ps3d_training/synth"):
        assert tops(imports(path)) - sys.stdlib_module_names <= {"numba", "numpy", "scipy", *HOME}, path
        assert not [name for name in imports(path) if re.match(r"ps3d_training\.(?!synth\b)", name)], path


def test_the_runtime_uses_exactly_the_base_dependencies():
    """Too few: it works here and fails as installed. Too many: every user downloads what nothing imports."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.match(r"[\w.-]+", line)[0].lower() for line in project["dependencies"]}
    used = set().union(*(tops(imports(path)) for path in sources("runtime"))) - sys.stdlib_module_names - HOME.keys()
    owners = packages_distributions()
    assert {owners[name][0].lower().replace("_", "-") for name in used - ON_USE - EXTRAS} == declared


def test_the_wheel_holds_of_the_benchmarks_what_the_command_imports():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    left_out = {path for pattern in build["targets"]["wheel"]["exclude"] for path in ROOT.glob(pattern)}
    files = modules("benchmarks")
    needed, waiting = set(), {"ps3d_bench.cli"}
    while waiting:
        needed |= waiting
        waiting = {name.rpartition(".")[0] for name in waiting} | {
            module_of(name, files) for module in waiting for name in imports(files[module])
        }
        waiting = (waiting & files.keys()) - needed
    packaged = {module: path for module, path in files.items() if module.startswith("ps3d_bench")}
    assert {path for module, path in packaged.items() if module not in needed} == left_out


def test_a_run_reads_as_its_stages_in_their_order():
    """``stages/__init__.py`` names the way of the data; ``pipeline.py`` goes it, one call a stage, and does no more."""
    page = ast.get_docstring(ast.parse((ROOT / "runtime/ps3d_rt/stages/__init__.py").read_text(encoding="utf-8")))
    order = re.findall(r"^    (\w+)  ", page, re.MULTILINE)
    assert order == ["gray_scale", "particle_size", "segment", "particles", "confidence", "table", "labels"]
    assert not [name for name in order if not (ROOT / f"runtime/ps3d_rt/stages/{name}.py").exists()]
    path = ROOT / "runtime/ps3d_rt/pipeline.py"
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert len(text.splitlines()) < 150
    stage_of = {
        name.rpartition(".")[2]: name.split(".")[2] for name in imports(path) if name.startswith("ps3d_rt.stages.")
    }
    called = sorted(
        (node.end_lineno, node.end_col_offset, node.func.id)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    )
    # An argument ends before the call that it is given to, as it runs.
    went = [stage_of[name] for *_, name in called if name[0].islower() and stage_of.get(name) in order]
    assert went == order

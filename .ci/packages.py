"""Build wheel and sdist, look into them, and load the wheel away from this checkout.

    python .ci/packages.py

Needs hatchling. The wheel must hold all that a run reads, and neither of them tests, results of benchmarks or work.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MOST_BYTES = 32 * 2**20
NEEDED = (
    "ps3d_rt/models/default.ps3d/model.json",
    "ps3d_rt/models/default.ps3d/fold_0.onnx",
    "ps3d_rt/serve/static/page.js",
    "ps3d_rt/report/templates/page.html",
    "ps3d_rt/io/usual_minerals.json",
    "ps3d_training/synth/physics/materials.json",
    "ps3d_export/gate.py",
    "ps3d_bench/cli/__init__.py",
)
UNWANTED = ("tests/", "results/", "__pycache__", ".git/", "bench-cache/", "work/", ".venv/")


def wrong_with(package: Path, names: list[str], needed: tuple[str, ...]) -> list[str]:
    """Say what a package lacks, and what it should not hold."""
    found = [f"{package.name} lacks {name}" for name in needed if not any(one.endswith(name) for one in names)]
    found += [f"{package.name} holds {name}" for name in names if any(part in f"/{name}" for part in UNWANTED)]
    if (size := package.stat().st_size) > MOST_BYTES:
        found.append(f"{package.name} has {size / 2**20:.0f} MiB, more than {MOST_BYTES >> 20}")
    return found


def loads(wheel: Path, place: Path) -> str:
    """Install the wheel alone to a folder, and give the version that Python finds there."""
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(place), str(wheel)]
    subprocess.run(pip, check=True)
    script = f"import sys; sys.path.insert(0, {str(place)!r}); import ps3d_rt; print(ps3d_rt.__file__)"
    done = subprocess.run([sys.executable, "-c", script], cwd=place, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def main() -> int:
    """Do all of it."""
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder, "dist")
        subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", str(built)], cwd=ROOT, check=True)
        (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
        with zipfile.ZipFile(wheel) as file, tarfile.open(sdist) as archive:
            names = [entry.filename for entry in file.infolist()]
            sources = [entry.name.partition("/")[2] for entry in archive if entry.isfile()]
        wrong = wrong_with(wheel, names, NEEDED) + wrong_with(sdist, sources, (*NEEDED, "pyproject.toml", "LICENSE"))
        where = loads(wheel, Path(folder, "site"))
        if not where.startswith(folder):
            wrong.append(f"the wheel was not what was loaded: {where}")
        for text in wrong:
            print(text)
        print(f"{wheel.name}: {wheel.stat().st_size / 2**20:.1f} MiB, {len(names)} files; {sdist.name}: {len(sources)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

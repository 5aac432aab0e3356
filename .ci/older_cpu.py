"""Run the numerical tests as on an older CPU: the libraries that pick vector instructions are told not to.

    python .ci/older_cpu.py [options of pytest]

A result that only holds with AVX-512 fails here: tried with a doctest that prints all digits of a sum of numpy's cube
roots. ONNX Runtime has no such switch. OpenVINO has one for the part that is oneDNN (convolutions); its own kernels
keep what the CPU has.
"""

import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

ROOT = Path(__file__).resolve().parents[1]
NUMERICAL = (
    "runtime/ps3d_rt/core",
    "tests/runtime/test_blend.py",
    "tests/runtime/test_bootstrap.py",
    "tests/runtime/test_contrast.py",
    "tests/runtime/test_default_model.py",
    "tests/runtime/test_distribution.py",
    "tests/runtime/test_embedding.py",
    "tests/runtime/test_engines.py",
    "tests/runtime/test_engines_mirrored.py",
    "tests/runtime/test_golden.py",
    "tests/runtime/test_growth.py",
    "tests/runtime/test_measure.py",
    "tests/runtime/test_measure_boxes.py",
    "tests/runtime/test_measure_shape.py",
    "tests/runtime/test_metrics.py",
    "tests/runtime/test_normalize.py",
    "tests/runtime/test_particle_size.py",
    "tests/runtime/test_pipeline.py",
    "tests/runtime/test_resample.py",
    "tests/runtime/test_run_sums.py",
    "tests/runtime/test_confidence.py",
    "tests/training/test_augment.py",
    "tests/training/test_synth.py",
)
X86 = {
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # OpenVINO's convolutions, torch
    "OPENBLAS_CORETYPE": "Nehalem",  # linear algebra in numpy and scipy
    "ATEN_CPU_CAPABILITY": "default",  # torch, the reference of the engines' tests
}


def switches(machine: str) -> dict[str, str]:
    """Environment variables that switch off what is newer than ``machine``'s baseline."""
    # numpy refuses names that it does not dispatch on, and warns of those that the CPU lacks.
    newer = [name for name in __cpu_dispatch__ if __cpu_features__[name]]
    return {
        "NPY_DISABLE_CPU_FEATURES": " ".join(newer),
        "NUMBA_CPU_NAME": "generic",
        "ARROW_USER_SIMD_LEVEL": "NONE",
        **(X86 if machine in {"x86_64", "AMD64"} else {}),
    }


def main() -> int:
    """Print what is switched off, run the tests, return pytest's exit code."""
    chosen = switches(platform.machine())
    for name, value in chosen.items():
        print(f"{name}={value}")
    if X86.keys() - chosen.keys():
        print(f"on {platform.machine()} skipped: {', '.join(X86)}")
    with tempfile.TemporaryDirectory() as cache:  # what numba compiles here is for this run only
        environment = os.environ | chosen | {"NUMBA_CACHE_DIR": cache}
        # Python puts the folder of a script on its path, not that of a module: `-m pytest` would not find the plugin.
        paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no_bf16", *NUMERICAL, *sys.argv[1:]]
        return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

"""What the benchmarks need beyond the runtime, checked before any work starts."""

from importlib.util import find_spec

from ps3d_rt.errors import not_installed


def require(*packages: str) -> None:
    """Do nothing where the packages, by import name, are installed.

    Raises:
        CapabilityError: naming what is missing and how to install it.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise not_installed(f"this needs {', '.join(missing)}", "ps3d-rt[bench]")

"""What training needs beyond the runtime, checked before any work starts."""

from importlib.util import find_spec

from ps3d_rt.errors import not_installed

TRAINING_PACKAGES = ("torch", "nnunetv2", "onnx")


def require_training_packages() -> None:
    """Do nothing where the ``train`` extra is installed.

    Raises:
        CapabilityError: naming what is missing and how to install it.
    """
    missing = [name for name in TRAINING_PACKAGES if find_spec(name) is None]
    if missing:
        raise not_installed(f"training needs {', '.join(missing)}", "ps3d-rt[train]")

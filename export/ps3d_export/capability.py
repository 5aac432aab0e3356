"""What exporting needs beyond the runtime, checked before any work starts."""

from importlib.util import find_spec

from ps3d_rt.errors import not_installed


def require_onnx() -> None:
    """Do nothing where the ``export`` extra is installed.

    Raises:
        CapabilityError: naming what is missing and how to install it.
    """
    if find_spec("onnx") is None:
        raise not_installed("changing a network needs onnx", "ps3d-rt[export]")

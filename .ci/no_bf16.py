"""A plugin for pytest: OpenVINO says of the CPU that it has no bf16, as it says of an older one.

``ONEDNN_MAX_CPU_ISA`` reaches the part of OpenVINO that is oneDNN. The rest of it would still choose bf16, and oneDNN
would then find no kernel for the network.
"""

from typing import Any

import openvino

_property = openvino.Core.get_property


def _without_bf16(core: openvino.Core, device: str, name: str) -> Any:
    found = _property(core, device, name)
    return [entry for entry in found if entry != "BF16"] if name == "OPTIMIZATION_CAPABILITIES" else found


openvino.Core.get_property = _without_bf16

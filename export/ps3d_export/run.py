"""A network run as it stands, to compare or to measure it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, ValueInfoProto

from ps3d_export.graph import copy_of


def run_network(network: ModelProto, patches: NDArray[np.float32]) -> NDArray[np.float32]:
    """Score patches with ONNX Runtime on the CPU."""
    ((scores,),) = run_values(network, [patches], [network.graph.output[0].name])
    return scores


def run_values(
    network: ModelProto, batches: Iterable[NDArray[np.float32]], names: Sequence[str]
) -> Iterator[list[NDArray[np.float32]]]:
    """Give what is between nodes, by name, for one batch of patches (B, 1, *patch) after the other."""
    import onnxruntime  # noqa: PLC0415 - heavy

    network = copy_of(network)
    outputs = {value.name for value in network.graph.output}
    network.graph.output.extend(ValueInfoProto(name=name) for name in names if name not in outputs)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # that it has few kernels in half precision is no news
    session = onnxruntime.InferenceSession(network.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for patches in batches:
        yield session.run(list(names), {session.get_inputs()[0].name: patches})

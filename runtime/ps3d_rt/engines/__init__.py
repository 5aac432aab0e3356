"""Engines: what turns patches into scores. :func:`open_engine` picks one and says which.

    base.py               what every engine is
    factory.py            which engine a model runs in
    openvino.py           the default on a CPU: bf16 where the CPU has it, else fp32
    onnxruntime.py        the portable second on a CPU: fp32
    tensorrt.py           the default on a GPU, in two flavours
    tensorrt_build.py     ONNX → TensorRT engine; tensorrt-rtx needs no GPU for it
    onnxruntime_cuda.py   the second on a GPU
    batches.py            patches in calls of one size, for the engines on a GPU
    cache.py              built engines, with the accuracy gate's verdict
    ensemble.py           several networks as one
    mirrored.py           a network and its mirror images as one
    shared.py             an engine that worker processes open again
    fake.py               a formula instead of a network, for our tests; no name opens it

Nothing here imports OpenVINO, ONNX Runtime, TensorRT or CuPy until an engine is opened.
"""

from __future__ import annotations

from ps3d_rt.engines.base import Engine, EngineSpec
from ps3d_rt.engines.batches import DeviceLimits
from ps3d_rt.engines.factory import CPU_ENGINES, GPU_ENGINES, open_engine

__all__ = ["CPU_ENGINES", "GPU_ENGINES", "DeviceLimits", "Engine", "EngineSpec", "open_engine"]

"""Building engines: TensorRT-RTX builds them without a GPU, so these are real ones."""

from __future__ import annotations

import dataclasses
import logging
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ps3d_rt.devices.gpus import Gpu
from ps3d_rt.engines import tensorrt_build
from ps3d_rt.engines.cache import EngineCache, Verdict
from ps3d_rt.engines.tensorrt import check_alignment, check_gate, pool_allocator
from ps3d_rt.engines.tensorrt_build import build, build_into, engine_key, is_installed, load_tensorrt, log_of
from ps3d_rt.errors import CapabilityError, InputError
from ps3d_rt.model import ModelBundle, load_model

needs_rtx = pytest.mark.skipif(not is_installed("tensorrt-rtx"), reason="tensorrt-rtx is not installed: no real engine")
PATCH = (16, 16, 16)
CUBE = {"kernel_shape": [3] * 3, "pads": [1] * 6}
ADA, HOPPER = Gpu(0, "RTX 4090", (8, 9), 24 * 2**30, (13, 0)), Gpu(0, "H200", (9, 0), 139 * 2**30, (13, 0))


def write_network(path: Path, kind: str) -> Path:
    """Two convolutions and a softmax: float32, the same in half precision, or the second one in 8 bits."""
    draw = np.random.default_rng(0)
    first, second = draw.standard_normal((8, 1, 3, 3, 3)), draw.standard_normal((3, 8, 3, 3, 3))
    real = np.float16 if kind == "fp16" else np.float32
    weights = {"first": first.astype(real), "second": second.astype(real)}
    nodes = [("Cast", ["x"], "typed", {"to": TensorProto.FLOAT16 if kind == "fp16" else TensorProto.FLOAT})]
    nodes += [("Conv", ["typed", "first"], "features", CUBE)]
    if kind == "int8":
        weights |= {"second": np.clip(second * 40, -127, 127).astype(np.int8), "step": np.float32(0.05)}
        weights |= {"steps": np.full(3, 0.025, np.float32), "zero": np.int8(0), "zeros": np.zeros(3, np.int8)}
        nodes += [("QuantizeLinear", ["features", "step", "zero"], "bytes", {})]
        nodes += [("DequantizeLinear", ["bytes", "step", "zero"], "rounded", {})]
        nodes += [("DequantizeLinear", ["second", "steps", "zeros"], "kernel", {"axis": 0})]
        nodes += [("Conv", ["rounded", "kernel"], "logits", CUBE)]
    elif kind == "unknown layer":
        nodes += [("Segment", ["features"], "logits", {"domain": "nobody"})]
    else:
        nodes += [("Conv", ["features", "second"], "logits", CUBE)]
    nodes += [("Cast", ["logits"], "real", {"to": TensorProto.FLOAT}), ("Softmax", ["real"], "y", {"axis": 1})]
    graph = helper.make_graph(
        [helper.make_node(op, inputs, [output], **options) for op, inputs, output, options in nodes],
        kind,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1 if kind == "one patch" else "b", 1, *PATCH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1 if kind == "one patch" else "b", 3, *PATCH])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    domains = [helper.make_opsetid("", 18), helper.make_opsetid("nobody", 1)]
    onnx.save(helper.make_model(graph, opset_imports=domains, ir_version=9), path)
    return path


@needs_rtx
def test_the_default_model_becomes_an_engine_without_a_gpu(tmp_path: Path) -> None:
    model = load_model()
    cache, network = EngineCache(tmp_path), model.onnx_paths[0]
    key = engine_key(network, flavour="tensorrt-rtx", patch=model.patch, precision="fp32")
    assert (key.gpu, key.batches, key.onnx_sha256) == ("", (1, 2, 4, 8), model.sha256[network.name])
    assert key.version == load_tensorrt("tensorrt-rtx").__version__
    stored = build_into(cache, key, network)
    facts = stored.manifest["facts"]
    assert facts["inputs"] == [{"name": "patches", "shape": [-1, 1, 64, 64, 64], "type": "FLOAT"}]
    assert facts["outputs"] == [{"name": "scores", "shape": [-1, 3, 64, 64, 64], "type": "FLOAT"}]
    assert (facts["precision"], facts["norm"], facts["gpus"]) == ("fp32", "native", "every GPU")
    there = {"CONVOLUTION": 15, "DECONVOLUTION": 3, "SOFTMAX": 1}
    assert {kind: facts["layers"][kind] for kind in there} == there
    engine = stored.path.read_bytes()
    assert b"scores [profile 3]" in engine, "a profile each for 1, 2, 4 and 8 patches; the first has no number"
    assert b"scores [profile 4]" not in engine
    assert len(engine) > network.stat().st_size, "the weights are inside"
    assert cache.find(key) == stored
    assert cache.find(dataclasses.replace(key, version="1.0.0")) is None, "another version builds its own"
    stored.path.write_bytes(engine[:-1])
    assert cache.find(key) is None
    anew = build_into(cache, key, network)
    assert anew.path.read_bytes() == engine
    check_gate(anew, allow_failed=False)
    anew.record_gate(Verdict(False, {"f1_instance": [0.8, 0.9]}))
    judged = cache.find(key)
    assert judged is not None
    with pytest.raises(CapabilityError, match="failed the accuracy gate"):
        check_gate(judged, allow_failed=False)
    check_gate(judged, allow_failed=True)


@needs_rtx
@pytest.mark.parametrize(("kind", "precision"), [("fp32", "fp32"), ("fp16", "fp16"), ("int8", "fp32+int8")])
def test_the_network_says_what_its_engine_computes_in(tmp_path: Path, kind: str, precision: str) -> None:
    network = write_network(tmp_path / "n.onnx", kind)
    _, facts = build(network, flavour="tensorrt-rtx", patch=PATCH, batches=(1,))
    assert facts["precision"] == precision
    assert (facts["batches"], facts["outputs"][0]["type"]) == ([1], "FLOAT")


@needs_rtx
def test_a_model_that_names_another_precision_is_refused(tmp_path: Path) -> None:
    network, cache = write_network(tmp_path / "n.onnx", "fp32"), EngineCache(tmp_path / "cache")
    key = engine_key(network, flavour="tensorrt-rtx", patch=PATCH, precision="fp16", batches=(1,))
    with pytest.raises(InputError, match=r"n\.onnx computes in fp32, its model says fp16"):
        build_into(cache, key, network)
    assert cache.find(key) is None


@needs_rtx
@pytest.mark.parametrize(
    ("kind", "patch", "error", "says"),
    [
        ("fp32", (16, 16, 8), InputError, r"takes \(-1, 1, 16, 16, 16\) FLOAT, not \(-1, 1, 16, 16, 8\)"),
        ("one patch", PATCH, InputError, r"takes \(1, 1, 16, 16, 16\) FLOAT, not \(-1,.*open batch"),
        ("unknown layer", PATCH, CapabilityError, r"cannot take n\.onnx; use another engine"),
    ],
)
def test_a_network_it_cannot_build_is_refused(
    tmp_path: Path, kind: str, patch: Any, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        build(write_network(tmp_path / "n.onnx", kind), flavour="tensorrt-rtx", patch=patch)


@needs_rtx
@pytest.mark.parametrize(
    ("content", "says"), [(b"nothing", "is not an ONNX network"), (b"this is no network", "has 0 inputs")]
)
def test_a_file_that_is_no_network_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "n.onnx").write_bytes(content)
    with pytest.raises(InputError, match=rf"n\.onnx {says}"):
        build(tmp_path / "n.onnx", flavour="tensorrt-rtx", patch=PATCH)


@needs_rtx
def test_what_a_flavour_has_not_is_a_missing_capability(tiny_bundle: ModelBundle) -> None:
    with pytest.raises(CapabilityError, match="no 'plugin' instance normalization; use native"):
        build(tiny_bundle.onnx_paths[0], flavour="tensorrt-rtx", patch=PATCH, norm="plugin")


@needs_rtx
def test_of_what_tensorrt_says_only_errors_are_heard(caplog: pytest.LogCaptureFixture) -> None:
    trt = load_tensorrt("tensorrt-rtx")
    log, severity = log_of(trt), trt.ILogger.Severity
    with caplog.at_level(logging.DEBUG, logger="ps3d_rt"):
        log.log(severity.ERROR, "it broke")
        for kind in (severity.WARNING, severity.INFO):
            log.log(kind, "converting scales")
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.INFO, logging.DEBUG]
    assert log.error == "it broke"


@needs_rtx
def test_tensorrt_takes_the_allocator_on_cupys_pool() -> None:
    trt, given = load_tensorrt("tensorrt-rtx"), {}

    class Memory:
        ptr = 4096

    class Cuda(ModuleType):
        class memory:  # noqa: N801
            class OutOfMemoryError(Exception):
                pass

        class ExternalStream:
            def __init__(self, stream: int) -> None:
                given["stream"] = stream

            def __enter__(self) -> None: ...

            def __exit__(self, *_: object) -> None: ...

        @staticmethod
        def alloc(size: int) -> Memory:
            if size > 1000:
                raise Cuda.memory.OutOfMemoryError
            return Memory()

    cupy = ModuleType("cupy")
    cupy.cuda = Cuda("cuda")
    runtime, allocator = trt.Runtime(log_of(trt)), pool_allocator(trt, cupy)
    runtime.gpu_allocator = allocator
    assert allocator.allocate_async(0, 256, 0, 7) == 0
    assert allocator.allocate_async(1001, 256, 0, 7) == 0, "no memory is no exception: nobody could catch it"
    assert not allocator.held
    assert (allocator.allocate_async(1000, 256, 0, 7), given["stream"]) == (4096, 7)
    assert allocator.held, "CuPy frees what nobody holds"
    assert [allocator.deallocate_async(place, 7) for place in (4096, 4096, 0)] == [True, False, True]
    assert not allocator.held


# --- without any TensorRT ---


def test_a_patch_that_tensorrt_could_not_address_is_left_to_others() -> None:
    for patch in ((16, 16, 16), (48, 64, 80), (4, 4, 4)):
        check_alignment(patch)
    for patch in ((18, 18, 18), (2, 4, 4)):
        with pytest.raises(CapabilityError, match="not a multiple of 64 voxels"):
            check_alignment(patch)


@pytest.mark.parametrize("flavour", ["tensorrt", "tensorrt-rtx"])
def test_a_flavour_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, flavour: str) -> None:
    for module in tensorrt_build.MODULES[flavour]:
        monkeypatch.setitem(sys.modules, module, None)
    assert not is_installed(flavour)
    with pytest.raises(CapabilityError, match=rf"pip install \"ps3d-rt\[{flavour}\]\""):
        load_tensorrt(flavour)
    with pytest.raises(InputError, match="flavour is 'cuda'"):
        load_tensorrt("cuda")


def test_the_module_without_the_metapackage_serves_too(monkeypatch: pytest.MonkeyPatch) -> None:
    bindings = ModuleType("tensorrt_rtx_bindings")
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx_bindings", bindings)
    assert load_tensorrt("tensorrt-rtx") is bindings


@pytest.mark.parametrize(
    ("flavour", "gpu", "bound_to"),
    [
        ("tensorrt", HOPPER, "H200 9.0"),
        ("tensorrt", ADA, "RTX 4090 8.9"),
        ("tensorrt-rtx", ADA, ""),
        ("tensorrt-rtx", HOPPER, "H200 9.0"),
        ("tensorrt-rtx", None, ""),
    ],
)
def test_an_engine_is_bound_to_a_gpu_where_it_must_be(
    monkeypatch: pytest.MonkeyPatch, tiny_bundle: ModelBundle, flavour: str, gpu: Gpu | None, bound_to: str
) -> None:
    module = ModuleType("stand-in")
    module.__dict__["__version__"] = "99.1"
    monkeypatch.setitem(sys.modules, tensorrt_build.MODULES[flavour][0], module)
    network = tiny_bundle.onnx_paths[0]
    key = engine_key(network, flavour=flavour, patch=PATCH, precision="fp16", gpu=gpu)
    assert (key.gpu, key.version, key.precision) == (bound_to, "99.1", "fp16")
    if flavour == "tensorrt":
        with pytest.raises(CapabilityError, match="there is none; use tensorrt-rtx"):
            engine_key(network, flavour=flavour, patch=PATCH, precision="fp16", gpu=None)

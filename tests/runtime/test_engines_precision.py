"""The precision that runs: which are candidates, which is fastest, what is remembered, what a person is told."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import numpy as np
import pytest

from ps3d_rt.engines import DeviceLimits, factory, open_engine, precision
from ps3d_rt.engines.base import Engine, EngineSpec
from ps3d_rt.engines.precision import Choice, candidates, choose, draw_patch, time_candidates
from ps3d_rt.errors import CapabilityError, InputError
from ps3d_rt.model import ModelBundle, load_model, write_bundle

PASSED, FAILED = {"passed": True}, {"passed": False}
CPU = {"name": "a CPU"}
ONE_THREAD = DeviceLimits(threads=1)


@pytest.fixture
def judged(tiny_bundle: ModelBundle, tiny_networks: tuple[Path, Path]) -> ModelBundle:
    """A bundle that carries int8 (another network, so that it shows which one ran) and has passed with all."""
    draft = replace(tiny_bundle, precisions={"int8": ("b.onnx",)}, gates={"bf16": PASSED, "int8": PASSED})
    files = {"a.onnx": tiny_bundle.onnx_paths[0], "b.onnx": tiny_networks[1]}
    return write_bundle(tiny_bundle.path.with_name("judged.ps3d"), draft, files)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PS3D_RT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "precision"


@final
class Timed(Engine):
    """Takes as long as it is told, by a clock that only it moves; gives core above the mean."""

    clock = 0.0

    def __init__(self, name: str, seconds: float, *, wrong: bool = False) -> None:
        self.spec = EngineSpec(name=name, patch=(16, 16, 16), device="cpu", precision=name, batch=2)
        self._seconds, self._wrong = seconds, wrong

    def _infer(self, patches: Any) -> Any:
        Timed.clock += self._seconds
        scores = np.zeros((len(patches), 3, *self.spec.patch), np.float32)
        scores[:, 1] = (patches[:, 0] > 0) != self._wrong
        return scores


@pytest.fixture
def by_our_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision.time, "perf_counter", lambda: Timed.clock)


def opening(opened: list[str], **engines: Any) -> Any:
    """What opens ``Timed`` engines: precision → seconds, or an engine, or an error."""

    def open_in(name: str) -> Engine:
        opened.append(name)
        found = engines[name]
        if isinstance(found, Exception):
            raise found
        return found if isinstance(found, Engine) else Timed(name, found)

    return open_in


def test_candidates_are_fp32_and_what_passed(judged: ModelBundle) -> None:
    assert candidates(judged) == ("fp32", "bf16", "int8")
    assert candidates(replace(judged, gates={"bf16": FAILED, "int8": PASSED})) == ("fp32", "int8")
    assert candidates(replace(judged, gates={"int8": {"f1_instance": 0.9}})) == ("fp32",), "no verdict is none"


@pytest.mark.usefixtures("by_our_clock")
@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ((0.2, 0.1, 0.05), "int8"),
        ((0.1, 0.2, 0.4), "fp32"),
        ((0.2, 0.1, 0.095), "bf16"),  # hardly faster, and less accurate
        ((0.1, 0.095, 0.093), "fp32"),  # each is hardly faster than fp32
        ((0.1, 0.095, 0.09), "int8"),  # its gain over fp32 counts, which bf16 was not worth
    ],
)
def test_the_fastest_runs_if_it_is_worth_it(judged: ModelBundle, seconds: tuple[float, ...], chosen: str) -> None:
    names = ("fp32", "bf16", "int8")
    choice = time_candidates(judged, names, opening([], **dict(zip(names, seconds, strict=True))))
    assert choice.precision == chosen
    fastest = min(zip(seconds, names, strict=True))
    assert choice.reason.startswith(f"{fastest[1]} {2 / fastest[0]:.3g}, ")
    assert choice.reason.endswith("patches/s on this CPU")


@pytest.mark.usefixtures("by_our_clock")
def test_a_kernel_that_is_wrong_on_this_cpu_is_not_taken(judged: ModelBundle, caplog: pytest.LogCaptureFixture) -> None:
    engines = {"fp32": 0.4, "bf16": 0.2, "int8": Timed("int8", 0.1, wrong=True)}
    choice = time_candidates(judged, tuple(engines), opening([], **engines))
    assert choice.precision == "bf16"
    assert choice.reason.endswith("; int8 is wrong on it")
    assert "int8 is wrong on this CPU: 0.00 %" in caplog.text


@pytest.mark.usefixtures("by_our_clock")
def test_what_the_cpu_does_not_have_is_left_out(judged: ModelBundle) -> None:
    engines = {"fp32": 0.4, "bf16": CapabilityError("no bf16 here"), "int8": 0.1}
    choice = time_candidates(judged, tuple(engines), opening([], **engines))
    assert choice == Choice("int8", "int8 20, fp32 5 patches/s on this CPU")


@pytest.mark.usefixtures("by_our_clock")
def test_a_choice_is_made_once_for_a_cpu_a_bundle_and_a_number_of_threads(judged: ModelBundle, cache: Path) -> None:
    opened: list[str] = []
    open_in = opening(opened, fp32=0.4, bf16=0.2, int8=0.1)
    first = choose(judged, CPU, 2, open_in)
    assert opened == ["fp32", "bf16", "int8"]
    assert choose(judged, CPU, 2, open_in) == first
    assert len(opened) == 3
    others = [
        (judged, {"name": "another CPU"}, 2),
        (judged, CPU, 4),
        (replace(judged, sha256=judged.sha256 | {"b.onnx": "0" * 64}), CPU, 2),
        (replace(judged, gates={"int8": PASSED}), CPU, 2),
    ]
    for number, other in enumerate(others, 2):
        choose(*other, open_in)
        assert len(list(cache.iterdir())) == number
    (kept,) = [json.loads(path.read_text()) for path in cache.iterdir() if '"another CPU"' in path.read_text()]
    assert kept["choice"] == {"precision": "int8", "reason": first.reason}


@pytest.mark.usefixtures("by_our_clock")
@pytest.mark.parametrize("content", ["", "{}", "[]", '{"choice": {"precision": "int8"}}'])
def test_a_damaged_choice_is_made_anew(
    judged: ModelBundle, cache: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    open_in = opening([], fp32=0.4, bf16=0.2, int8=0.1)
    first = choose(judged, CPU, 2, open_in)
    (path,) = cache.iterdir()
    path.write_text(content)
    assert choose(judged, CPU, 2, open_in) == first
    assert f"{path} cannot be read" in caplog.text
    assert json.loads(path.read_text())["choice"]["precision"] == "int8"


@pytest.mark.usefixtures("by_our_clock")
def test_a_cache_that_cannot_be_written_stops_nothing(
    judged: ModelBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("PS3D_RT_CACHE", str(tmp_path / "a file"))
    assert choose(judged, CPU, 2, opening([], fp32=0.4, bf16=0.2, int8=0.1)).precision == "int8"
    assert "chosen again in the next run" in caplog.text


@pytest.mark.parametrize("scheme", ["volume", "embedding"])
def test_the_drawn_patch_shows_balls_in_what_they_lie_in(scheme: str) -> None:
    patch = draw_patch((48, 48, 48), 16, scheme=scheme)
    assert (patch.shape, patch.dtype) == ((48, 48, 48), np.float32)
    halfway = -0.5 + 1.6 * np.arcsinh(0.5) if scheme == "embedding" else (patch.min() + patch.max()) / 2
    balls = patch > halfway
    assert balls.mean() == pytest.approx(np.pi / 6 / 1.05**3, abs=0.05)
    if scheme == "embedding":
        assert np.median(patch[~balls]) == pytest.approx(-0.5, abs=0.08)
        assert np.median(patch[balls]) == pytest.approx(-0.5 + 1.6 * np.arcsinh(1), abs=0.08)
    else:
        assert (patch.mean(), patch.std()) == (pytest.approx(0, abs=1e-5), pytest.approx(1, abs=1e-5))


# --- as engines are opened ---


def test_auto_opens_what_was_chosen_and_says_why(
    judged: ModelBundle, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(factory, "choose", lambda *_: Choice("int8", "a reason"))
    patches = np.random.default_rng(0).standard_normal((1, 1, 16, 16, 16), dtype=np.float32)
    with open_engine(judged, device="cpu") as ready:
        assert (ready.spec.choice, ready.spec.reason) == ("int8", "a reason")
        found = ready.infer(patches)
        again = ready.__reduce__()[0]
    with open_engine(judged, device="cpu", precision="int8") as asked:
        assert (asked.spec.choice, asked.spec.reason) == ("int8", "asked for")
        np.testing.assert_array_equal(asked.infer(patches), found)
    with open_engine(judged, device="cpu", precision="fp32") as whole:
        assert np.abs(whole.infer(patches) - found).max() > 0.1, "another network"
    monkeypatch.setattr(factory, "choose", lambda *_: pytest.fail("a process chooses for itself"))
    assert again().spec.choice == "int8"


def test_auto_really_times_the_networks(judged: ModelBundle, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="ps3d_rt"), open_engine(judged, device="cpu", limits=ONE_THREAD) as ready:
        assert ready.spec.choice in ("fp32", "bf16")
        assert "int8 is wrong on it" in ready.spec.reason, "its network is another one"
    assert "trying fp32, bf16, int8 on this CPU, once" in caplog.text
    with open_engine(judged, device="cpu", limits=ONE_THREAD) as again:
        assert again.spec == ready.spec


def test_a_model_that_was_not_judged_runs_as_before(tiny_bundle: ModelBundle, cache: Path) -> None:
    with open_engine(tiny_bundle, device="cpu") as ready:
        assert ready.spec.choice == ready.spec.precision
        assert ready.spec.reason == "no other was judged"
    assert not cache.exists()


def test_a_precision_that_is_not_there_says_what_to_do(judged: ModelBundle, tiny_bundle: ModelBundle) -> None:
    with pytest.raises(CapabilityError, match=r"'tiny' has no networks in int8; .*ps3d-rt export precisions"):
        open_engine(tiny_bundle, device="cpu", precision="int8")
    with pytest.raises(CapabilityError, match="onnxruntime has no fast int8 on a CPU; use engine openvino"):
        open_engine(judged, engine="onnxruntime", precision="int8")
    with pytest.raises(InputError, match="precision is 'int3'; use auto, fp32, bf16 or int8"):
        open_engine(judged, device="cpu", precision="int3")


def test_the_networks_of_a_precision_are_part_of_the_bundle(judged: ModelBundle) -> None:
    assert [path.name for path in judged.paths_in("int8")] == ["b.onnx"]
    assert judged.paths_in("bf16") == judged.onnx_paths
    assert judged.hash_in("bf16") == judged.hash != judged.hash_in("int8")
    (judged.path / "b.onnx").write_bytes(b"changed")
    with pytest.raises(InputError, match=r"b\.onnx is not the file"):
        load_model(judged.path)
    with pytest.raises(InputError, match="one ONNX file for each"):
        replace(judged, precisions={"int8": ()})

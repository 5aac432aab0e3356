"""What a person must know of a file reaches the screen, run.json and the report."""

from __future__ import annotations

import numpy as np
import pytest

from fake_engine import FakeEngine, fake_bundle
from ps3d_rt.cli.progress import warn
from ps3d_rt.events import Event, Warned
from ps3d_rt.io.base import ArrayVolume
from ps3d_rt.pipeline import predict_volume
from ps3d_rt.plan import PredictConfig


def test_a_volume_says_the_same_only_once() -> None:
    volume = ArrayVolume(np.zeros((2, 2, 2), np.uint8))
    volume.warn("The spacing is odd.", "The spacing is odd.")
    volume.warn("The spacing is odd.", "It is 8 bit.")
    assert volume.warnings == ("The spacing is odd.", "It is 8 bit.")


def test_warnings_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    warn("The spacing is odd.", "It is 8 bit.")
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == ["warning: The spacing is odd.", "warning: It is 8 bit."]


def test_a_run_repeats_what_its_scan_warns_of() -> None:
    image = np.full((32, 32, 32), 100, np.uint8)
    image[8:24, 8:24, 8:24] = 200
    volume = ArrayVolume(image, 0.01)
    volume.warn("It is 8 bit.")
    model = fake_bundle(24, target_size_voxels=16.0)
    heard: list[Event] = []
    config = PredictConfig(spacing_mm=(0.01,) * 3, particle_size_mm=0.16, overlap=0.5)
    result = predict_volume(volume, model, FakeEngine((24, 24, 24), threshold=1.0), config, heard.append)
    said = [event for event in heard if isinstance(event, Warned)]
    assert said[0] == Warned("It is 8 bit.")
    assert [event.text for event in said] == result.run["warnings"]
    assert [event.kind for event in said[1:]] == ["few whole particles"]

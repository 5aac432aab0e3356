"""The runner for compox: slices and parameters, labels that fit, progress; and a run in the host's debug session."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ps3d_rt.errors import InputError
from ps3d_rt.events import RunDone, StageAdvanced, StageStarted

FOLDER = Path(__file__).parents[2] / "integrations/compox"


@pytest.fixture
def host_data(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.delitem(sys.modules, "host_data", raising=False)
    import host_data  # noqa: PLC0415 - the runner finds it as its neighbour

    return host_data


@pytest.mark.parametrize(("particles", "label_type"), [(255, "uint8"), (65535, "uint16"), (65536, "uint32")])
def test_labels_get_the_type_that_was_asked_for(host_data: Any, particles: int, label_type: str) -> None:
    labels = np.array([[[0, particles]]], np.uint32)
    found = host_data.fitting(labels, particles, label_type)
    assert found.dtype == label_type
    assert found.tolist() == labels.tolist()


@pytest.mark.parametrize(("particles", "asked", "wider"), [(256, "uint8", "uint16"), (65536, "uint16", "uint32")])
def test_more_particles_than_labels_are_an_error_with_the_cure(
    host_data: Any, particles: int, asked: str, wider: str
) -> None:
    with pytest.raises(InputError, match=rf"{particles} particles were found.*{asked}.*set label_type to {wider}"):
        host_data.fitting(np.zeros((1, 1, 1), np.uint32), particles, asked)
    with pytest.raises(InputError, match="label_type is 'int9'; choose one of uint8, uint16, uint32"):
        host_data.fitting(np.zeros((1, 1, 1), np.uint32), 0, "int9")


def test_slices_and_parameters_are_checked(host_data: Any) -> None:
    half = host_data.as_volume(np.ones((2, 3, 4), np.float16))
    assert half.dtype == np.float32
    assert host_data.as_volume(np.ones((2, 3, 4), np.uint16)).dtype == np.uint16
    with pytest.raises(InputError, match=r"\(2, 3, 4, 5\); slices of one gray value"):
        host_data.as_volume(np.ones((2, 3, 4, 5), np.uint8))
    assert host_data.spacing_of({"spacing": 0.01}) == 0.01
    for parameters in ({}, {"spacing": 0.0}, {"spacing": -1}, {"spacing": None}):
        with pytest.raises(InputError, match=r"set the parameter to the side of a voxel in mm"):
            host_data.spacing_of(parameters)


def test_progress_goes_from_0_to_1_and_never_back(host_data: Any) -> None:
    told: list[float] = []
    hear = host_data.HostProgress(told.append)
    for stage in ("gray scale", "network", "particles", "labels", "report"):
        hear(StageStarted(stage, 4, "tasks", 1.0))
        for done in (2, 1, 4, 9):
            hear(StageAdvanced(stage, done, 0))
    hear(RunDone(1, 1.0, 0, 0.0))
    assert told == sorted(told)
    assert told[0] == pytest.approx(0.01)
    assert told[-1] == 1.0


@pytest.mark.skipif(find_spec("compox") is None, reason="compox is not installed: it is no dependency of ours")
def test_a_run_in_the_debug_session_gives_the_labels_of_predict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import h5py  # noqa: PLC0415
    from compox.algorithm_utils.LocalDebugSession import LocalDebugSession  # noqa: PLC0415

    import ps3d_rt  # noqa: PLC0415

    monkeypatch.delitem(sys.modules, "Runner", raising=False)
    monkeypatch.syspath_prepend(str(FOLDER))
    z, y, x = np.indices((40, 48, 48)).astype(float)
    distance = np.sqrt((z % 20 - 10) ** 2 + (y % 24 - 12) ** 2 + (x % 24 - 12) ** 2)
    noise = np.random.default_rng(0).normal(0, 300, distance.shape)
    scan = (np.where(distance < 8, 30000, 9000) + noise).astype(np.uint16)
    np.save(tmp_path / "scan.npy", scan)
    session = LocalDebugSession()
    ids = session.load_data(str(tmp_path / "scan.npy"))
    told: list[float] = []
    monkeypatch.setattr(type(session.task), "progress", property(lambda _: 0.0, lambda _, value: told.append(value)))
    session.run(str(FOLDER), {"input_dataset_ids": ids}, {"spacing": 0.01, "particle_size": 0.16, "engine": "fake"})
    want = ps3d_rt.predict(scan, spacing=0.01, particle_size=0.16, engine="fake").labels
    masks = [_mask(session, one, h5py) for one in session.task.output_dataset_ids]
    assert want.max() > 3
    assert np.array_equal(np.stack(masks), want)
    assert masks[0].dtype == np.uint16
    assert len(set(told)) > 5, "every stage is told of"
    assert told == sorted(told)


def _mask(session: Any, key: str, h5py: Any) -> np.ndarray[Any, Any]:
    import io  # noqa: PLC0415

    [content] = session.task.database_connection.get_objects(session.bucket, [key])
    with h5py.File(io.BytesIO(content)) as file:
        mask: np.ndarray[Any, Any] = file["mask"][()]
    return mask

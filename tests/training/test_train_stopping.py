"""A real signal to a real training: exit code 4, a line how to go on, and the next epoch is the one after."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ps3d_rt.workers import STOP_SIGNALS
from ps3d_training import patches
from ps3d_training.plan import TrainingPlan
from ps3d_training.schedule import Epoch, Schedule
from ps3d_training.training import TrainingRun, train

COMMAND = "from ps3d_rt.cli import main\nif __name__ == '__main__':\n    main()"
PLAN = TrainingPlan(target_size_voxels=8, border_thickness_voxels=1.0, patch=(16, 16, 16), stages=2, width=4)
OPTIONS = {"patch": 16, "stages": 2, "width": 4, "epochs": 9999, "steps-per-epoch": 2, "validate-every": 0}
MACHINE = {"workers": 1, "threads": 1, "device": "cpu"}


@pytest.mark.skipif(sys.platform == "win32", reason="signals to a group of processes")
def test_sigterm_to_all_its_processes_stops_a_training_which_goes_on_from_there(prepared: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = [word for name, value in (OPTIONS | MACHINE).items() for word in (f"--{name}", value)]
    words = [str(word) for word in (sys.executable, "-c", COMMAND, "train", "run", prepared, out, *options)]
    heard = []
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr is not None
        for line in process.stderr:  # an epoch is reported when it is saved
            heard.append(line)
            if line.startswith("epoch 2/"):
                os.killpg(process.pid, signal.SIGTERM)
    assert process.returncode == 4, "".join(heard)
    assert not [line for line in heard if "Traceback" in line or "Exception" in line], "".join(heard)
    last = re.search(r"^ps3d-rt: stopped\. The same command goes on after epoch (\d+)\.$", "".join(heard), re.MULTILINE)
    assert last is not None
    done, said = int(last[1]), list[Epoch]()
    assert done >= 2
    schedule = replace(Schedule(), epochs=done + 1, steps_per_epoch=2, validate_every=0, workers=0)
    train(TrainingRun(prepared=prepared, out=out, plan=PLAN, schedule=schedule, device="cpu", threads=1), said.append)
    assert [epoch.number for epoch in said] == [done + 1]


def test_workers_leave_signals_to_the_training(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    was = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    try:
        patches._leave_stopping_to_the_training(0)
        assert {signal.getsignal(number) for number in STOP_SIGNALS} == {signal.SIG_IGN}
    finally:
        for number, handler in was.items():
            signal.signal(number, handler)
    sys.excepthook(ConnectionResetError, ConnectionResetError("gone"), None)
    assert capsys.readouterr().err == ""
    sys.excepthook(ValueError, ValueError("wrong"), None)
    assert "ValueError: wrong" in capsys.readouterr().err

import numpy as np

from ps3d_bench.baselines.snow import snow
from ps3d_rt.core.metrics import evaluate


def test_balls_that_touch_come_apart_without_a_setting(grains):
    _, reference = grains
    labels = snow(reference > 0)
    assert ((labels > 0) == (reference > 0)).all()
    assert evaluate(labels, reference).f1_instance > 0.97


def test_a_piece_too_thin_for_a_peak_is_a_particle_and_a_speck_is_none(grains):
    _, reference = grains
    foreground = reference > 0
    foreground[18:24, 2:8, 2:4] = True
    foreground[0, 23, 39] = True
    labels = snow(foreground)
    assert len(np.unique(labels[18:24, 2:8, 2:4])) == 1
    assert labels[20, 4, 3] > 0
    assert labels[0, 23, 39] == 0


def test_no_foreground_no_particle(capsys):
    assert not snow(np.zeros((12, 12, 12), bool)).any()
    assert capsys.readouterr().out == ""

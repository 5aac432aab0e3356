import pytest
from hypothesis import given
from hypothesis import strategies as st

from ps3d_bench.fit import Fit, Work, fit, total, work_of
from ps3d_rt.errors import InputError

WORKS = [
    Work(10, 2_000_000, 300_000),
    Work(300, 2_000_000, 1_500_000),
    Work(40, 16_000_000, 2_500_000),
    Work(1500, 16_000_000, 40_000_000),
    Work(80, 16_000_000, 9_000_000),
]


def seconds(a: float, b: float, c: float, d: float) -> list[float]:
    """Of every run of :data:`WORKS`; c and d are for a million voxels."""
    return [a + b * w.patches + (c * w.source_voxels + d * w.normalized_voxels) / 1e6 for w in WORKS]


@given(*[st.floats(0.001, 10)] * 4)
def test_known_coefficients_come_back(a, b, c, d):
    found = fit(WORKS, seconds(a, b, c, d))
    assert found.seconds_a_run == pytest.approx(a, rel=1e-3, abs=1e-3)
    assert found.seconds_a_patch == pytest.approx(b, rel=1e-3, abs=1e-4)
    assert found.seconds_a_source_voxel * 1e6 == pytest.approx(c, rel=1e-3, abs=1e-3)
    assert found.seconds_a_normalized_voxel * 1e6 == pytest.approx(d, rel=1e-3, abs=1e-3)
    assert found.largest_relative_error(WORKS, seconds(a, b, c, d)) < 1e-3
    far = Work(500_000, 1_570_000_000, 2_000_000_000)
    assert found.seconds(far) == pytest.approx(a + 500_000 * b + 1570 * c + 2000 * d, rel=1e-3)


def test_no_coefficient_is_below_0():
    found = fit(WORKS, [5, 4, 3, 2, 1])
    assert min(found.seconds_a_run, found.seconds_a_patch) >= 0
    assert min(found.seconds_a_source_voxel, found.seconds_a_normalized_voxel) >= 0
    assert found.largest_relative_error(WORKS, [5, 4, 3, 2, 1]) > 0.3


def test_a_short_run_counts_as_much_as_a_long_one():
    one_patch = [Work(1, 0, 0), Work(1, 0, 0), Work(1, 0, 0), Work(1000, 0, 0)]
    found = fit(one_patch, [1.0, 1.0, 1.0, 1000.0 * 1.2])
    assert found.seconds(Work(1, 0, 0)) == pytest.approx(1.0, rel=0.05)


def test_a_stage_that_takes_no_time_has_no_coefficients():
    assert fit(WORKS, [0.0] * len(WORKS)) == Fit(0, 0, 0, 0)


def test_stages_add_up():
    assert total([Fit(1, 2, 3, 4), Fit(0.5, 0, 0, 1)]) == Fit(1.5, 2, 3, 5)


def test_the_worst_run_is_named_by_its_share():
    line = Fit(seconds_a_run=2, seconds_a_patch=0, seconds_a_source_voxel=0, seconds_a_normalized_voxel=0)
    assert line.largest_relative_error(WORKS[:2], [2.0, 4.0]) == 0.5


def test_nothing_to_fit_is_refused():
    with pytest.raises(InputError, match="no run"):
        fit([], [])


def test_the_work_of_a_scan_is_counted_by_arithmetic():
    # 997 x 1256 x 1256 at 60 voxels a particle, shrunk to 24: 399 x 502 x 502, patches of 64 every 48 voxels.
    work = work_of((997, 1256, 1256), zoom=0.4, patch=(64, 64, 64), overlap=0.25, computed_share=0.5)
    assert work.source_voxels == 997 * 1256 * 1256
    assert work.normalized_voxels == 399 * 502 * 502
    assert work.patches == 0.5 * 8 * 11 * 11

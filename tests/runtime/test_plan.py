"""The budget of GPU memory: what is planned fits it, and the advice helps where nothing does."""

from __future__ import annotations

import re
from math import prod
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ps3d_rt.devices import GpuDevice
from ps3d_rt.devices.budget import DeviceBudget, RunBudget
from ps3d_rt.devices.gpu import BYTES_PER_VOXEL
from ps3d_rt.errors import InputError
from ps3d_rt.memory import HALO
from ps3d_rt.plan import (
    WORK_SHARD,
    PredictConfig,
    RunPlan,
)


@pytest.fixture(scope="module")
def model(fake_model: Any) -> Any:
    return fake_model(patch=96, target_size_voxels=60.0)


def wanted(side: int) -> tuple[int, int, int]:
    z, y, x = (-(-side // n) * n for n in WORK_SHARD)
    return z, y, x


def spent(budget: int, chunk: tuple[int, int, int]) -> DeviceBudget:
    run = RunBudget(memory_bytes=0, gpu_memory_bytes=budget, workers=1, chunk=chunk, shard=WORK_SHARD)
    return GpuDevice("cuda:0").budget(run)


@given(budget=st.integers(2**20, 2**37), side=st.integers(1, 900))
def test_what_is_planned_fits_the_budget(budget, side):
    try:
        plan = spent(budget, wanted(side))
    except InputError as error:
        needed = int(re.search(r"--gpu-memory (\d+)", str(error))[1])
        assert needed * 2**30 > budget
        spent(needed * 2**30, wanted(side))
        return
    config = PredictConfig(spacing_mm=(1, 1, 1), particle_size_mm=9, overlap=0, gpu_memory_bytes=budget)
    assert plan.sweep_bytes + config.network_bytes <= budget * 3 / 4
    assert all(
        n % shard == 0 and 0 < n <= want for n, shard, want in zip(plan.chunk, WORK_SHARD, wanted(side), strict=True)
    )
    assert plan.chunks_at_once >= 1
    assert plan.chunks_at_once * prod(n + 2 * HALO for n in plan.chunk) * BYTES_PER_VOXEL <= budget / 2


def test_more_memory_gives_larger_and_more_chunks():
    plans = [spent(gib * 2**30, (512, 512, 512)) for gib in (1, 6, 12, 24, 48)]
    chunks = [(64, 256, 256), (256, 512, 512), (512,) * 3, (512,) * 3, (512,) * 3]
    assert [plan.chunk for plan in plans] == chunks
    assert [plan.chunks_at_once for plan in plans] == [1, 1, 1, 2, 4]


def test_a_run_is_cut_by_the_budget_of_its_gpu_and_only_there(model):
    config = PredictConfig(spacing_mm=(0.01,) * 3, particle_size_mm=0.6, overlap=0.4, gpu_memory_bytes=4 * 2**30)
    source = (997, 1256, 1256)
    on_cpu = RunPlan.for_shape(source, 2, model, config)
    tight, wide = (
        RunPlan.for_shape(source, 2, model, config_, ("cuda:0",))
        for config_ in (config, PredictConfig(spacing_mm=(0.01,) * 3, particle_size_mm=0.6, overlap=0.4))
    )
    assert (on_cpu.budget.host_sweeps, tight.budget.host_sweeps) == (1, 0)
    assert on_cpu.chunks.chunk == (256, 256, 256)
    assert len(tight.sweeps) > len(wide.sweeps) == 1
    for plan in (tight, wide):
        widest = max(prod(plan.lattice.read_box(sweep.write).shape[1:]) for sweep in plan.sweeps)
        assert widest * plan.column_bytes(2) <= plan.budget.sweep_bytes


def test_a_budget_that_holds_no_chunk_is_refused(model):
    config = PredictConfig(spacing_mm=(0.01,) * 3, particle_size_mm=0.6, overlap=0.4, gpu_memory_bytes=2**28)
    with pytest.raises(InputError, match="--gpu-memory 1 or more"):
        RunPlan.for_shape((500, 500, 500), 2, model, config, ("cuda:0",))
    RunPlan.for_shape((500, 500, 500), 2, model, config)

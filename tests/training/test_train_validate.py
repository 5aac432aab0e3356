from __future__ import annotations

from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import pytest
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

from ps3d_rt.core.border_core import to_border_core
from ps3d_rt.stages.particles import to_instances
from ps3d_training import validate
from ps3d_training.validate import has_instances, score_sample, segment, smallest_sample

PATCH = (16, 16, 16)


def balls(shape: tuple[int, int, int]) -> np.ndarray[Any, Any]:
    """Instances: a ball of 10 voxels across in every cube of 12, so neighbours are apart."""
    z, y, x = np.indices(shape)
    inside = sum((axis % 12 - 5.5) ** 2 for axis in (z, y, x)) < 25
    return np.where(inside, 1 + z // 12 * 100 + y // 12 * 10 + x // 12, 0).astype(np.int16)


def oracle(voxels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Scores of a network that is always right about gray values −1 background, 0 core, 1 border."""
    return np.stack([voxels == value for value in (-1, 0, 1)]).astype(np.float32)


@pytest.mark.parametrize("shape", [(36, 40, 25), (10, 36, 24), (16, 16, 16)])
def test_a_perfect_network_gives_the_map_back_at_any_shape(shape: tuple[int, int, int]) -> None:
    border_core = to_border_core(balls(shape), 1.5)
    image = border_core.astype(np.float32) - 1
    assert np.array_equal(segment(oracle, image, PATCH), border_core)
    assert score_sample(oracle, image, to_instances(border_core), PATCH).f1_instance == 1


def test_a_network_that_merges_neighbours_loses_particles_not_voxels() -> None:
    instances = np.zeros((16, 16, 32), np.int16)
    instances[2:14, 2:14, 2:16], instances[2:14, 2:14, 16:30] = 1, 2
    border_core = to_border_core(instances, 1.5)
    right = border_core.astype(np.float32) - 1
    without_border_between = right.copy()
    without_border_between[5:11, 5:11, 14:18] = 0
    assert score_sample(oracle, right, instances, PATCH).f1_instance == 1
    merged = score_sample(oracle, without_border_between, instances, PATCH)
    assert merged.f1 == 1
    assert merged.merger_ratio == 0.5
    assert merged.f1_instance < 0.5


def test_empty_patches_do_not_reach_the_network() -> None:
    image = np.full((16, 16, 64), -1, np.float32)
    image[4:12, 4:12, 4:12] = 0
    asked = []
    segment(lambda voxels: asked.append(voxels) or oracle(voxels), image, PATCH)
    assert len(asked) == 1


def write_case(folder: Path, name: str, instances: np.ndarray[Any, Any]) -> None:
    for path in (folder, folder.with_name(f"{folder.name}_instances")):
        path.mkdir(exist_ok=True)
    image = instances[None].astype(np.float32) * 10
    blocks = {"chunks": image.shape, "blocks": image.shape}
    nnUNetDatasetBlosc2.save_case(image, (instances[None] > 0).astype(np.int8), {}, str(folder / name), **blocks)
    blosc2.asarray(instances, urlpath=str(folder.with_name(f"{folder.name}_instances") / f"{name}.b2nd"))


def test_the_smallest_sample_is_taken_and_only_the_middle_of_a_large_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cases"
    for name, shape in (("a", (20, 24, 24)), ("b", (21, 12, 14)), ("c", (36, 12, 12))):
        write_case(folder, name, balls(shape))
    assert has_instances(folder)
    image, instances = smallest_sample(nnUNetDatasetBlosc2(str(folder)))
    assert np.array_equal(instances, balls((21, 12, 14)))
    assert np.array_equal(image, instances * 10)
    monkeypatch.setattr(validate, "MOST_SIDE_VOXELS", 12)
    image, instances = smallest_sample(nnUNetDatasetBlosc2(str(folder)))
    assert np.array_equal(instances, balls((21, 12, 14))[4:16, :, 1:13])
    assert np.array_equal(image, instances * 10)


def test_an_early_preparation_has_no_instances(tmp_path: Path) -> None:
    (tmp_path / "cases").mkdir()
    assert not has_instances(tmp_path / "cases")

"""What training samples look like gets into the bundle, from prepared samples and from simulated ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ps3d_rt.core.likeness import TrainingCloud, compare
from ps3d_rt.core.scan_statistics import measure_volume
from ps3d_rt.errors import InputError
from ps3d_rt.io.samples import find_samples
from ps3d_rt.model import ModelBundle, load_model, write_bundle
from ps3d_training.bundle_plan import plan_of
from ps3d_training.dataset import normalize
from ps3d_training.likeness import prepared_statistics, simulated_statistics, write_statistics
from ps3d_training.recipe_sources import SOURCES, Source, draw_specs
from ps3d_training.synth.spec import SampleSpec
from toy_training import PLAN


def tiny(seed: int) -> SampleSpec:
    return SampleSpec(seed=seed, shape=(32, 32, 32), particle_size_voxels=10, fill=0.3)


@pytest.fixture
def bundle(tmp_path: Path) -> ModelBundle:
    (tmp_path / "weights").write_bytes(b"none")
    fields: dict[str, Any] = {"patch": (16, 16, 16), "target_size_voxels": 8.0, "border_thickness_voxels": 1.0}
    described = ModelBundle(name="mine", members=("fold_0.onnx",), **fields)
    return write_bundle(tmp_path / "mine.ps3d", described, {"fold_0.onnx": tmp_path / "weights"})


def test_prepared_samples_are_measured_as_they_were_stored(samples: Path, prepared: Path) -> None:
    found = list(prepared_statistics(prepared))
    expected = []
    for sample in find_samples(samples):
        image, instances = sample.read(lambda text: None)
        expected.append(measure_volume(*normalize(image, instances, (1.0, 1.0, 1.0), PLAN)))
    assert len(found) == 2
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other)
    with pytest.raises(InputError, match="no prepared samples"):
        list(prepared_statistics(samples))


def test_a_bundle_learns_what_its_samples_look_like(bundle: ModelBundle) -> None:
    rows = list(simulated_statistics(9, PLAN, [Source(tiny, 1.0, 0)]))
    assert len(rows) == 9
    write_statistics(bundle.path, rows)
    cloud = TrainingCloud.from_json(load_model(bundle.path).training_statistics)
    assert cloud.samples == 9
    assert not any(compare(row, cloud).is_unlike for row in rows)
    assert compare(rows[0] | {"noise": 50 * rows[0]["noise"]}, cloud).is_unlike
    with pytest.raises(InputError, match="8 or more"):
        write_statistics(bundle.path, rows[:3])


def test_specs_are_drawn_in_the_shares_of_their_sources_with_seeds_of_their_own() -> None:
    drawn = list(draw_specs(SOURCES, 100))
    found = Counter(spec.seed // 100_000 for spec in drawn)
    assert [found[source.first_seed // 100_000] for source in SOURCES] == pytest.approx(
        [100 * source.share for source in SOURCES], abs=1
    )
    assert len({spec.seed for spec in drawn}) == 100
    assert all(spec.seed % 100_000 >= 50_000 for spec in drawn)


def test_the_plan_of_a_bundle_is_its_network_on_its_own_grid(bundle: ModelBundle) -> None:
    default = load_model("default")
    plan = plan_of(default)
    assert (plan.gray_scheme, plan.gray_floor, plan.gray_ceiling) == ("embedding", -1.5, None)
    assert (plan.width, plan.stages, plan.norm) == (16, 4, "batch")
    with pytest.raises(InputError, match="does not say how it was trained"):
        plan_of(bundle)

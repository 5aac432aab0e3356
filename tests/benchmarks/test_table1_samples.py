"""The set of Table 1: what is in it, and that training cannot have seen it."""

from collections import Counter

from ps3d_bench.accuracy_samples import SAMPLES, TABLE1, choose
from ps3d_bench.table1_samples import ROWS, SCALE
from ps3d_training.synth.physics import random_physics_spec
from ps3d_training.synth.physics.materials import recipe, training_minerals, training_recipes


def test_three_seeds_of_eight_five_and_one_materials_in_a_row():
    assert Counter(sample.group for sample in TABLE1) == {"table1-in": 24, "table1-out": 15, "table1-artifact": 3}
    assert [sample.spec.seed for sample in TABLE1] == list(range(960001, 960043))
    assert len({sample.material for sample in TABLE1}) == 14
    for sample in TABLE1:
        assert sample.spec.material == sample.material


def test_what_is_out_of_distribution_is_in_no_recipe_of_training():
    for row in ROWS:
        if row.group == "table1-in":
            assert row.material in training_recipes()
        else:
            assert row.material not in training_recipes()
            assert {name for name, _ in recipe(row.material).minerals} - set(training_minerals())
    drawn = {random_physics_spec(seed).material for seed in range(300)}
    assert drawn <= {*training_recipes(), "mixture"}


def test_sizes_are_the_papers_scaled():
    paper = [row.size_voxels for row in ROWS]
    assert 58 <= sum(paper) / len(paper) <= 70
    for sample in TABLE1:
        size = next(row.size_voxels for row in ROWS if row.material == sample.material)
        assert sample.spec.grains.particle_size_voxels == size * SCALE
        assert 112 <= sample.spec.grains.shape[0] <= 192
        assert sample.spec.embedding == "PMMA"
        assert sample.spec.grains.touching < 0.1


def test_the_words_all_and_table1_are_two_sets():
    assert choose("table1") == TABLE1
    assert choose("all") == SAMPLES
    assert [sample.material for sample in choose("960042,table1-artifact")] == ["Cu/Au ore"] * 3

import numpy as np
import pytest

from ps3d_bench.baselines.watershed import Cut, Labelled, climb, completed, from_seeds, tune_cut


def test_a_cut_scales_its_erosion_with_the_particles(grains):
    _, reference = grains
    assert len(np.unique(Cut(0, 0.0).apply(reference > 0, 11.0))) == 3  # the two that touch are one
    assert len(np.unique(Cut(0, 0.32).apply(reference > 0, 11.0))) == 4
    assert len(np.unique(Cut(0, 0.32).apply(reference > 0, 1.0))) == 3


def test_the_tuned_cut_is_the_best_of_its_neighbours_on_all_samples_together(grains):
    _, reference = grains
    larger = reference.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    samples = [Labelled(reference > 0, reference, 11.0), Labelled(larger > 0, larger, 22.0)]
    cut, best, tried = tune_cut(samples)
    assert best > 0.97
    assert 0.1 < cut.erosion_share < 0.45
    assert cut.opening_voxels == 0
    assert tried >= 12
    assert tune_cut(samples[:1])[1] >= best - 0.02


def test_the_climb_goes_on_to_the_top_beyond_its_start_and_asks_once():
    asked = []

    def scores(points):
        asked.extend(points)
        return [(point, -abs(point[0] - 9) - abs(point[1] - 2)) for point in points]

    assert climb([(0, 0), (4, 0), (4, 4)], scores)[:2] == ((9, 2), 0)
    assert len(asked) == len(set(asked))
    assert min(min(point) for point in asked) == 0


def test_a_piece_without_a_seed_is_one_particle_and_a_speck_is_none():
    foreground = np.zeros((1, 1, 600), bool)
    foreground[..., :500] = foreground[..., 510:520] = foreground[..., 530] = True
    labels = np.where(np.arange(600) < 500, 7, 0)[None, None]
    found = completed(labels, foreground)
    assert set(np.unique(found[..., :500])) == {7}
    assert len(np.unique(found[..., 510:520])) == 1
    assert found[0, 0, 510] not in (0, 7)
    assert found[0, 0, 530] == 0
    assert not found[~foreground].any()


def test_nothing_in_nothing_out():
    empty = np.zeros((4, 4, 4), bool)
    assert not from_seeds(empty, empty.astype(float), empty.astype(int)).any()


@pytest.mark.parametrize("full", [True, False])
def test_a_volume_of_one_kind(full):
    labels = Cut(0, 0.2).apply(np.full((6, 6, 6), full), 10.0)
    assert np.unique(labels).tolist() == [1 if full else 0]

import json
from dataclasses import asdict
from itertools import permutations

import numpy as np
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from ps3d_rt.cli.evaluate import evaluate as evaluate_command
from ps3d_rt.core import metrics
from ps3d_rt.core.metrics import count_overlaps, evaluate, evaluate_slabs, merge_overlaps, score
from ps3d_rt.core.runs import z_slabs
from ps3d_rt.errors import InputError


def line(text: str) -> np.ndarray:
    """One row of voxels, a letter a particle: ``aa.b`` → 1 1 0 2."""
    return np.array([[[0 if c == "." else ord(c) - ord("a") + 1 for c in text]]])


def test_matched_missed_and_false_particles_worked_by_hand():
    reference = line("aaaa..bbbb..cc..")
    prediction = line("aaa..bbbbb.....c")
    result = evaluate(prediction, reference)
    assert (result.predicted, result.reference, result.matched) == (3, 3, 2)
    # 9 voxels predicted, 10 in the reference, 3 + 4 of them shared
    assert result.f1 == pytest.approx(2 * 7 / 19)
    assert result.f1_match == pytest.approx(2 * 2 / 6)
    # a: 2·3/(3+4); b: 2·4/(5+4); c of the reference is missed, c of the prediction is false
    assert result.f1_instance == pytest.approx((6 / 7 + 8 / 9) / 4)
    assert (result.mergers, result.splitters) == (0, 0)


def test_mergers_worked_by_hand():
    #                three in a        two in b   one each
    reference = line("aa.bbb.cc" + "." + "ddeee" + ".fff.gg")
    prediction = line("aaaaaaaaa" + "." + "bbbbb" + ".ccc.dd")
    result = evaluate(prediction, reference)
    assert result.mergers == (3 + 2) - 2
    assert result.merger_ratio == pytest.approx(3 / 7)
    assert result.splitters == 0


def test_splitters_worked_by_hand():
    reference = line("aaaaaaaaa" + "." + "bbbbb" + ".ccc.dd")
    prediction = line("aa.bbb.cc" + "." + "ddeee" + ".fff.gg")
    result = evaluate(prediction, reference)
    assert result.splitters == (3 + 2) - 2
    assert result.splitter_ratio == pytest.approx(3 / 4)
    assert result.mergers == 0


def test_a_particle_halved_exactly_belongs_to_neither_half():
    result = evaluate(line("aaaabbbb"), line("aabbbbcc"))
    assert result.mergers == 0
    # one voxel more and it belongs to a
    assert evaluate(line("aaaaabbb"), line("aabbbbcc")).mergers == 1


def test_a_piece_that_lies_mostly_outside_is_no_split():
    assert evaluate(line("aaabbbb"), line("aaaaa..")).splitters == 0
    assert evaluate(line("aaabb.."), line("aaaaa..")).splitters == 1


def test_overlap_of_exactly_one_tenth_is_a_match():
    assert evaluate(line("a" + "." * 18), line("a" * 19)).matched == 1  # 2·1/(1+19) = 0.1
    assert evaluate(line("a" + "." * 19), line("a" * 20)).matched == 0  # 2/21


def test_the_matching_has_the_best_sum_not_the_best_first_pair():
    # b over a: 2·7/20 = 0.7; instead a over a and b over b: 2·3/13 each, 12/13 together
    result = evaluate(line("aaabbbbbbbbbb"), line("aaaaaaaaaabbb"))
    assert result.matched == 2
    assert result.f1_instance == pytest.approx((12 / 13) / 2)
    assert result.f1_match == 1.0


def test_each_particle_is_matched_once():
    # both pieces overlap a by F1 2·2/6, only one of them can have it
    result = evaluate(line("aabb"), line("aaaa"))
    assert result.matched == 1
    assert result.f1_instance == pytest.approx((4 / 6) / 2)
    assert result.f1_match == pytest.approx(2 / 3)


def test_equal_sums_are_decided_for_more_pairs():
    best = metrics._best_matching(np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([0.5, 0.25, 0.25]))
    assert best.tolist() == [0.25, 0.25]


def test_identical_particles_are_perfect_whatever_their_ids():
    reference = line("aa.bbb.c")
    result = evaluate(np.array([0, 2**32 - 1, 7, 2**32 - 2], np.uint32)[reference], reference)
    assert (result.f1, result.f1_match, result.f1_instance) == (1, 1, 1)
    assert (result.merger_ratio, result.splitter_ratio) == (0, 0)


def test_nothing_on_both_sides_is_perfect():
    result = evaluate(line("...."), line("...."))
    assert (result.f1, result.f1_match, result.f1_instance) == (1, 1, 1)
    assert (result.merger_ratio, result.splitter_ratio, result.predicted, result.reference) == (0, 0, 0, 0)


@pytest.mark.parametrize(("prediction", "reference"), [("aa.b", "...."), ("....", "aa.b"), ("aa..", "..aa")])
def test_nothing_in_common_is_zero(prediction, reference):
    result = evaluate(line(prediction), line(reference))
    assert (result.f1, result.f1_match, result.f1_instance) == (0, 0, 0)
    assert (result.merger_ratio, result.splitter_ratio) == (0, 0)


def test_more_particles_than_16_bits_hold():
    reference = np.arange(1, 70_001, dtype=np.uint32).reshape(1, 200, 350)
    result = evaluate(reference[:, ::-1, ::-1][:, ::-1, ::-1] + np.uint32(2**31), reference)
    assert (result.matched, result.predicted, result.f1_instance) == (70_000, 70_000, 1.0)


def test_float_labels_of_the_published_files_are_ids():
    reference, prediction = line("aab.c"), line("aaa.b")
    assert evaluate(prediction.astype(np.float64), reference.astype(np.uint16)) == evaluate(prediction, reference)


def test_other_arrays_are_refused():
    with pytest.raises(InputError, match="prediction has shape"):
        evaluate(line("aa"), line("aaa"))
    with pytest.raises(InputError, match="three axes"):
        evaluate(np.ones((2, 2), int), np.ones((2, 2), int))
    with pytest.raises(InputError, match="whole numbers"):
        evaluate(line("a") * 0.5, line("a"))


def some_labels(seed: int, shape=(6, 7, 8), particles=6):
    """Two label volumes that overlap in many ways: blocks of ids, one moved and cut against the other."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, particles, [-(-n // 3) + 1 for n in shape])
    fine = coarse.repeat(3, 0).repeat(3, 1).repeat(3, 2)
    z, y, x = rng.integers(0, 3, 3)
    prediction = fine[z : z + shape[0], y : y + shape[1], x : x + shape[2]].copy()
    prediction[rng.random(shape) < 0.1] = rng.integers(0, particles)
    return prediction, fine[: shape[0], : shape[1], : shape[2]]


def by_brute_force(prediction, reference):
    """F1 table by comparing masks, the matching by trying all."""
    q_ids, p_ids = np.unique(prediction[prediction > 0]), np.unique(reference[reference > 0])
    f1 = np.zeros((len(q_ids), len(p_ids)))
    for i, q in enumerate(q_ids):
        for j, p in enumerate(p_ids):
            a, b = prediction == q, reference == p
            f1[i, j] = 2 * np.sum(a & b) / (np.sum(a) + np.sum(b))
    f1[f1 < 0.1] = 0
    if len(q_ids) > len(p_ids):
        f1 = f1.T
    return max(sum(f1[i, j] for i, j in enumerate(order)) for order in permutations(range(f1.shape[1]), len(f1)))


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_sum_of_matched_f1_is_the_largest_there_is(seed):
    prediction, reference = some_labels(seed)
    result = evaluate(prediction, reference)
    total = result.f1_instance * (result.predicted + result.reference - result.matched)
    assert total == pytest.approx(by_brute_force(prediction, reference))


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(1, 5))
def test_slabs_in_any_order_give_the_same_result(seed, cut):
    prediction, reference = some_labels(seed)
    slabs = [(prediction[z : z + cut], reference[z : z + cut]) for z in range(0, 6, cut)]
    assert evaluate_slabs(slabs[::-1]) == evaluate(prediction, reference)


def test_volumes_above_one_slab_are_cut(monkeypatch):
    prediction, reference = some_labels(3)
    whole = evaluate(prediction, reference)
    monkeypatch.setattr("ps3d_rt.core.metrics.z_slabs", lambda shape: z_slabs(shape, 60))
    assert evaluate(prediction, reference) == whole


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_roles_exchanged_exchange_mergers_and_splitters_only(seed):
    prediction, reference = some_labels(seed)
    one, other = evaluate(prediction, reference), evaluate(reference, prediction)
    assert (one.mergers, one.splitters) == (other.splitters, other.mergers)
    assert one.matched == other.matched
    assert one.f1_instance == pytest.approx(other.f1_instance)


def test_solving_in_batches_changes_nothing(monkeypatch):
    prediction, reference = some_labels(1, shape=(30, 30, 30), particles=300)
    whole = evaluate(prediction, reference)
    monkeypatch.setattr(metrics, "BATCH_PAIRS", 1)
    batched = evaluate(prediction, reference)
    assert whole.matched == batched.matched > 20
    assert whole.f1_instance == pytest.approx(batched.f1_instance)


def test_no_parts_are_no_particles():
    assert score(merge_overlaps([])).predicted == 0
    assert len(count_overlaps(line("..."), line("...")).voxels) == 0


def command():
    app = typer.Typer()
    app.command()(evaluate_command)
    return app


def test_the_command_prints_every_measure_as_json(tmp_path):
    prediction, reference = line("aaaaaaa..bbb...."), line("aaa.bbb..ccc..dd")
    np.save(tmp_path / "prediction.npy", prediction)
    np.save(tmp_path / "reference.npy", reference)
    result = CliRunner().invoke(command(), [str(tmp_path / "prediction.npy"), str(tmp_path / "reference.npy")])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == asdict(evaluate(prediction, reference))


def test_the_command_names_both_files_if_they_do_not_fit(tmp_path):
    np.save(tmp_path / "prediction.npy", line("aa"))
    np.save(tmp_path / "reference.npy", line("aaa"))
    with pytest.raises(InputError, match=r"prediction.npy has shape \(1, 1, 2\), .*reference.npy has \(1, 1, 3\)"):
        evaluate_command(tmp_path / "prediction.npy", tmp_path / "reference.npy")

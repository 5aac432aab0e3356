"""From a few scribbles to what is particle: features that do not depend on chunks, a forest that votes as sklearn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ps3d_rt.core.metrics import evaluate
from ps3d_rt.errors import InputError
from ps3d_training.annotate.features import COUNT, eigenvalues, features_of, ordered
from ps3d_training.annotate.scribbles import ScribbleClassifier, particles_from

pytest.importorskip("sklearn", reason="scikit-learn is not installed")


def scan(*, texture: bool) -> tuple[Any, Any]:
    """Eight balls in noise, brighter than what is around; or as bright, and less even."""
    z, y, x = np.indices((24, 32, 64))
    ball = ((z - 12) ** 2 + (y % 16 - 8) ** 2 + (x % 16 - 8) ** 2) < 36
    draw = np.random.default_rng(0)
    if texture:
        return np.where(ball, draw.normal(100, 30, ball.shape), draw.normal(100, 5, ball.shape)), ball
    return draw.normal(np.where(ball, 140, 100), 25), ball


def scribbled(ball: Any) -> Any:
    """Strokes across three balls, and beside them, in one slice."""
    scribbles = np.zeros(ball.shape, np.uint8)
    scribbles[12, 8, 3:14], scribbles[12, 24, 19:30], scribbles[12, 3:14, 40] = 2, 2, 2
    scribbles[12, 15:17, :], scribbles[12, 8, [0, 16, 32, 48]] = 1, 1
    return scribbles


@pytest.mark.parametrize("texture", [False, True])
def test_a_few_strokes_tell_particles_from_the_rest_by_gray_value_or_texture(texture: bool) -> None:
    image, ball = scan(texture=texture)
    likely = ScribbleClassifier(image).classify(scribbled(ball))
    found = likely >= 50
    assert 2 * np.count_nonzero(found & ball) / (np.count_nonzero(found) + np.count_nonzero(ball)) > 0.85


def test_a_new_scribble_is_heard_and_features_are_kept() -> None:
    image, ball = scan(texture=False)
    classifier = ScribbleClassifier(image)
    first = classifier.classify(scribbled(ball))
    kept = classifier.features
    more = scribbled(ball)
    more[ball & (np.indices(ball.shape)[2] > 48)] = 1
    second = classifier.classify(more)
    assert classifier.features is kept
    assert second[12, 8, 56] < 50 <= first[12, 8, 56]


def test_the_votes_are_those_of_the_forest() -> None:
    from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415

    image, ball = scan(texture=False)
    classifier = ScribbleClassifier(image)
    scribbles = scribbled(ball)
    likely = classifier.classify(scribbles)
    rows = np.concatenate([np.flatnonzero(scribbles.ravel() == kind) for kind in (1, 2)])
    forest = RandomForestClassifier(50, max_depth=12, class_weight="balanced", min_samples_leaf=2, random_state=0)
    forest.fit(classifier.features[rows].astype(np.float32), scribbles.ravel()[rows] == 2)
    expected = forest.predict_proba(classifier.features[:500].astype(np.float32))[:, 1]
    np.testing.assert_allclose(likely.ravel()[:500], 100 * expected, atol=0.51)


def test_features_do_not_depend_on_chunks() -> None:
    image = scan(texture=False)[0]
    whole = features_of(image)
    parts = features_of(image, chunk=(16, 20, 33), threads=1)
    assert whole.shape == (image.size, COUNT)
    # Numbers of half precision next to each other differ by one.
    assert np.abs(whole.astype(np.int64) - parts).max() <= 64
    assert np.mean(whole != parts) < 0.01


def test_a_flat_volume_has_no_slopes() -> None:
    features = features_of(np.full((4, 5, 6), 7.0))
    slopes = features[:, [2 + 9 * scale + k for scale in range(3) for k in range(8)]]
    assert np.array_equal(np.unique(slopes), ordered(np.zeros(1, np.float32)))


def test_eigenvalues_are_those_of_the_matrices() -> None:
    draw = np.random.default_rng(3)
    full = draw.normal(size=(50, 3, 3))
    full = full + full.transpose(0, 2, 1)
    full[0], full[1] = np.eye(3) * 2, np.diag([1.0, 1.0, 5.0])
    packed = np.stack([full[:, a, b] for a, b in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))])
    found = eigenvalues(packed.reshape(6, 50, 1, 1).astype(np.float32)).reshape(3, 50).T
    np.testing.assert_allclose(found, np.linalg.eigvalsh(full)[:, ::-1], atol=1e-4)


def test_whole_numbers_sort_as_the_floats_do() -> None:
    values = np.sort(np.random.default_rng(0).normal(size=1000).astype(np.float32) * 100)
    assert np.all(np.diff(ordered(values).astype(int)) >= 0)
    assert ordered(np.array([-0.0], np.float32)) == ordered(np.array([0.0], np.float32))


def test_likely_voxels_become_particles_parted_at_their_necks() -> None:
    z, y, x = np.indices((24, 24, 48))
    balls = [((z - 12) ** 2 + (y - 12) ** 2 + (x - k) ** 2) < 64 for k in (14, 28)]
    likely = np.where(balls[0] | balls[1], 90, 10).astype(np.uint8)
    likely[2, 2, 2] = 90
    labels = particles_from(likely, 16)
    truth = np.where(balls[0], 1, np.where(balls[1], 2, 0))
    assert labels.max() == 2
    assert evaluate(labels, truth).f1_instance > 0.95


@pytest.mark.parametrize(("kind", "name"), [(1, "particle"), (2, "background")])
def test_one_kind_of_scribble_is_not_enough(kind: int, name: str) -> None:
    scribbles = np.zeros((4, 4, 4), np.uint8)
    scribbles[0] = kind
    with pytest.raises(InputError, match=f"no scribble on {name}"):
        ScribbleClassifier(np.zeros((4, 4, 4))).classify(scribbles)

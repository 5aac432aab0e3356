"""Minerals of particles: what is found is what was put in, whatever the slabs, the noise and the blur."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from ps3d_rt.core.minerals.bins import AnchoredBins
from ps3d_rt.core.minerals.mixture import Mixture
from ps3d_rt.core.minerals.phases import AnchoredScale, AutoPhases, Phase, PhaseList
from ps3d_rt.core.minerals.sample import MineralSample, statistics_of
from ps3d_rt.core.minerals.table import MineralTable
from ps3d_rt.core.minerals.unmix import unmix
from ps3d_rt.errors import InputError
from ps3d_rt.io.base import ArrayVolume
from ps3d_rt.stages.minerals import MineralSource, find_minerals, propose_phases

SHAPE = (26, 30, 60)
DARK, BRIGHT, EMBEDDING, NOISE = 1000.0, 3000.0, 5000.0, 100.0
PHASES = PhaseList((Phase("quartz", 500, 2000, 2.65), Phase("iron ore", 2000, 4500, 5.0)))
SCALE = AnchoredScale(EMBEDDING, 1.0, NOISE)


def ball(center: tuple[float, float, float], radius: float) -> Any:
    offset = np.indices(SHAPE) - np.reshape(center, (3, 1, 1, 1))
    return (offset**2).sum(0) <= radius**2


@pytest.fixture(scope="module")
def sample() -> tuple[Any, Any]:
    """Labels and scan of a dark ball, a bright ball, and one that is dark on the left and bright on the right."""
    labels, values = np.zeros(SHAPE, np.uint32), np.zeros(SHAPE)
    for label, x in enumerate((10, 29, 49), start=1):
        labels[ball((12, 14, x), 8)] = label
    values[labels == 1] = DARK
    values[labels == 2] = BRIGHT
    values[labels == 3] = np.where(np.indices(SHAPE)[2][labels == 3] < 49, DARK, BRIGHT)
    blurred = ndimage.gaussian_filter(values, 0.7)
    noise = np.random.default_rng(1).normal(0, NOISE, SHAPE)
    return labels, np.rint(EMBEDDING + blurred + noise).astype(np.uint16)


def source_of(sample: tuple[Any, Any], **options: Any) -> MineralSource:
    labels, scan = (ArrayVolume(part, spacing_mm=0.01) for part in sample)
    about = {"particles": 3, "spacing_mm": (0.01,) * 3, "scale": SCALE} | options
    return MineralSource(labels=labels, scan=scan, **about)


def found_in(sample: tuple[Any, Any], phases: PhaseList = PHASES, **options: Any) -> MineralTable:
    return find_minerals(source_of(sample, **options), phases).table


def test_every_particle_is_of_what_it_was_made_of(sample):
    table = found_in(sample)
    assert table.shares == pytest.approx(np.array([[1, 0], [0, 1], [0.47, 0.53]]), abs=0.02)
    assert table.exposure[:, 1:] == pytest.approx(np.array([[1, 0], [0, 1], [0.47, 0.53]]), abs=0.06)
    assert table.void_share == pytest.approx([0, 0, 0], abs=0.005)
    assert table.grains.tolist() == [[1, 0], [0, 1], [1, 1]]
    assert (table.errors[2] > 0).all()
    voxels = np.bincount(sample[0].ravel())[1:]
    assert table.mineral_mm3.sum(axis=1) == pytest.approx(voxels * 1e-6)
    assert table.largest_grain_mm[0, 0] == pytest.approx((6 / np.pi * voxels[0]) ** (1 / 3) * 0.01, rel=0.01)


def test_the_blurred_surface_of_a_bright_particle_is_no_rim_of_a_darker_mineral(sample):
    labels, scan = sample
    bright = scan[labels == 2].astype(float) - EMBEDDING
    assert (bright < 2000).mean() > 0.1, "by a threshold, more than a tenth of the particle is quartz"
    assert found_in(sample).shares[1, 1] > 0.99


def test_columns_name_the_minerals_and_their_classes(sample):
    columns = found_in(sample).columns()
    assert columns["mineral"].tolist() == ["quartz", "iron ore", "iron ore"]
    assert columns["liberation_by_volume"].tolist() == ["liberated", "liberated", "middling"]
    assert columns["iron_ore_share"] is not None
    # A cross-section of the ball, where the two minerals meet: 197 voxel faces.
    assert columns["quartz_iron_ore_faces"].tolist()[:2] == [0, 0]
    assert columns["quartz_iron_ore_faces"][2] == pytest.approx(
        np.count_nonzero(ball((12, 14, 49), 8)[:, :, 49]), rel=0.1
    )


@pytest.mark.parametrize("slab_voxels", [1, 3 * 30 * 60, 11 * 30 * 60])
def test_any_slabs_give_the_same_bytes(sample, slab_voxels):
    whole, cut = found_in(sample).columns(), found_in(sample, slab_voxels=slab_voxels).columns()
    assert whole.keys() == cut.keys()
    for name, column in whole.items():
        assert column.tobytes() == cut[name].tobytes(), name


def test_dark_particles_are_mirrored(sample):
    labels, scan = sample
    mirrored = (2 * EMBEDDING - scan.astype(float)).astype(np.float32)
    table = found_in((labels, mirrored), scale=AnchoredScale(EMBEDDING, -1.0, NOISE))
    assert table.shares == pytest.approx(found_in(sample).shares, abs=1e-9)


def test_a_pore_is_no_mineral(sample):
    labels, scan = (part.copy() for part in sample)
    pore = ball((12, 14, 10), 5)
    scan[pore] = EMBEDDING + np.random.default_rng(2).normal(0, NOISE, np.count_nonzero(pore))
    table = found_in((labels, scan))
    assert table.void_share[0] == pytest.approx(np.count_nonzero(pore) / np.count_nonzero(labels == 1), abs=0.03)
    assert table.void_share[1:] == pytest.approx([0, 0], abs=0.005)


def test_of_many_particles_some_are_drawn_from_and_the_statistics_are_those_of_all(monkeypatch):
    draw, count = np.random.default_rng(0), 900
    share = draw.random(count)
    sample = MineralSample(
        phases=PHASES,
        weights=np.ones(count),
        diameters_mm=draw.uniform(0.1, 0.2, count),
        volumes_mm3=np.stack([share, 1 - share], axis=1),
        errors=np.zeros((count, 2)),
        surface_shares=np.stack([share, 1 - share], axis=1),
        touched=np.ones((count, 2, 4)),
    )
    whole = statistics_of(sample)
    monkeypatch.setattr("ps3d_rt.core.minerals.sample.MOST", 100)
    some = statistics_of(sample)
    assert some.found["volume_share"].tolist() == whole.found["volume_share"].tolist()
    width, wider = ((one.high["volume_share"] - one.low["volume_share"])[0] for one in (whole, some))
    assert wider == pytest.approx(3 * width, rel=0.4)
    assert some.low["volume_share"][0] < share.mean() < some.high["volume_share"][0]


def test_two_minerals_are_proposed_and_no_more_than_asked_for(sample):
    source = source_of(sample)
    both = propose_phases(source, 4, "gray").phases
    assert len(both) == 2
    assert both[0].low < DARK < both[0].high == both[1].low < BRIGHT < both[1].high
    assert both[0].high == pytest.approx((DARK + BRIGHT) / 2, rel=0.03)
    assert len(propose_phases(source, 1, "gray").phases) == 1
    with pytest.raises(InputError, match="must be 1 to 8"):
        AutoPhases(0)


def test_a_brighter_grain_of_one_mineral_is_not_two_minerals(monkeypatch):
    bins = AnchoredBins.for_values(3 * BRIGHT, NOISE)
    mixture = Mixture.of(np.array([0, DARK, 2.0 * DARK]), np.full(3, 1.0 * NOISE), bins)
    start, edges = np.full(len(mixture.densities), 0.25), bins.edges()
    gray = DARK * 1.15 + np.random.default_rng(0).normal(0, NOISE, 1000)
    counts = np.tile(np.histogram(gray, edges)[0], (2, 1))
    # The histograms are alike; but in the second particle there is a place where the other mineral is seen.
    seen = np.array([[0, 995, 5], [0, 940, 60]])
    whole = unmix(counts, np.array([300, 300]), seen, start, mixture)
    monkeypatch.setattr("ps3d_rt.core.minerals.unmix._BLOCK", 1)
    shares, errors = unmix(counts, np.array([300, 300]), seen, start, mixture)
    assert shares == pytest.approx(whole.shares)
    assert shares[0].tolist() == pytest.approx([0, 1, 0], abs=0.001)
    assert shares[0, 2] == 0
    assert 0.03 < shares[1, 2] < 0.2
    assert errors[0, 2] < errors[1, 2]


def test_a_phase_that_is_not_there_is_said(sample):
    absent = PhaseList((*PHASES.phases, Phase("gold", 20_000, 40_000)))
    with pytest.raises(InputError, match="gold was never found"):
        found_in(sample, absent)
    beside = PhaseList((Phase("quartz", 500, 900), Phase("iron ore", 2000, 4500)))
    with pytest.raises(InputError, match=r"quartz has the range 500 to 900 .* have their peak at 99"):
        found_in(sample, beside)


@pytest.mark.parametrize(
    ("phases", "words"),
    [
        ([("a", 1, 3), ("b", 2, 4)], "overlap"),
        ([("b", 5, 6), ("a", 1, 3)], "not in ascending order"),
        ([("a", 1, 3), ("A ", 3, 4)], "two phases have the name 'a'"),
        ([("a", 0, 3)], "low must be above 0"),
        ([("a", 3, 3)], "high above low"),
        ([("a", 1, float("inf"))], "must be above 0 and high above low"),
        ([("void", 1, 2)], "other than 'void'"),
        ([("?", 1, 2)], "needs a name with letters"),
        ([], "0 phases are given"),
        ([("a", 1, 2, -1.0)], "must be above 0"),
    ],
)
def test_phases_that_make_no_sense_are_refused(phases, words):
    with pytest.raises(InputError, match=words):
        PhaseList(tuple(Phase(*phase) for phase in phases))


def test_phases_are_the_same_after_a_file():
    assert PhaseList.from_json(PHASES.to_json(), "phases.json") == PHASES


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "has no list of phases"),
        ({"phases": [{"name": "a"}]}, "needs both low and high"),
        ({"phases": [{"name": "a", "low": "1", "high": 2}]}, "low '1', a number is needed"),
        ({"phases": [{"low": 1, "high": 2}]}, "a phase is"),
        ({"schema_version": 9, "phases": []}, "schema_version 9"),
        (
            {"phases": [{"name": "a", "low": 1, "high": 2, "denisty": 3}]},
            "a has 'denisty'; a phase has name",
        ),
        ({"unti": "gray", "phases": [{"name": "a", "low": 1, "high": 2}]}, "it has 'unti', too"),
        ({"unit": "mm", "phases": [{"name": "a", "low": 1, "high": 2}]}, "unit of the phases is 'mm'"),
    ],
)
def test_a_file_of_another_form_is_refused(content, words):
    with pytest.raises(InputError, match=words):
        PhaseList.from_json(content, "phases.json")


def test_integers_and_floats_get_the_same_bins():
    bins, gray = AnchoredBins.for_values(4500, NOISE), np.arange(0, 60_000, 7)
    assert np.array_equal(bins.index(gray.astype(np.uint16), SCALE), bins.index(gray.astype(np.float32), SCALE))
    signed = np.array([-5, 0, 9000], np.int16)
    assert np.array_equal(bins.index(signed, SCALE), bins.index(signed.astype(np.float64), SCALE))
    assert bins.index(np.array([[np.nan]]), SCALE) == bins.index(np.array([[EMBEDDING]]), SCALE)

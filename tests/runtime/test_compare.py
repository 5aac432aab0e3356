"""Samples beside each other: equal ones are called so, planted differences and a planted separation are found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ps3d_rt
from output_folder import write_output
from ps3d_rt.core.compare import partition, statistics
from ps3d_rt.core.compare.partition import separate
from ps3d_rt.core.compare.sample import ComparedSample
from ps3d_rt.core.compare.statistics import difference, statistics_of
from ps3d_rt.core.compare.two_sample import two_sample_test
from ps3d_rt.errors import InputError
from ps3d_rt.io.frames import read_frame

DENSITIES = np.array([2.65, 5.01])


def material(count: int, seed: int, *, scale: float = 1.0, name: str = "a") -> ComparedSample:
    """Lognormal sizes; six of ten particles are of one mineral, a quarter of these pyrite."""
    draw = np.random.default_rng(seed)
    diameters = scale * np.exp(draw.normal(np.log(0.3), 0.4, count))
    volumes = np.pi / 6 * diameters**3
    pyrite = np.where(draw.random(count) < 0.6, draw.random(count) < 0.25, draw.random(count))
    return ComparedSample(
        name=name,
        weights=np.ones(count),
        diameters_mm=diameters,
        volumes_mm3=volumes,
        shapes=draw.uniform(0.4, 1, (count, 3)),
        minerals=("quartz", "pyrite"),
        mineral_mm3=np.stack([1 - pyrite, pyrite], axis=1) * volumes[:, None],
        densities=DENSITIES,
    )


def rows(sample: ComparedSample, kept: Any) -> ComparedSample:
    columns = {name: getattr(sample, name)[kept] for name in ("weights", "diameters_mm", "volumes_mm3", "shapes")}
    assert sample.mineral_mm3 is not None
    return ComparedSample(
        name=sample.name,
        minerals=sample.minerals,
        mineral_mm3=sample.mineral_mm3[kept],
        densities=sample.densities,
        **columns,
    )


def test_two_halves_of_a_sample_are_called_equal():
    equal = 0
    for seed in range(100):
        whole, order = material(120, seed), np.random.default_rng(seed).permutation(120)
        equal += not two_sample_test(rows(whole, order[:60]), rows(whole, order[60:]), seed).different
    assert equal >= 93


def test_planted_differences_are_found_where_they_are():
    found = two_sample_test(material(600, 1), material(600, 2, scale=1.25))
    assert found.different
    chances = dict(zip(found.names, found.chances.tolist(), strict=True))
    assert chances["size by number"] < 0.01
    assert min(chances["elongation"], chances["share of pyrite"]) > 0.05


def test_a_difference_has_an_interval_and_the_particles_that_would_show_it():
    first, second = material(800, 1), material(800, 2, scale=1.25)
    change = difference(*map(statistics_of, (first, second)))
    k = change.names.index("d50_by_number_mm")
    assert change.found[k] == pytest.approx(0.25 * 0.3, abs=0.015)
    assert 0 < change.low[k] < 0.075 < change.high[k]
    assert change.needed[k] < 400
    same = difference(statistics_of(first, 1), statistics_of(first, 2))
    assert (same.needed == np.inf).all()
    assert (same.low <= 0).all()
    assert (same.high >= 0).all()


def test_of_many_particles_some_are_drawn_from_and_the_numbers_are_those_of_all(monkeypatch: pytest.MonkeyPatch):
    sample, other = material(2000, 1), material(2000, 2, scale=1.25)
    whole, separation = statistics_of(sample), separate(sample, sample, other, 0.4)
    needed = difference(whole, statistics_of(other)).needed
    monkeypatch.setattr(statistics, "MOST", 200)
    monkeypatch.setattr(partition, "MOST", 1000)
    some, thin = statistics_of(sample), separate(sample, sample, other, 0.4)
    assert some.particles == 200
    assert np.array_equal(some.found, whole.found)
    low, high = some.ends
    assert (low <= whole.found).all()
    assert (whole.found <= high).all()
    k = whole.names.index("d50_by_number_mm")
    # A tenth of the particles: intervals √10 as wide.
    assert high[k] - low[k] == pytest.approx(np.sqrt(10) * (whole.ends[1] - whole.ends[0])[k], rel=0.4)
    assert difference(some, statistics_of(other)).needed[k] == pytest.approx(needed[k], rel=0.6)
    assert np.array_equal(thin.by_size.found, separation.by_size.found)
    width, wider = (np.mean(one.by_size.high - one.by_size.low) for one in (separation, thin))
    assert wider == pytest.approx(np.sqrt(2) * width, rel=0.25)


def test_a_planted_separation_comes_back():
    whole, feed = material(12_000, 3), material(6_000, 4)
    density = whole.particle_densities
    assert density is not None
    planted = 1 / (1 + np.exp(-(density - 3.5) / 0.25))
    up = np.random.default_rng(5).random(len(whole)) < planted
    found = separate(feed, rows(whole, up), rows(whole, ~up))
    mass = whole.volumes_mm3 * density
    assert found.concentrate_yield == pytest.approx(mass[up].sum() / mass.sum(), abs=0.03)
    assert found.by_density is not None
    limits = found.by_density.limits
    number = np.digitize(density, limits[1:-1])
    true = np.bincount(number, mass * planted) / np.bincount(number, mass)
    assert found.by_density.found == pytest.approx(true, abs=0.03)
    assert found.by_density.at(0.5) == pytest.approx(3.5, abs=0.1)
    known = separate(None, rows(whole, up), rows(whole, ~up), mass[up].sum() / mass.sum())
    assert whole.mineral_mm3 is not None
    pyrite = whole.mineral_mm3[:, 1]
    assert known.recovery[1, 0] == pytest.approx(pyrite[up].sum() / pyrite.sum())
    with pytest.raises(InputError, match="needs the feed, or the masses"):
        separate(None, rows(whole, up), rows(whole, ~up))


@pytest.fixture
def outputs(tmp_path: Path) -> Any:
    """Make an output of balls of radius 3, 4 and so on, in a volume with room around them."""

    def make(name: str, radii: tuple[int, ...], **options: Any) -> Path:
        shape = (20, 20, 4 + sum(2 * r + 3 for r in radii))
        labels, x = np.zeros(shape, np.uint32), 3
        for label, radius in enumerate(radii, start=1):
            center = np.reshape((9.5, 9.5, x + radius), (3, 1, 1, 1))
            labels[((np.indices(shape) - center) ** 2).sum(0) <= radius**2] = label
            x += 2 * radius + 3
        scan = np.where(labels, np.where(labels % 2, 6000, 8000), 5000) + np.random.default_rng(0).normal(0, 50, shape)
        return write_output(tmp_path / name, labels, scan.astype(np.uint16), embedding=5000.0, noise=50.0,
                            contrast=1500.0, **options)  # fmt: skip

    return make


def test_a_page_and_tables_are_written(cli: Any, outputs: Any, tmp_path: Path) -> None:
    small, large = outputs("small", (3, 4) * 6), outputs("large", (6, 7) * 6)
    (tmp_path / "phases.json").write_text(
        json.dumps(
            {"phases": [{"name": "quartz", "low": 500, "high": 2000}, {"name": "ore", "low": 2000, "high": 4500}]}
        )
    )
    for out in (small, large):
        assert cli("minerals", out, "--phases", tmp_path / "phases.json")[0] == 0
    listing = tmp_path / "samples.csv"
    listing.write_text("output,sample,role,mass\nsmall,fine,tailings,3\nlarge,coarse,concentrate,1\n")
    code, printed, _ = cli("compare", listing, "--out", tmp_path / "c")
    assert code == 0
    assert json.loads(printed)["against"] == "fine"
    assert json.loads(printed)["tests"][0]["different"] is True
    page = (tmp_path / "c/comparison.html").read_text(encoding="utf-8")
    assert "coarse differs from fine" in page
    assert "Yield of the concentrate: <b>25" in page
    # Too few particles for a curve: it is not made up.
    assert np.isnan(read_frame(tmp_path / "c/partition.parquet")["to_concentrate"]).all()
    assert read_frame(tmp_path / "c/recovery.parquet")["mineral"].tolist() == ["quartz", "ore"]
    assert cli("compare", listing, "--out", tmp_path / "c")[0] == 2
    assert cli("compare", small, large, "--out", tmp_path / "c", "--overwrite")[0] == 0


def test_scans_of_one_sample_are_pooled(cli: Any, outputs: Any, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        outputs(name, (3, 4, 5))
    (tmp_path / "samples.csv").write_text("output,sample\na,first\nb,first\nc,second\n")
    assert cli("compare", tmp_path / "samples.csv", "--out", tmp_path / "o")[0] == 0
    found = read_frame(tmp_path / "o/statistics.parquet")
    assert found["value"][found["statistic"] == "d90_by_number_mm"][0] == pytest.approx(0.1, rel=0.05)
    in_python = ps3d_rt.compare(tmp_path / "samples.csv").frames()["statistics"]
    assert in_python["value"].tolist() == found["value"].tolist()


@pytest.mark.parametrize(
    ("listing", "words"),
    [
        ("output\na\n", "1 sample is given"),
        ("output,sample\na,x\nb,x\n", "1 sample is given"),
        ("output,role\na,feet\nb,\n", "has the role 'feet'; roles are feed, concentrate, tailings"),
        ("output,role\na,feed\nb,feed\n", "both a and b are called feed"),
        ("output,mass\na,heavy\nb,1\n", "has the mass 'heavy'"),
        ("output,colour\na,red\n", "has the column 'colour'"),
        ("name\na\n", "must have a line output,sample,role,mass"),
        ("output\na\nnowhere\n", "nowhere has no run.json"),
        ("output\na\nother_model\n", "were segmented by different models"),
        ("output\na\ncoarser\n", "has voxels of 0.01 × 0.01 × 0.01 mm and"),
    ],
)
def test_wrong_lists_are_said(cli: Any, outputs: Any, tmp_path: Path, listing: str, words: str) -> None:
    for name, options in (("a", {}), ("b", {}), ("other_model", {"model": "x"}), ("coarser", {"spacing_mm": 0.02})):
        if f"\n{name}" in listing:
            outputs(name, (3, 4), **options)
    (tmp_path / "samples.csv").write_text(listing, encoding="utf-8")
    code, _, err = cli("compare", tmp_path / "samples.csv", "--out", tmp_path / "o")
    assert (code, words in err) == (2, True), err
    assert not (tmp_path / "o").exists()


def test_minerals_of_one_only_are_refused(cli: Any, outputs: Any, tmp_path: Path) -> None:
    first, second = outputs("a", (5, 6, 6, 6)), outputs("b", (5, 6, 6, 6))
    cli("minerals", first, "--phases", "auto:2")
    assert cli("minerals", first)[0] == 0
    code, _, err = cli("compare", first, second, "--out", tmp_path / "o")
    assert code == 2
    assert "has none; run `ps3d-rt minerals" in err
    phases = json.loads((first / "phases.json").read_text(encoding="utf-8"))
    phases["phases"][0]["high"] -= 10
    (second / "phases.json").write_text(json.dumps(phases), encoding="utf-8")
    assert cli("minerals", second)[0] == 0
    assert "with different ranges or densities" in ps3d_rt.compare(first, second).notes[0]
    phases["phases"][0]["name"] = "calcite"
    (second / "phases.json").write_text(json.dumps(phases), encoding="utf-8")
    assert cli("minerals", second, "--overwrite")[0] == 0
    code, _, err = cli("compare", first, second, "--out", tmp_path / "o")
    assert (code, "have different minerals: phase 1, phase 2 and calcite, phase 2" in err) == (2, True), err

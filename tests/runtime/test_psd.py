"""The size distribution in classes against classes worked by hand, and the laws against curves that follow them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest

from ps3d_rt.core.bootstrap import redraw_classes
from ps3d_rt.core.column_facts import PARTICLE_COLUMNS, PSD_COLUMNS, SHORT_COLUMNS, significant
from ps3d_rt.core.distribution import PLAIN_SIZES, SizeOptions, facts_by, sieve_diameter_mm
from ps3d_rt.core.measure import ParticleTable, measure
from ps3d_rt.core.psd import size_psd
from ps3d_rt.core.sieves import SERIES, around
from ps3d_rt.core.size_fits import fit_laws, gates_gaudin_schuhmann, rosin_rammler
from ps3d_rt.errors import InputError
from ps3d_rt.io import excel
from ps3d_rt.io.csv_table import CsvTable, dialect_named
from ps3d_rt.io.psd_table import write_psd
from ps3d_rt.io.table import write_table

RAW = SizeOptions(edge_correction=False, sieve=False, sieves_mm=(1.5, 2.6, 4.0), density_g_cm3=2.5)


@pytest.fixture
def table(cubes: Any) -> ParticleTable:
    """Cubes of 1, 2, 2 and 4 voxels a side; the diameter of a ball as large is 1.24 sides."""
    return measure(cubes(1, 2, 2, 4), (1, 1, 1))


def test_classes_worked_by_hand(table: ParticleTable) -> None:
    # diameters 1.24, 2.48, 2.48, 4.96: one class each, one without any, and one above the coarsest sieve
    psd = size_psd(table, (1, 1, 1), RAW)
    assert psd.diameter == "equivalent"
    assert psd.lower_mm.tolist() == [0, 1.5, 2.6, 4.0]
    assert psd.upper_mm.tolist() == [1.5, 2.6, 4.0, np.inf]
    assert psd.particles.tolist() == [1, 2, 0, 1]
    assert psd.volume_mm3.tolist() == pytest.approx([1, 16, 0, 64])
    assert psd.mass_mg is not None
    assert psd.mass_mg.tolist() == pytest.approx([2.5, 40, 0, 160])
    number, volume, mass = (psd.shares[name] for name in ("number", "volume", "mass"))
    assert number.frequency.tolist() == [0.25, 0.5, 0, 0.25]
    assert number.passing.tolist() == [0.25, 0.75, 0.75, 1]
    assert volume.frequency.tolist() == pytest.approx([1 / 81, 16 / 81, 0, 64 / 81])
    assert volume.passing.tolist() == pytest.approx([1 / 81, 17 / 81, 17 / 81, 1])
    assert mass.passing.tolist() == volume.passing.tolist()
    for shares in (number, volume):
        assert (shares.passing_ends[0] <= shares.passing).all()
        assert (shares.passing <= shares.passing_ends[1]).all()
        assert shares.passing_ends[:, -1].tolist() == [1, 1]


def test_a_particle_as_wide_as_the_hole_passes(table: ParticleTable) -> None:
    width = float(sieve_diameter_mm(table)[0])  # of the single voxel
    psd = size_psd(table, (1, 1, 1), SizeOptions(edge_correction=False, sieves_mm=(width, 9.0)))
    assert psd.diameter == "sieve"
    assert psd.particles.tolist() == [1, 3]


def test_classes_count_with_the_edge_correction(cubes: Any) -> None:
    labels = cubes(1, 2, 9)
    table = measure(labels, (1, 1, 1))
    psd = size_psd(table, labels.shape, SizeOptions(sieve=False, sieves_mm=(1.5, 20.0)))
    assert table.edge_weight is not None
    assert psd.particles.tolist() == pytest.approx(table.edge_weight[:2].tolist())
    assert table.edge_weight[2] == 0


def test_classes_without_sieves_hold_every_particle_once(table: ParticleTable) -> None:
    psd = size_psd(table, (1, 1, 1), SizeOptions(edge_correction=False))
    assert psd.particles.sum() == 4
    assert (psd.lower_mm[1:] == psd.upper_mm[:-1]).all()
    assert set(psd.shares) == {"number", "volume"}
    assert psd.mass_mg is None


def test_no_particles_have_no_classes() -> None:
    table = measure(np.zeros((2, 2, 2), np.uint8), (1, 1, 1))
    for options in (PLAIN_SIZES, RAW):
        columns = size_psd(table, (2, 2, 2), options).columns()
        assert set(columns) <= set(PSD_COLUMNS)
        assert {len(column) for column in columns.values()} == {0}


@pytest.mark.parametrize("low", [0.001, 0.02, 0.05, 3.0])
@pytest.mark.parametrize("span", [1.0, 7.0])
@pytest.mark.parametrize("series", SERIES)
def test_of_a_series_those_around_the_sample_are_taken(series: str, low: float, span: float) -> None:
    widths = SERIES[series]
    assert list(widths) == sorted(set(widths))
    found = around(widths, low, low * span)
    assert found
    assert set(found) <= set(widths)
    assert found[0] < low or found[0] == widths[0]
    assert sum(width >= low * span for width in found) <= 1


def test_a_series_steps_as_it_says() -> None:
    steps = np.diff(np.log2(SERIES["tyler"]))
    assert steps == pytest.approx(np.full(len(steps), 0.5), abs=0.03)


def test_options_that_cannot_be_are_refused() -> None:
    for wrong, said in (
        ({"sieves_mm": (0.1, 0.1)}, "one is there twice"),
        ({"sieves_mm": (0.0, 0.1)}, "all above 0"),
        ({"series": "din"}, "tyler, iso3310"),
        ({"percentiles": (100.0,)}, "between 0 and 100"),
        ({"density_g_cm3": 0.0}, "above 0"),
    ):
        with pytest.raises(InputError, match=said):
            SizeOptions(**wrong)  # type: ignore[arg-type]


def test_drawn_classes_have_the_mean_and_the_variance_of_their_particles() -> None:
    weights = np.array([1.0, 4.0, 2.5])
    sums, squares = np.array([weights.sum(), 0.0]), np.array([(weights**2).sum(), 0.0])
    drawn = redraw_classes(sums, squares, 40_000, seed=3)
    assert (drawn[:, 0] > 0).all()
    assert (drawn[:, 1] == 0).all()
    # Draws of nothing at all, e^(−λ) of them, are repeated: the mean of the others is that much higher.
    expected = sums[0] / (1 - np.exp(-(sums[0] ** 2) / squares[0]))
    assert drawn[:, 0].mean() == pytest.approx(expected, rel=0.02)


def test_more_percentiles_and_what_was_asked_for_are_among_the_facts(table: ParticleTable) -> None:
    options = SizeOptions(edge_correction=False, percentiles=(5, 62.5), series="tyler", density_g_cm3=2.5)
    facts = facts_by(table, (1, 1, 1), options)
    widths = np.sort(sieve_diameter_mm(table))
    assert facts["d05_by_number_mm"] == widths[0]
    assert facts["d62.5_by_number_mm"] == widths[2]
    assert facts["d80_by_volume_mm"] == widths[3]
    assert (facts["sieve_series"], facts["density_g_cm3"]) == ("tyler", 2.5)
    read = SizeOptions.from_facts(json.loads(json.dumps(facts)))
    assert (read.series, read.by_sieve, read.edge_correction, read.density_g_cm3) == ("tyler", True, False, 2.5)
    assert facts["fits_by_volume"] == {}, "three different diameters"


def test_a_law_is_found_in_a_curve_that_follows_it() -> None:
    diameters = np.linspace(0.001, 1.2, 5000)
    for name, passing, size, exponent in (
        ("rosin_rammler", rosin_rammler(diameters, 0.3, 1.8), "d63_mm", "n"),
        ("gates_gaudin_schuhmann", gates_gaudin_schuhmann(diameters, 0.7, 0.6), "k_mm", "m"),
    ):
        found = fit_laws(diameters, passing / passing[-1])
        expected = (0.3, 1.8) if name == "rosin_rammler" else (0.7, 0.6)
        assert (found[name][size], found[name][exponent]) == pytest.approx(expected, rel=0.01)
        assert found[name]["rms_percent"] < 0.2
        other = next(rms["rms_percent"] for law, rms in found.items() if law != name)
        assert other > 2


def test_a_law_needs_some_diameters() -> None:
    assert fit_laws(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.25, 0.5, 0.75, 1.0])) == {}
    one_rules = np.array([0.001, 0.002, 0.003, 0.004, 1.0])
    assert fit_laws(np.arange(1.0, 6.0), one_rules) == {}, "nearly all of the volume is in one particle"


def test_digits_are_those_that_mean_something() -> None:
    values = np.array([123456.789, 0.000123456789, -1.23456e-12, np.inf])
    assert [repr(v) for v in significant(values, 4).tolist()] == ["123500.0", "0.0001235", "-1.235e-12", "inf"]


def rows_of(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def test_psd_csv_in_both_dialects(tmp_path: Path, table: ParticleTable) -> None:
    psd = size_psd(table, (1, 1, 1), RAW)
    plain = rows_of(write_psd(psd, tmp_path))
    assert list(plain[0]) == [name for name in PSD_COLUMNS if name in psd.columns()] == list(PSD_COLUMNS)
    assert [row["upper_mm"] for row in plain] == ["1.5", "2.6", "4", ""]
    assert [row["volume_passing_percent"] for row in plain] == ["1.235", "20.99", "20.99", "100"]
    other = rows_of(write_psd(psd, tmp_path, dialect_named("semicolon")), ";")
    assert [row["volume_passing_percent"] for row in other] == ["1,235", "20,99", "20,99", "100"]
    assert [row["diameter"] for row in other] == ["equivalent"] * 4
    with pytest.raises(InputError, match=r"'tabs'; give comma .* or semicolon"):
        dialect_named("tabs")


def test_the_short_table_has_the_columns_that_are_looked_at(tmp_path: Path, table: ParticleTable) -> None:
    write_table(table, tmp_path, dialect=dialect_named("semicolon"))
    short, whole = (rows_of(tmp_path / f"{name}.csv", ";") for name in ("particles_short", "particles"))
    assert list(short[0]) == [name for name in SHORT_COLUMNS if name in table.columns()]
    assert [{name: row[name] for name in short[0]} for row in whole] == short
    assert short[3]["equivalent_diameter_mm"] == "4,9628"
    assert short[3]["touches_edge"] == "false"


def test_every_column_is_explained() -> None:
    page = (Path(__file__).parents[2] / "docs/particle-table.md").read_text(encoding="utf-8")
    lists = {"contact_pairs", "gray_histogram", "gray_bins"}
    assert list(PARTICLE_COLUMNS) == [name for name in ParticleTable.__dataclass_fields__ if name not in lists]
    assert [name for name in PARTICLE_COLUMNS if f"`{name}`" not in page] == []
    assert set(SHORT_COLUMNS) < set(PARTICLE_COLUMNS)


def test_the_workbook_as_another_library_reads_it(tmp_path: Path, table: ParticleTable) -> None:
    write_table(table, tmp_path)
    psd = size_psd(table, (1, 1, 1), RAW)
    facts = {"scan": {"name": "=1+1", "shape": [3, 4, 5]}, "warnings": ["one", "two"], "model": None}
    book = openpyxl.load_workbook(excel.write_excel(tmp_path, psd, facts))
    assert book.sheetnames == ["particles", "psd", "run", "units"]
    sheets = {sheet.title: list(sheet.values) for sheet in book}
    names, *rows = sheets["particles"]
    assert list(names) == list(table.columns())
    found = [dict(zip(names, row, strict=True)) for row in rows]
    assert [row["label"] for row in found] == table.label.tolist()
    assert found[0]["equivalent_diameter_mm"] == 1.2407
    assert [row["touches_edge"] for row in found] == table.touches_edge.tolist()
    heads, *classes = sheets["psd"]
    assert list(heads) == list(PSD_COLUMNS)
    assert [row[heads.index("upper_mm")] for row in classes] == [1.5, 2.6, 4, None]
    run = {"scan.name": "=1+1", "scan.shape": "3, 4, 5", "warnings": "one, two", "model": None}
    assert sheets["run"][1:] == list(run.items())
    assert ("psd", "mass_mg", "mg", "their mass") in sheets["units"]


def test_a_sheet_ends_and_it_is_said(tmp_path: Path, table: ParticleTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excel, "MOST_ROWS", 3)
    write_table(table, tmp_path)
    book = openpyxl.load_workbook(excel.write_excel(tmp_path, size_psd(table, (1, 1, 1), RAW), {}))
    assert book["particles"].max_row == 4
    assert excel.sheet_warnings(3) == []
    assert "first 3 of 4 particles" in excel.sheet_warnings(4)[0]


def test_a_table_that_nobody_wrote_to_has_no_file(tmp_path: Path) -> None:
    with CsvTable(tmp_path / "none.csv", PSD_COLUMNS):
        pass
    assert not (tmp_path / "none.csv").exists()


def test_measure_writes_them_all(tmp_path: Path, cli: Any, cubes: Any) -> None:
    labels = cubes(1, 2, 2, 4)
    np.save(tmp_path / "labels.npy", labels)
    np.save(tmp_path / "scan.npy", labels.astype(np.uint16) * 100)
    line = ["measure", tmp_path / "labels.npy", tmp_path / "out", "--spacing", "1", "--image", tmp_path / "scan.npy"]
    line += ["--sieves", "4;1,5;2.6", "--no-sieve", "--density", "2.5", "--percentiles", "16", "--excel"]
    code, printed, said = cli(*line, "--csv-dialect", "semicolon", "--gray-bins", "0:6400", "--no-edge-correction")
    assert (code, "warning" in said) == (0, False)
    assert json.loads(printed)["size_distribution"]["d16_by_number_mm"] == pytest.approx(1.2407, rel=1e-4)
    psd = rows_of(tmp_path / "out/psd.csv", ";")
    assert [row["particles"] for row in psd] == ["1", "2", "0", "1"]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"particles.parquet", "particles.csv", "particles_short.csv", "psd.csv", "particles.xlsx"}
    from ps3d_rt.io.table import read_table  # noqa: PLC0415

    bins = read_table(tmp_path / "out").gray_bins
    assert bins is not None
    assert (bins.low, bins.width) == (0, 100)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--sieves", "mesh"], "hole widths in mm"),
        (["--sieves", "0.1,-2"], "all above 0"),
        (["--percentiles", "x"], "numbers between 0 and 100"),
        (["--gray-bins", "5:5"], "least and the largest gray value"),
        (["--gray-bins", "nan:5"], "least and the largest gray value"),
        (["--csv-dialect", "excel"], "comma"),
        (["--density", "-1"], "above 0"),
    ],
)
def test_what_cannot_be_read_is_said_before_any_work(tmp_path: Path, cli: Any, option: list[str], said: str) -> None:
    code, _, err = cli("measure", tmp_path / "not there.npy", tmp_path / "out", *option)
    assert code == 2
    assert said in " ".join(err.split())

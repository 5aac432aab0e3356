"""``ps3d-rt measure``: its files, what it prints, what it refuses."""

import json

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from ps3d_rt.api import measure as api_measure
from ps3d_rt.cli.measure import measure as measure_command
from ps3d_rt.core.distribution import size_facts
from ps3d_rt.core.gray import GrayBins
from ps3d_rt.core.measure import (
    measure,
)
from ps3d_rt.core.normalize import gray_scale
from ps3d_rt.errors import InputError
from ps3d_rt.io.table import read_table
from same_sums import same


@pytest.fixture
def app():
    app = typer.Typer()
    app.command()(measure_command)
    return app


def test_the_command_writes_the_table_and_prints_the_sizes(tmp_path, app, cubes, diameter):
    labels = cubes(1, 2)
    image = labels.astype(np.uint16) * 10
    np.save(tmp_path / "labels.npy", labels)
    np.save(tmp_path / "image.npy", image)
    out = tmp_path / "new" / "out"
    arguments = [str(tmp_path / "labels.npy"), str(out), "--spacing", "0.5", "--image", str(tmp_path / "image.npy")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    printed = json.loads(result.stdout)
    assert printed["particles"] == 2
    assert printed["size_distribution"]["d90_by_number_mm"] == pytest.approx(0.5 * diameter(2))
    assert same(read_table(printed["parquet"]), api_measure(labels, spacing=0.5, image=image))
    again = CliRunner().invoke(app, arguments)
    assert isinstance(again.exception, InputError)
    assert CliRunner().invoke(app, [*arguments, "--overwrite"]).exit_code == 0


def test_the_command_prints_null_where_there_is_no_particle(tmp_path, capsys):
    np.save(tmp_path / "labels.npy", np.zeros((2, 2, 2), np.uint8))
    measure_command(tmp_path / "labels.npy", tmp_path / "out", spacing="1.0")
    assert json.loads(capsys.readouterr().out)["size_distribution"]["d50_by_volume_mm"] is None


def test_the_command_corrects_for_the_faces_unless_told_not_to_and_sieves_if_told_to(tmp_path, capsys, cubes):
    labels = cubes(9, 2)
    np.save(tmp_path / "labels.npy", labels)
    sizes = {}
    for name, options in {"corrected": {}, "raw": {"edge_correction": False}, "sieve": {"sieve": True}}.items():
        measure_command(tmp_path / "labels.npy", tmp_path / name, spacing="1.0", **options)
        sizes[name] = json.loads(capsys.readouterr().out)["size_distribution"]
    table = measure(labels, (1, 1, 1))
    assert sizes == {
        "corrected": size_facts(table, labels.shape),
        "raw": size_facts(table),
        "sieve": size_facts(table, labels.shape, sieve=True),
    }


def test_measure_gives_the_gray_columns_that_predict_gives():
    rng = np.random.default_rng(4)
    labels = np.zeros((6, 7, 8), np.uint8)
    labels[1:5, 1:6, 2:7] = 1
    image = rng.integers(0, 60_000, labels.shape).astype(np.uint16)
    table = api_measure(labels, spacing=1.0, image=image)
    assert table.gray_bins == GrayBins.from_scale(gray_scale(image))
    assert table.gray_histogram.sum() == table.volume_voxels[0]
    assert abs(table.gray_p50[0] - np.median(image[labels > 0])) < 2 * table.gray_bins.width


@pytest.mark.parametrize("background", [7, np.nan])
def test_measure_takes_an_image_without_contrast_or_with_nan_around_the_particles(background):
    labels = np.zeros((3, 20, 20), np.uint8)
    labels[1, 5, 5:7] = 1
    image = np.where(labels > 0, 7, background).astype(np.float32)
    table = api_measure(labels, spacing=1.0, image=image)
    assert table.gray_mean.tolist() == table.gray_p50.tolist() == [7]


def test_the_command_refuses_to_overwrite_before_it_reads(tmp_path):
    (tmp_path / "particles.csv").write_text("kept")
    with pytest.raises(InputError, match=r"particles.csv exists"):
        measure_command(tmp_path / "not_there.npy", tmp_path)
    assert (tmp_path / "particles.csv").read_text() == "kept"


def test_the_command_asks_for_a_spacing_and_refuses_another_image(tmp_path):
    np.save(tmp_path / "labels.npy", np.zeros((2, 2, 2), np.uint8))
    np.save(tmp_path / "image.npy", np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(InputError, match="pass --spacing"):
        measure_command(tmp_path / "labels.npy", tmp_path / "out")
    with pytest.raises(InputError, match=r"image.npy has shape \(2, 2, 3\)"):
        measure_command(tmp_path / "labels.npy", tmp_path / "out", image=tmp_path / "image.npy", spacing="1.0")
    assert not (tmp_path / "out").exists()

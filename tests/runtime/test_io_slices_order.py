"""From the names of slices to their order: what makes a volume, and what is refused."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ps3d_rt.errors import InputError
from ps3d_rt.io.slices.order import order_slices, written_apart


def ordered(names, ending=".tif"):
    shuffled = [name + ending for name in names]
    random.Random(0).shuffle(shuffled)
    return order_slices(shuffled, "scan")


def said_of(names):
    with pytest.raises(InputError) as raised:
        ordered(names)
    return str(raised.value)


COUNT = range(20)
PLAIN = {
    "padded": [f"rec_{i:04d}" for i in COUNT],
    "not padded": [f"s{i}" for i in range(1, 120)],
    "from the middle of a scan": [f"rec{i:08d}" for i in range(95, 120)],
    "a dash is no minus": [f"rec-{i:04d}" for i in range(1, 20)],
    "the number in front": [f"{i:03d}_rec" for i in COUNT],
    "a number that stays": [f"scan2_{i:04d}_16bit" for i in COUNT],
    "a version in front": [f"scan.01.{i:04d}" for i in COUNT],
    "a version, not padded": [f"scan 1.{i}" for i in range(1, 21)],
    "as Windows numbers copies": [f"scan ({i})" for i in range(1, 15)],
    "all are copies": [f"rec_{i:04d} (1)" for i in COUNT],
    "numbers only": [f"{i}" for i in range(8, 13)],
    "a second number that rises": [f"part{1 + i // 10}_{i:04d}" for i in COUNT],
    "a date that rises": [f"2024010{1 + i // 10}.{i:04d}" for i in COUNT],
    "a position with a sign behind the number": [f"s{i:02d}_z_{i - 10}" for i in COUNT],
    "the same number twice in a name": [f"s{i}_of_{i}" for i in COUNT],
}


@pytest.mark.parametrize("names", PLAIN.values(), ids=PLAIN)
def test_names_with_one_number_are_a_volume_without_a_word(names):
    order = ordered(names)
    assert order.names == tuple(name + ".tif" for name in names)
    assert not order.remarks


SAID = {
    "0.25 to 1.00": [f"z_{i / 4:.2f}" for i in range(1, 5)],
    "0.5 to 3": [f"z_{i / 2:g}" for i in range(1, 7)],
    "0,5 to 2,0": ["z_0,5", "z_1,0", "z_1,5", "z_2,0"],
    "0.333 to 2.000": [f"z_{i / 3:.3f}" for i in range(1, 7)],
    "-5 to 4": [f"z_{i}" for i in range(-5, 5)],
    "-2 to 2": [f"z{i}" for i in range(-2, 3)],
    "-5 to -1": [f"z_{i}" for i in range(-5, 0)],
    "-0.5 to 1.0": [f"pos={i / 2:.1f}" for i in range(-1, 3)],
    "−1 to 1": ["a−1", "a0", "a1"],
}


@pytest.mark.parametrize(("span", "names"), SAID.items())
def test_decimals_and_signs_are_ordered_as_numbers_and_it_is_said(span, names):
    order = ordered(names)
    assert order.names == tuple(name + ".tif" for name in names)
    assert [f"numbers {span} in their names" in remark for remark in order.remarks] == [True]


@pytest.mark.parametrize(
    ("names", "remark"),
    [
        ([f"s{i:03d}" for i in range(0, 200, 10)], "go up in steps of 10"),
        ([f"s{1 + i % 2}_{i:04d}" for i in COUNT], "a second number that does not rise"),
    ],
)
def test_what_looks_odd_is_said(names, remark):
    order = ordered(names)
    assert order.names == tuple(name + ".tif" for name in names)
    assert [remark in said for said in order.remarks] == [True]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([f"r_{i:04d}" for i in COUNT if i not in (7, 8, 9)], r"r_0006.tif is followed by r_0010.tif (3 missing)"),
        ([f"r{i}" for i in COUNT if i not in (1, 12)], "r0.tif is followed by r2.tif (1 missing), r11.tif is followed"),
        ([f"r{i}" for i in range(40) if i % 8 != 3], "and 2 more gaps"),
        ([f"r{i:03d}" for i in range(0, 200, 10) if i != 50], "r040.tif is followed by r060.tif (1 missing)"),
        (["z_0.1", "z_0.2", "z_0.4", "z_0.5"], "z_0.2.tif is followed by z_0.4.tif (1 missing)"),
        ([f"z_{i / 3:.3f}" for i in range(1, 9) if i != 5], "z_1.333.tif is followed by z_2.000.tif (1 missing)"),
        ([f"ore1{i:04d}" for i in COUNT] + [f"ore2{i:04d}" for i in COUNT], "(9980 missing)"),
        ([f"{a}_{i:04d}" for a in ("A", "B") for i in COUNT], "A_0000.tif … (20 files), B_0000.tif … (20 files)"),
        ([f"A_{i:04d}" for i in COUNT] + [f"B_{i:04d}" for i in range(20, 40)], "names of several kinds"),
        ([f"s{a}_{i:04d}" for a in (1, 2) for i in COUNT], "several scans: s1_0000.tif … (20 files), s2_0000.tif"),
        ([f"z{i:02d}_c{a}" for i in COUNT for a in (0, 1)], "several scans: z00_c0.tif … (20 files), z00_c1.tif"),
        ([f"t{a}_z{i}" for a in range(5) for i in COUNT], "(20 files) and 2 more"),
        ([f"s_{i:03d}_{21 - i:03d}" for i in range(1, 20)], "2 numbers that put the slices in different orders"),
        (
            [*PLAIN["padded"], "rec_0003 (1)", "rec_0004 - Copy"],
            "rec_0003 (1).tif, rec_0004 - Copy.tif look like a copy",
        ),
        ([*PLAIN["padded"], "Kopie von rec_0003"], "Kopie von rec_0003.tif looks like a copy"),
        ([*PLAIN["padded"], "rec_0003_seg"], "rec_0003_seg.tif looks like a copy or a variant"),
        ([*PLAIN["padded"], "rec_spr"], "1 of 21 files has no number in the name (rec_spr.tif)"),
        (
            [*PLAIN["padded"], "rec_0003b"],
            "names of several kinds: rec_0000.tif … (20 files), rec_0003b.tif … (1 files)",
        ),
        (["scan", *PLAIN["as Windows numbers copies"]], "1 of 15 files has no number in the name (scan.tif)"),
        (
            ["top", "middle", "bottom", "x"],
            "4 of 4 files have no number in the name (bottom.tif, middle.tif, top.tif and",
        ),
        (["s1", "s01", "s2"], "s01.tif, s1.tif have the same number"),
        (["s1"], "holds one slice, s1.tif"),
        ([f"s{i:x}" for i in range(6, 14)], "4 of 8 files have no number in the name"),
    ],
)
def test_what_is_no_volume_is_refused_with_what_was_found(names, message):
    said = said_of(names)
    assert said.startswith("scan: ")
    assert message in said


def test_the_same_slice_in_two_spellings_of_the_ending_is_there_twice():
    with pytest.raises(InputError, match=r"s1\.tif, s1\.tiff have the same number"):
        order_slices(["s1.tif", "s2.tif", "s1.tiff"], "scan")


def test_upper_and_lower_case_are_one_name():
    assert order_slices(["B10.TIF", "b8.tif", "B9.tif"], "scan").names == ("b8.tif", "B9.tif", "B10.TIF")


def test_the_text_in_front_of_the_number_is_given():
    assert ordered([f"ore_rec{i:08d}" for i in COUNT]).prefix == "ore_rec"
    assert ordered([f"ore2_{i}" for i in COUNT]).prefix == "ore2_"


words = st.text("abz_ -.(", max_size=4)


@given(words, st.integers(0, 500), st.integers(2, 60), st.integers(0, 5), st.randoms())
def test_any_run_of_numbers_comes_back_in_order(prefix, first, count, width, rng):
    names = [f"{prefix}{i:0{width}d}.png" for i in range(first, first + count)]
    shuffled = names[:]
    rng.shuffle(shuffled)
    found = order_slices(shuffled, "scan").names
    # "-1, -2, …" are negative numbers: the order from the other end
    assert found == tuple(names) or (found == tuple(reversed(names)) and prefix[-1:] == "-")


@given(st.integers(0, 500), st.integers(5, 60), st.integers(0, 4), st.data())
def test_any_missing_slice_inside_is_found(first, count, width, data):
    gone = data.draw(st.integers(first + 1, first + count - 2))
    names = [f"s{i:0{width}d}.tif" for i in range(first, first + count) if i != gone]
    with pytest.raises(InputError, match=rf"s{gone - 1:0{width}d}\.tif is followed by s{gone + 1:0{width}d}\.tif"):
        order_slices(names, "scan")


@given(st.lists(st.text("ab01 -_.()", min_size=1, max_size=8), min_size=2, max_size=8, unique=True))
def test_any_names_are_all_in_the_order_or_refused(stems):
    names = [stem + ".tif" for stem in stems]
    try:
        found = order_slices(names, "scan").names
    except InputError as error:
        assert "scan: " in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert sorted(found) == sorted(names)


def test_slices_written_later_than_the_others_are_said():
    names = [f"s{i}.tif" for i in range(10)]
    assert written_apart(names, [0.5 * i for i in range(10)]) is None
    old = written_apart(names, [90000.0 + i if i < 7 else float(i) for i in range(10)])
    assert old is not None
    assert old.startswith("s7.tif to s9.tif (3 slices) were written 25 hours before the other 7 slices")
    late = written_apart(names, [float(i) for i in range(9)] + [7300.0])
    assert late == (
        "s9.tif was written 2 hours after the other 9 slices: if it belongs to another reconstruction, remove it."
    )
    assert written_apart(names, [3600.0 * i for i in range(10)]) is None
    assert written_apart(["a1.tif", "a2.tif"], [0, 7200]) == (
        "a2.tif was written 2 hours after the other 1 slice: if it belongs to another reconstruction, remove it."
    )

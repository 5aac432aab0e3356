from __future__ import annotations

from xml.etree import ElementTree

import pytest

from ps3d_training.progress_plot import BLUE, GREEN, PANELS, progress_svg, tick_step, ticks

SVG = "{http://www.w3.org/2000/svg}"


def drawn(epochs: int, f1_instance: dict[int, float], **changed: list[float]) -> ElementTree.Element:
    log = {
        "train_loss": [-0.9 * i / epochs for i in range(epochs)],
        "validation_loss": [0.5 - i / epochs for i in range(epochs)],
        "dice_core": [i / epochs for i in range(epochs)],
        "dice_border": [0.5] * epochs,
        "learning_rate": [1e-3 * (1 - i / epochs) for i in range(epochs)],
    }
    return ElementTree.fromstring(progress_svg(log | changed, f1_instance))


def lines(picture: ElementTree.Element, colour: str) -> list[list[tuple[float, float]]]:
    found = [line for line in picture.iter(f"{SVG}polyline") if line.get("stroke") == colour]
    return [[tuple(map(float, point.split(","))) for point in line.get("points").split()] for line in found]


def dots(picture: ElementTree.Element, colour: str) -> list[tuple[float, float]]:
    found = [dot for dot in picture.iter(f"{SVG}circle") if dot.get("fill") == colour]
    return [(float(dot.get("cx")), float(dot.get("cy"))) for dot in found]


def test_values_lie_where_the_axes_say() -> None:
    picture = drawn(5, {1: 0.0, 3: 0.5, 5: 1.0})
    top, bottom = PANELS[1]
    assert dots(picture, GREEN) == [(70, bottom), (407, (top + bottom) / 2), (744, top)]
    loss, dice = lines(picture, BLUE)
    assert len(loss) == len(dice) == 5
    assert loss[0][1] < loss[-1][1], "down is less"
    words = {text.text for text in picture.iter(f"{SVG}text")}
    assert {"training loss", "F1_instance", "learning rate", "epoch", "1", "5"} <= words


def test_what_is_missing_leaves_a_gap() -> None:
    nan = float("nan")
    _, *dice = lines(drawn(6, {}, dice_core=[0.1, 0.2, nan, nan, 0.5, 0.6]), BLUE)
    assert [len(stretch) for stretch in dice] == [2, 2]
    drawn(2, {}, train_loss=[nan, nan], validation_loss=[float("inf"), nan])


def test_one_epoch_is_a_dot() -> None:
    picture = drawn(1, {})
    assert len(dots(picture, BLUE)) == 2


def test_a_long_run_stays_a_small_picture() -> None:
    epochs = 5000
    flat = [0.5] * epochs
    log = dict.fromkeys(("train_loss", "validation_loss", "dice_core", "dice_border", "learning_rate"), flat)
    assert len(progress_svg(log, dict.fromkeys(range(10, epochs + 1, 10), 0.5))) < 100_000
    loss, *_ = lines(drawn(epochs, {}), BLUE)
    assert loss[-1][0] == 744, "the last epoch is always there"


@pytest.mark.parametrize("low", [-1.3, 0.0, 0.001])
@pytest.mark.parametrize("span", [1e-5, 0.7, 3, 999])
def test_ticks_are_few_round_and_inside(low: float, span: float) -> None:
    found = ticks(low, low + span, 6)
    assert 2 <= len(found) <= 7
    assert low - 1e-9 <= found[0] < found[-1] <= low + span + 1e-9
    step = tick_step(low, low + span, 6)
    assert f"{step:.0e}"[0] in "125"

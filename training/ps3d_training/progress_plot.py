"""A run so far as an SVG: losses, Dice with F1_instance, and the learning rate, over the epochs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10

from markupsafe import escape

Points = Sequence[tuple[float, float]]
"""(epoch counted from 1, value)."""

BLUE, VERMILLION, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
"""Of Okabe and Ito: apart for every kind of colour vision."""
INK, MUTED, RULE = "#1f2937", "#6b7280", "#e5e7eb"

WIDTH, HEIGHT = 760, 560
LEFT, RIGHT = 70, 744
PANELS = ((34, 214), (258, 414), (458, 514))
"""Top and bottom of the losses, of Dice and F1_instance, and of the learning rate."""


@dataclass(frozen=True)
class Line:
    """One quantity of a panel."""

    name: str
    colour: str
    points: Points
    dots: bool = False
    """Draw the points too: there are few."""


def progress_svg(log: Mapping[str, Sequence[float]], f1_instance: Mapping[int, float]) -> str:
    """Draw the log of a run.

    Args:
        log: ``train_loss``, ``validation_loss``, ``dice_core``, ``dice_border``, ``learning_rate``; a value an epoch,
            NaN where there is none.
        f1_instance: epoch, counted from 1 → value.

    Returns:
        An SVG file.
    """
    by_epoch = {name: list(enumerate(values, 1)) for name, values in log.items()}
    losses = [
        Line("training loss", BLUE, by_epoch["train_loss"]),
        Line("validation loss", VERMILLION, by_epoch["validation_loss"]),
    ]
    scores = [
        Line("Dice core", BLUE, by_epoch["dice_core"]),
        Line("Dice border", VERMILLION, by_epoch["dice_border"]),
        Line("F1_instance", GREEN, sorted(f1_instance.items()), dots=True),
    ]
    rates = [Line("learning rate", PURPLE, by_epoch["learning_rate"])]
    last = max(2, len(by_epoch["train_loss"]))
    parts = [
        *_panel(PANELS[0], losses, last, _range_of(losses)),
        *_panel(PANELS[1], scores, last, (0.0, 1.0)),
        *_panel(PANELS[2], rates, last, (0.0, _range_of(rates)[1])),
        _text((LEFT + RIGHT) / 2, HEIGHT - 8, "epoch", INK, "middle"),
    ]
    style = 'font-family="system-ui, sans-serif" font-size="12"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {style}>'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>', *parts, "</svg>\n"])


def _panel(sides: tuple[int, int], lines: Sequence[Line], last: int, values: tuple[float, float]) -> Iterator[str]:
    top, bottom = sides
    low, high = values

    def y(value: float) -> float:
        return bottom - (bottom - top) * (value - low) / (high - low)

    def x(epoch: float) -> float:
        return LEFT + (RIGHT - LEFT) * (epoch - 1) / (last - 1)

    for tick in ticks(low, high, most=max(2, (bottom - top) // 28)):
        yield _rule(LEFT, y(tick), RIGHT, y(tick))
        yield _text(LEFT - 8, y(tick) + 4, f"{tick:.6g}", MUTED, "end")
    for tick in ticks(1, last, most=10):
        if tick == int(tick):
            yield _text(x(tick), bottom + 18, f"{tick:.0f}", MUTED, "middle")
    along = float(LEFT)
    for line in lines:
        yield _text(along, top - 10, line.name, line.colour, "start")
        along += 9 * len(line.name) + 12
        for stretch in _stretches(line.points, (RIGHT - LEFT) // 2):
            places = [(x(epoch), y(min(max(value, low), high))) for epoch, value in stretch]
            path = " ".join(f"{px:.1f},{py:.1f}" for px, py in places)
            yield f'<polyline points="{path}" fill="none" stroke="{line.colour}" stroke-width="1.6"/>'
            # A stretch of one epoch is no line.
            for px, py in places if line.dots or len(places) == 1 else ():
                yield f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="{line.colour}"/>'


def _stretches(points: Points, most: int) -> Iterator[Points]:
    """Split where values are missing; of a long run take every n-th point and the last one."""
    step = max(1, ceil(len(points) / most))
    kept = [point for i, point in enumerate(points) if i % step == 0 or i == len(points) - 1]
    stretch: list[tuple[float, float]] = []
    for epoch, value in kept:
        if isfinite(value):
            stretch.append((epoch, value))
        elif stretch:
            yield stretch
            stretch = []
    if stretch:
        yield stretch


def _range_of(lines: Sequence[Line]) -> tuple[float, float]:
    """Least and largest value, widened to whole ticks."""
    values = [value for line in lines for _, value in line.points if isfinite(value)] or [0.0, 1.0]
    low, high = min(values), max(values)
    step = tick_step(low, high, 6)
    low, high = floor(low / step) * step, ceil(high / step) * step
    return (low, high) if high > low else (low, low + step)


def tick_step(low: float, high: float, most: int) -> float:
    """Choose the least of 1, 2, 5 times a power of ten with at most ``most`` steps from ``low`` to ``high``.

    >>> tick_step(0, 1, 5), tick_step(1, 100, 10), tick_step(3, 3, 5)
    (0.2, 10.0, 1.0)
    """
    span = high - low or abs(high) or 1.0
    power = 10.0 ** floor(log10(span / most))
    return next(digit * power for digit in (1, 2, 5, 10) if digit * power * most >= span * (1 - 1e-9))


def ticks(low: float, high: float, most: int) -> list[float]:
    """List the multiples of :func:`tick_step` from ``low`` to ``high``.

    >>> ticks(0, 1, 5)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    step = tick_step(low, high, most)
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{RULE}"/>'


def _text(x: float, y: float, words: str, colour: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}">{escape(words)}</text>'

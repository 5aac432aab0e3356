"""What the plots are drawn with: lines and words of an SVG, and their colours."""

from __future__ import annotations

from markupsafe import Markup, escape

INK, MUTED, RULE = "#1f2937", "#6b7280", "#e5e7eb"


def drawing(width: int, height: int, title: str, parts: list[str]) -> Markup:
    """Put parts together to one ``<svg>`` element for use inside HTML, as wide as there is room."""
    style = 'font-family="system-ui, sans-serif" font-size="12"'
    body = "\n".join(parts)
    head = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}" {style}>'
    return Markup(f"{head}\n{body}\n</svg>")


def line(x1: float, y1: float, x2: float, y2: float, colour: str, more: str = "") -> str:
    """Draw a line; ``more`` are further attributes, with a space before them."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{more}/>'


def label(
    at: tuple[float, float], words: str, colour: str, anchor: str, *, halo: bool = False, weight: int = 400
) -> str:
    """Write words that start, end or are centred at a point; a halo separates them from what lies below."""
    more = ' stroke="#fff" stroke-width="3" paint-order="stroke"' if halo else ""
    x, y = at
    place = f'x="{x:.1f}" y="{y:.1f}"'
    return f'<text {place} fill="{colour}" text-anchor="{anchor}" font-weight="{weight}"{more}>{escape(words)}</text>'


def upright(x: float, y: float, words: str) -> str:
    """Write words upright, centred at a point."""
    turn = f'transform="rotate(-90 {x:.1f} {y:.1f})"'
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{INK}" text-anchor="middle" {turn}>{escape(words)}</text>'

"""The templates of the page. Jinja2 escapes every value that is not ``Markup`` already."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def render(template: str, **values: Any) -> Markup:
    """Fill in a file of ``templates/``; the HTML can stand in another template as it is."""
    return Markup(_environment().get_template(template).render(values))


def note(sentence: str) -> Markup:
    """Say something where a section has nothing to show."""
    return Markup('<p class="note">{}</p>').format(sentence)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("ps3d_rt.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

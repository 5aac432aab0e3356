"""What a reader must know before using the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ps3d_rt.core.cautions import find_cautions
from ps3d_rt.core.sample_table import SampleTable


def find_warnings(facts: Mapping[str, Any], table: SampleTable, sizes: Mapping[str, Any]) -> list[str]:
    """Sentences, most important first; what else the run said comes last. Plain text, not escaped.

    Args:
        facts: the content of ``run.json``.
        table: the particles.
        sizes: from :func:`ps3d_rt.core.distribution.size_facts`.
    """
    found = [caution.text for caution in find_cautions(facts, table, sizes)]
    return list(dict.fromkeys([*found, *(str(w) for w in facts.get("warnings") or ())]))

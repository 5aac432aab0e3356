"""How well particles are separated: ps3d-rt beside the methods one would take instead, by the paper's five measures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from ps3d_bench.accuracy_samples import TITLES, Drawn
from ps3d_bench.methods import METHODS, Ours, Segmenter
from ps3d_bench.samples import Case, load_cases
from ps3d_rt.core.metrics import evaluate

MEASURES = ("f1", "f1_match", "f1_instance", "merger_ratio", "splitter_ratio")
WARM_UP_VOXELS = 48


def judge_all(samples: Sequence[Drawn], methods: dict[str, Segmenter], cache: Path) -> Iterator[dict[str, Any]]:
    """Run every method on every sample, a sample at a time: a row of the result for each.

    Args:
        samples: made first where ``cache`` does not hold them.
        methods: by the names of :data:`ps3d_bench.methods.METHODS`.
        cache: folder that keeps samples and tuned settings.
    """
    warm = False
    for drawn, case in zip(samples, load_cases(cache, [drawn.spec for drawn in samples]), strict=True):
        if not warm:
            # Loads and compiles everything, so that no sample pays for it.
            for method in methods.values():
                if isinstance(method, Ours):
                    method(_middle(case))
            warm = True
        yield judge(drawn, case, methods)


def judge(drawn: Drawn, case: Case, methods: dict[str, Segmenter]) -> dict[str, Any]:
    """Compare what every method makes of one sample with its reference."""
    found: dict[str, Any] = {}
    for name, method in methods.items():
        segmented = method(case)
        metrics = asdict(evaluate(segmented.labels, case.reference))
        found[name] = {**metrics, "seconds": round(segmented.seconds, 2), **segmented.facts}
    return {
        "name": case.name,
        "group": drawn.group,
        "out_of_distribution": drawn.outside,
        "material": drawn.material,
        "particle_size_given_mm": case.particle_size_mm,
        "simulated": case.simulated,
        "came_out": case.came_out,
        "image_sha256": _sha256(case.image),
        "reference_sha256": _sha256(case.reference),
        "methods": found,
    }


def keep(row: dict[str, Any], earlier: dict[str, Any]) -> dict[str, Any]:
    """Add to a row what an earlier result says of methods that do not depend on the model, if it is the same sample.

    Args:
        row: of :func:`judge`.
        earlier: content of a result file.

    Returns:
        The row, its methods in the order of the tables.
    """
    same = [
        other["methods"]
        for other in earlier["samples"]
        if all(other[name] == row[name] for name in ("image_sha256", "reference_sha256"))
    ]
    kept = {name: found for methods in same for name, found in methods.items() if not METHODS[name].of_model}
    found = kept | row["methods"]
    return row | {"methods": {name: found[name] for name in METHODS if name in found}}


def origins(rows: Sequence[dict[str, Any]], run: Sequence[str], earlier: dict[str, Any]) -> dict[str, Any]:
    """Say when and with what the methods in ``rows`` were run, other than those ``run`` now."""
    kept = sorted({name for row in rows for name in row["methods"]}.difference(run))
    where = {name: earlier[name] for name in ("date", "command", "machine", "versions")}
    return {name: earlier.get("kept", {}).get(name, where) for name in kept}


def summarize(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Put the rows of each group together.

    Ratios are means over samples, as all measures; mergers and splitters are sums, as the paper gives them.
    """
    groups = {}
    for group, title in TITLES.items():
        if members := [row for row in rows if row["group"] == group]:
            names = members[0]["methods"]
            groups[group] = {
                "title": title,
                "samples": len(members),
                "particles": sum(row["came_out"]["particles"] for row in members),
                "touching": float(np.mean([row["came_out"]["touching"] for row in members])),
                "methods": {name: _together([row["methods"][name] for row in members]) for name in names},
            }
    return groups


def as_tables(content: dict[str, Any]) -> str:
    """One table a group, as in the paper, and F1_instance of every sample: Markdown."""
    return "\n\n".join([*(_group_table(group) for group in content["groups"].values()), _sample_table(content)])


def progress(row: dict[str, Any]) -> str:
    """One line for a sample that is done."""
    scores = (f"{name} {found['f1_instance']:.3f}" for name, found in row["methods"].items())
    return f"{row['name']} ({TITLES[row['group']]}): F1_instance {', '.join(scores)}"


def _group_table(group: dict[str, Any]) -> str:
    samples = "1 sample" if group["samples"] == 1 else f"{group['samples']} samples"
    lines = [
        f"**{group['title']}**: {samples}, {group['particles']} particles, {group['touching']:.1%} touching",
        "",
        "| method | F1 | F1_match | F1_instance | MergerRatio | SplitterRatio | seconds |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, mean in group["methods"].items():
        scores = [f"{mean[measure]:.4f}" for measure in MEASURES[:3]]
        ratios = [
            f"{mean['merger_ratio']:.4f} ({mean['mergers']})",
            f"{mean['splitter_ratio']:.4f} ({mean['splitters']})",
        ]
        lines.append("| " + " | ".join([METHODS[name].title, *scores, *ratios, f"{mean['seconds']:.1f}"]) + " |")
    return "\n".join(lines)


def _sample_table(content: dict[str, Any]) -> str:
    names = list(content["samples"][0]["methods"])
    titles = [METHODS[name].title for name in names]
    lines = [
        "**F1_instance of every sample**",
        "",
        "| " + " | ".join(["sample", "group", "particles", "voxels across", "touching", *titles]) + " |",
        "|---|---|" + "--:|" * (3 + len(names)),
    ]
    for row in content["samples"]:
        came_out = row["came_out"]
        what = row["out_of_distribution"] if row["group"] == "out" else row.get("material")
        group = TITLES[row["group"]] + (f", {what}" if what else "")
        about = [str(came_out["particles"]), f"{came_out['mean_diameter_voxels']:.1f}", f"{came_out['touching']:.0%}"]
        scores = [f"{row['methods'][name]['f1_instance']:.3f}" for name in names]
        lines.append("| " + " | ".join([row["name"], group, *about, *scores]) + " |")
    return "\n".join(lines)


def _together(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    means = {name: float(np.mean([one[name] for one in found])) for name in (*MEASURES, "seconds")}
    return means | {name: sum(one[name] for one in found) for name in ("mergers", "splitters")}


def _middle(case: Case) -> Case:
    """A small piece of a sample, under another name."""
    low = [max(0, (n - WARM_UP_VOXELS) // 2) for n in case.image.shape]
    middle = tuple(slice(start, start + WARM_UP_VOXELS) for start in low)
    return replace(case, name="warm-up", image=case.image[middle], reference=case.reference[middle])


def _sha256(array: np.ndarray[Any, Any]) -> str:
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return sha256(little.data).hexdigest()

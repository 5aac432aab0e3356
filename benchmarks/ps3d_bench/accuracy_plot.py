"""The accuracy picture: F1_instance of every method, by group; a dot is a sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ps3d_bench.methods import METHODS

WIDTH = 0.8
"""Of the bars of a group, of which the next begins at 1."""


def draw(content: dict[str, Any], path: Path) -> None:
    """Draw the result of ``ps3d-rt bench accuracy``.

    Args:
        content: what the command writes.
        path: picture to write; its ending (.svg, .png, …) says in which format.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra; a figure without pyplot opens no window

    groups = content["groups"]
    names = list(content["samples"][0]["methods"])
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, name in enumerate(names):
        left = [at + WIDTH * ((number + 0.5) / len(names) - 0.5) for at in range(len(groups))]
        means = [group["methods"][name]["f1_instance"] for group in groups.values()]
        axes.bar(left, means, WIDTH / len(names), label=METHODS[name].title, alpha=0.75)
        for at, group in zip(left, groups, strict=True):
            dots = [row["methods"][name]["f1_instance"] for row in content["samples"] if row["group"] == group]
            axes.plot([at] * len(dots), dots, ".", color="black", markersize=3)
    labels = [f"{group['title']}\n{group['samples']} × {group['touching']:.0%} touching" for group in groups.values()]
    axes.set_xticks(range(len(groups)), labels)
    axes.set_ylim(0, 1)
    axes.set_ylabel("F1_instance")
    axes.set_title(f"model {content['model']['name']}, simulated samples", fontsize=10)
    figure.legend(fontsize=8, ncols=4, loc="outside lower center")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)

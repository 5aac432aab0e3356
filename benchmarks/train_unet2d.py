"""Train the 2-D U-Net of ``ps3d-rt bench accuracy --methods unet2d``: slice by slice, at the scans' own resolution.

    python benchmarks/train_unet2d.py SAMPLES OUT.onnx [--minutes 10 | --steps N] [--width 24]

SAMPLES is a folder of labelled samples, as ``ps3d-rt train prepare`` reads it; none may be of the accuracy benchmark.
Beside OUT.onnx lie OUT.pth, from which a stopped training goes on, and OUT.json: steps, samples, seconds, Dice.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from ps3d_bench.baselines.unet2d_training import Budget, Pause, UNetRecipe, train
from ps3d_bench.environment import environment, write_result
from ps3d_bench.script import run_script

PACKAGES = ("torch", "dynamic_network_architectures", "onnx", "onnxscript")
RECIPE = UNetRecipe()


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    recipe = UNetRecipe(
        width=options.width,
        stages=options.stages,
        side=options.side,
        batch=options.batch,
        learning_rate=options.learning_rate,
        seed=options.seed,
    )
    budget = Budget(steps=options.steps) if options.steps is not None else Budget(seconds=60 * options.minutes)
    facts = train(options.samples, options.out, recipe, budget, held_out=options.held_out, on_pause=_say)
    content = {**environment(["python", "benchmarks/train_unet2d.py", *arguments], PACKAGES), **facts}
    write_result(options.out.with_suffix(".json"), content)
    print(json.dumps({name: facts[name] for name in ("steps", "seconds", "dice_held_out_mean")}))


def _say(pause: Pause) -> None:
    print(
        f"{pause.spent:4.0%}  {pause.steps} steps, {pause.seconds:.0f} s: "
        f"loss {pause.loss:.3f}, Dice of held-out scans {pause.dice:.4f}",
        file=sys.stderr,
        flush=True,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", type=Path)
    parser.add_argument("out", type=Path, help="ONNX file to write; given again, the training goes on")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=10.0, help="of training, earlier calls included")
    length.add_argument("--steps", type=int, help="instead of minutes; then the same network comes out again")
    parser.add_argument("--width", type=int, default=RECIPE.width, help="features of the first stage")
    parser.add_argument("--stages", type=int, default=RECIPE.stages, help="resolutions, 2 to 6")
    parser.add_argument("--side", type=int, default=RECIPE.side, help="of a crop, pixels")
    parser.add_argument("--batch", type=int, default=RECIPE.batch, help="crops a step")
    parser.add_argument("--learning-rate", type=float, default=RECIPE.learning_rate, help="at the start; falls to 0")
    parser.add_argument("--held-out", type=int, default=8, help="samples not trained on, at most a fifth")
    parser.add_argument("--threads", type=int, help="CPU threads; one a core if not given")
    parser.add_argument("--seed", type=int, default=RECIPE.seed, help="of weights and crops")
    return parser


if __name__ == "__main__":
    run_script(main)

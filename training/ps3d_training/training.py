"""One training run: prepared folder in, checkpoints out. Started again, it goes on where it stopped."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ps3d_rt.errors import CapabilityError, InputError, InterruptedRun
from ps3d_training.capability import require_training_packages
from ps3d_training.plan import (
    CONFIGURATION,
    DATASET_NAME,
    PLANS_NAME,
    TrainingPlan,
    check_same_cases,
    nnunet_plans,
    plan_from,
    read_plan,
)
from ps3d_training.schedule import Epoch, Schedule

if TYPE_CHECKING:
    import torch

    from ps3d_training.trainer import Ps3dTrainer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """What to train, on what, and where to."""

    prepared: Path
    """Made by ``prepare``; nnU-Net calls it ``nnUNet_preprocessed``."""
    out: Path
    """Receives the checkpoints; nnU-Net calls it ``nnUNet_results``."""
    plan: TrainingPlan
    schedule: Schedule
    fold: str = "0"
    """Number of the fold whose validation samples are left out, or ``all`` to train on everything."""
    init: Path | None = None
    """What :func:`ps3d_training.start.read_start` reads weights from; not read again when the run goes on."""
    device: str = "auto"
    threads: int | None = None
    """CPU threads of the training itself; None is torch's choice, one a core."""


def prepared_plan(prepared: Path) -> TrainingPlan:
    """Read the plan that ``prepared`` was made with."""
    return read_plan(prepared / DATASET_NAME / f"{PLANS_NAME}.json")


def train(run: TrainingRun, on_epoch: Callable[[Epoch], None] = lambda epoch: None) -> Path:
    """Train, or go on training, until the schedule is through.

    Returns:
        The checkpoint.

    Raises:
        InputError: if the fold does not exist, an earlier run in ``out`` had another plan or optimizer, or
            ``run.init`` holds another network.
        InterruptedRun: when stopped by the keyboard; nothing but the running epoch is lost.
    """
    require_training_packages()
    trainer = open_trainer(run)
    try:
        with redirect_stdout(sys.stderr):
            _go_on(trainer, run)
            _write_for_nnunet(trainer)
            trainer.fit(on_epoch)
    except KeyboardInterrupt as stop:
        raise InterruptedRun(f"stopped. The same command goes on after epoch {trainer.current_epoch}.") from stop
    return trainer.checkpoint


def open_trainer(run: TrainingRun) -> Ps3dTrainer:
    """Build the trainer of ``run``; its folder is made, nothing else happens yet."""
    import torch  # noqa: PLC0415 - heavy

    dataset = run.prepared / DATASET_NAME
    _check_same_data(run)
    fold = _fold(dataset, run.fold)
    if run.threads is not None:
        torch.set_num_threads(run.threads)
    # nnU-Net takes its folders from the environment, the raw one too although nothing reads it here.
    os.environ |= {f"nnUNet_{name}": str(path) for name, path in _nnunet_folders(run).items()}
    # nnU-Net prints while it loads and while it is built; stdout belongs to the command's own data.
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        from ps3d_training.trainer import Ps3dTrainer  # noqa: PLC0415 - heavy

        dataset_json = json.loads((dataset / "dataset.json").read_text(encoding="utf-8"))
        trainer = Ps3dTrainer(nnunet_plans(run.plan), CONFIGURATION, fold, dataset_json, _device(run.device))
    trainer.use_schedule(run.schedule)
    return trainer


def _go_on(trainer: Ps3dTrainer, run: TrainingRun) -> None:
    """Load the checkpoint of an earlier call; if there is none, the weights to start from, if any."""
    from ps3d_training.checkpoint import read_checkpoint  # noqa: PLC0415 - heavy
    from ps3d_training.start import read_start  # noqa: PLC0415 - heavy

    if not trainer.checkpoint.exists():
        if run.init is not None:
            trainer.initialize()
            start = read_start(run.init, trainer.checkpoint.parent.name, run.plan, trainer.plain_network)
            if run.plan.norm == "batch" and "bundle" in start[1] and run.schedule.freeze_norm != 0:
                raise InputError(
                    f"{run.init} is a bundle: its batch norms have become part of the convolutions and cannot be "
                    f"trained again. Keep them as they are with --freeze-norm 0, or start from a checkpoint."
                )
            trainer.start_from(*start)
        return
    _check_same_run(read_checkpoint(trainer.checkpoint), trainer.checkpoint, run)
    trainer.load_checkpoint(str(trainer.checkpoint))
    if trainer.current_epoch >= run.schedule.epochs:
        logger.warning("%s has %d epochs already; ask for more to go on", trainer.checkpoint, trainer.current_epoch)


def _nnunet_folders(run: TrainingRun) -> dict[str, Path]:
    return {"raw": run.prepared, "preprocessed": run.prepared, "results": run.out}


def _write_for_nnunet(trainer: Ps3dTrainer) -> None:
    """Leave beside the folds what nnU-Net's own tools look for."""
    for name, content in (("plans", trainer.plans_manager.plans), ("dataset", trainer.dataset_json)):
        path = Path(trainer.output_folder_base) / f"{name}.json"
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _fold(dataset: Path, fold: str) -> int | str:
    count = len(json.loads((dataset / "splits_final.json").read_text(encoding="utf-8")))
    if fold == "all":
        return fold
    if not fold.isdecimal() or int(fold) >= count:
        raise InputError(f"fold is {fold!r}; this dataset has folds 0 to {count - 1}, and all.")
    return int(fold)


def _check_same_data(run: TrainingRun) -> None:
    check_same_cases(run.plan, prepared_plan(run.prepared), run.prepared)


def _check_same_run(content: dict[str, Any], checkpoint: Path, run: TrainingRun) -> None:
    """Refuse to go on from a checkpoint that the options of ``run`` would not have led to."""
    earlier = plan_from(content["plan"], checkpoint)
    different = [f"{name} {getattr(earlier, name)}" for name in asdict(earlier) if _differs(earlier, run.plan, name)]
    # The first version had no other optimizer.
    if (optimizer := content.get("schedule", {}).get("optimizer", "adamw")) != run.schedule.optimizer:
        different.append(f"optimizer {optimizer}")
    if run.init is not None and content.get("started_from") is None:
        different.append("random weights to start from, without --init")
    if different:
        raise InputError(
            f"{checkpoint} was trained with {', '.join(different)}. Use the same options, or train into another folder."
        )


def _differs(one: TrainingPlan, other: TrainingPlan, name: str) -> bool:
    return bool(getattr(one, name) != getattr(other, name))


def _device(name: str) -> torch.device:
    import torch  # noqa: PLC0415 - heavy

    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"device is {name!r}; it is auto, cpu or cuda.")
    if name == "cuda" and not torch.cuda.is_available():
        raise CapabilityError("--device is cuda, but torch sees no CUDA GPU. Use --device cpu.")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")

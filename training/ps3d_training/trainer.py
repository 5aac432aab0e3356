"""The nnU-Net v2 trainer behind ``ps3d-rt train run``: fast on a plain CPU, and it goes on where it was killed.

What differs from nnU-Net's own:
- bfloat16 autocast on a CPU that has it, AdamW if not asked otherwise, a moving average of the weights for what is
  exported;
- every few epochs a whole validation sample is segmented and its particles are compared, not only its classes;
- a checkpoint after every epoch, written beside the old one and then renamed; it holds tensors and plain values
  only, so that reading one runs no code;
- nothing is printed: an epoch is reported as an :class:`Epoch`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from time import perf_counter, time
from typing import Any, cast

import numpy as np
import torch
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from ps3d_rt.io.atomic_write import atomic_write
from ps3d_training.augment.bank import open_bank
from ps3d_training.augment.presets import AXES, PRESETS
from ps3d_training.augment.transforms import read_size, training_transforms, validation_transforms
from ps3d_training.checkpoint import CHECKPOINT, read_checkpoint, write_checkpoint
from ps3d_training.loss import WeightedLoss
from ps3d_training.optimizer import RatePerEpoch, averaged, make_optimizer
from ps3d_training.patches import Batch, InsideDataLoader, PatchStream, batches
from ps3d_training.progress_plot import progress_svg
from ps3d_training.schedule import Epoch, Schedule
from ps3d_training.start import is_batch_norm
from ps3d_training.validate import has_instances, score_sample, smallest_sample

logger = logging.getLogger(__name__)

PLOT = "training.svg"


class Ps3dTrainer(nnUNetTrainer):
    """See the module."""

    network: Any
    """A torch.nn.Module: what is trained. :meth:`initialize` makes it, and the average."""
    average: AveragedModel

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int | str,
        dataset_json: dict[str, Any],
        device: torch.device,
    ) -> None:
        super().__init__(plans | {"continue_training": False}, configuration, fold, dataset_json, device)
        self.enable_deep_supervision = plans["ps3d"]["deep_supervision"]
        self.use_schedule(Schedule())
        self.oversample_foreground_percent = 0.5
        self.f1_instance: dict[int, float] = {}
        """Epoch, counted from 1 → F1_instance of the validation sample."""
        self.started_from: dict[str, Any] | None = None
        """What is known of the training whose weights this one began with."""
        self._waited = 0.0

    def use_schedule(self, schedule: Schedule) -> None:
        """Set the length and pace; call before :meth:`initialize`."""
        self.schedule = schedule
        self.num_epochs = schedule.epochs
        self.num_iterations_per_epoch = schedule.steps_per_epoch
        self.num_val_iterations_per_epoch = schedule.validation_steps
        self.initial_lr = schedule.learning_rate_at(0)

    @property
    def checkpoint(self) -> Path:
        """Where the state of the run lies."""
        return Path(self.output_folder) / CHECKPOINT

    def initialize(self) -> None:
        """Build network, optimizer and loss."""
        torch.manual_seed(self.schedule.seed)
        super().initialize()
        if self.device.type == "cpu":
            # Faster on a CPU, with bfloat16 or without.
            self.network = self.network.to(memory_format=torch.channels_last_3d)
        self.average = averaged(self.plain_network)

    def start_from(self, weights: dict[str, torch.Tensor], source: dict[str, Any]) -> None:
        """Begin with the weights of another training of the same network; all else starts afresh, the average too.

        Args:
            weights: its averaged ones.
            source: what to remember of it; plain values.
        """
        for network in (self.plain_network, self.average.module):
            network.load_state_dict(weights)
        self.started_from = source

    def _build_loss(self) -> torch.nn.Module:
        """Wrap nnU-Net's, so that voxels may have weights."""
        loss: torch.nn.Module = super()._build_loss()
        if isinstance(loss, DeepSupervisionWrapper):
            loss.loss = WeightedLoss(loss.loss)
            return cast(torch.nn.Module, loss)
        return WeightedLoss(loss)

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, Any]:
        """Take what the schedule names."""
        optimizer = make_optimizer(self.schedule, self.network.parameters())
        return optimizer, RatePerEpoch(optimizer, self.schedule)

    def get_dataloaders(self) -> tuple[DataLoader[Batch], DataLoader[Batch]]:
        """Training patches, new ones every epoch, and validation patches, always the same."""
        patch = tuple(self.configuration_manager.patch_size)
        scales = self._get_deep_supervision_scales()
        augmentation = PRESETS[self.schedule.augmentation]
        train, validation = self.get_tr_and_val_datasets()
        plan, weighted = self.plans_manager.plans["ps3d"], self.schedule.weighted
        bank = open_bank(train, plan["border_thickness_voxels"]) if augmentation.touching or weighted else None
        weigh_for = plan["target_size_voxels"] if weighted else None
        varying = training_transforms(patch, scales, augmentation, bank, weigh_for)
        common = {
            "batch_size": self.batch_size,
            "final_patch_size": patch,
            "label_manager": self.label_manager,
            "oversample_foreground_percent": self.oversample_foreground_percent,
        }
        varied = InsideDataLoader(train, patch_size=read_size(patch, augmentation), transforms=varying, **common)
        plain = InsideDataLoader(validation, patch_size=patch, transforms=validation_transforms(scales), **common)
        seed, gpu = self.schedule.seed, self.device.type == "cuda"
        workers = self.schedule.workers if self.schedule.workers is not None else default_workers(gpu=gpu)
        return (
            batches(
                PatchStream(varied, seed=(seed, 0), epoch=self.current_epoch, stride=1), workers=workers, pin_memory=gpu
            ),
            batches(PatchStream(plain, seed=(seed, 1), epoch=0, stride=0), workers=0),
        )

    def fit(self, on_epoch: Callable[[Epoch], None]) -> None:
        """Train from the current epoch to the last one, saving after each."""
        if not self.was_initialized:
            self.initialize()
        self.set_deep_supervision_enabled(self.enable_deep_supervision)
        train, validation = self.get_dataloaders()
        if self.schedule.validate_every and not has_instances(Path(self.preprocessed_dataset_folder)):
            logger.warning("prepared without instances: F1_instance is left out. Prepare again to see it.")
        while self.current_epoch < self.num_epochs:
            on_epoch(self._epoch(train, validation))

    def _epoch(self, train: DataLoader[Batch], validation: DataLoader[Batch]) -> Epoch:
        started, self._waited = perf_counter(), 0.0
        self.on_epoch_start()
        self.on_train_epoch_start()
        self._freeze_norm()
        steps = self._take(self.num_iterations_per_epoch, train)
        self.on_train_epoch_end([self.train_step(batch) for batch in steps])
        step_seconds = (perf_counter() - started) / self.num_iterations_per_epoch
        with torch.no_grad(), self._averaged_network(), self._autocast():
            self.on_validation_epoch_start()
            steps = self._take(self.num_val_iterations_per_epoch, validation)
            self.on_validation_epoch_end([self.validation_step(batch) for batch in steps])
        if self.schedule.validates(self.current_epoch) and has_instances(Path(self.preprocessed_dataset_folder)):
            self._validate_sample()
        self.on_epoch_end()
        logged = self.logger.get_value
        return Epoch(
            number=self.current_epoch,
            of=self.num_epochs,
            train_loss=float(logged("train_losses", -1)),
            validation_loss=float(logged("val_losses", -1)),
            dice=tuple(float(dice) for dice in logged("dice_per_class_or_region", -1)),
            f1_instance=self.f1_instance.get(self.current_epoch),
            seconds=perf_counter() - started,
            data_wait_seconds=self._waited,
            step_seconds=step_seconds,
            learning_rate=float(logged("lrs", -1)),
        )

    def _freeze_norm(self) -> None:
        """From the schedule's epoch on, let batch norms of the trained network use the averaged statistics."""
        start = self.schedule.freeze_norm
        if start is None or self.current_epoch < start:
            return
        averages = self.average.module.modules()
        for module, average in zip(self.plain_network.modules(), averages, strict=True):
            if is_batch_norm(module):
                module.eval()  # the weights are trained still
                if self.current_epoch == start:
                    module.load_state_dict(module.state_dict() | dict(average.named_buffers()))

    def _take(self, count: int, loader: DataLoader[Batch]) -> Iterator[Batch]:
        started = perf_counter()
        for batch in islice(loader, count):
            self._waited += perf_counter() - started
            yield batch
            started = perf_counter()

    def on_epoch_end(self) -> None:
        """Count the epoch and save it."""
        self.logger.log("epoch_end_timestamps", time(), self.current_epoch)
        self.save_checkpoint(str(self.checkpoint))
        self._plot()
        self.current_epoch += 1

    def _validate_sample(self) -> None:
        """Segment the smallest validation sample with the averaged network."""
        _, validation = self.get_tr_and_val_datasets()
        sample = smallest_sample(validation)
        with torch.inference_mode(), self._averaged_network():
            found = score_sample(self._score, *sample, tuple(self.configuration_manager.patch_size))
        self.f1_instance[self.current_epoch + 1] = found.f1_instance

    def _score(self, voxels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Softmax of the network in force for one patch."""
        patch = torch.from_numpy(voxels)[None, None].to(self.device)
        with self._autocast() if self.device.type == "cpu" else torch.autocast(self.device.type):
            output = self.network(patch)
        finest = output[0] if isinstance(output, list) else output
        scores: np.ndarray[Any, Any] = finest[0].float().softmax(dim=0).contiguous().cpu().numpy()
        return scores

    def _plot(self) -> None:
        logged = self.logger.get_checkpoint()
        core, border = zip(*logged["dice_per_class_or_region"], strict=True)
        log = {
            "train_loss": logged["train_losses"],
            "validation_loss": logged["val_losses"],
            "dice_core": core,
            "dice_border": border,
            "learning_rate": logged["lrs"],
        }
        with atomic_write(self.checkpoint.with_name(PLOT), overwrite=True) as unfinished:
            unfinished.write_text(progress_svg(log, self.f1_instance), encoding="utf-8")

    def train_step(self, batch: Batch) -> dict[str, Any]:
        """One step; on a GPU nnU-Net's own (float16 with a scaled loss)."""
        if self.device.type != "cpu":
            result: dict[str, Any] = super().train_step(batch)
        else:
            self.optimizer.zero_grad(set_to_none=True)
            with self._autocast():
                output = self.network(batch["data"])
            output = [scores.float() for scores in output] if isinstance(output, list) else output.float()
            loss = self.loss(output, batch["target"])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 12)
            self.optimizer.step()
            result = {"loss": loss.detach().numpy()}
        self.average.update_parameters(self.plain_network)
        return result

    def _autocast(self) -> AbstractContextManager[Any]:
        # nnU-Net turns its own autocast on for a GPU; on a CPU it leaves the outer one, this one, in force.
        if self.device.type == "cpu" and cpu_has_bfloat16():
            return torch.autocast("cpu", torch.bfloat16)
        return nullcontext()

    @property
    def plain_network(self) -> torch.nn.Module:
        """What is trained, without the wrapper of a compiler."""
        network: torch.nn.Module = getattr(self.network, "_orig_mod", self.network)
        return network

    @contextmanager
    def _averaged_network(self) -> Iterator[None]:
        trained, self.network = self.network, self.average.module
        try:
            yield
        finally:
            self.network = trained

    def save_checkpoint(self, filename: str) -> None:
        """Write the whole state of the run, under nnU-Net's names where it has them."""
        content = {
            "network_weights": self.plain_network.state_dict(),
            "average_weights": self.average.module.state_dict(),
            "averaged_steps": int(self.average.n_averaged),
            "schedule": asdict(self.schedule),
            "optimizer_state": self.optimizer.state_dict(),
            "grad_scaler_state": self.grad_scaler.state_dict() if self.grad_scaler is not None else None,
            "logging": {key: np.asarray(values, float).tolist() for key, values in self._log_values().items()},
            "f1_instance": self.f1_instance,
            "started_from": self.started_from,
            "current_epoch": self.current_epoch + 1,
            "init_args": {"configuration": self.configuration_name, "fold": self.fold},
            "plan": self.plans_manager.plans["ps3d"],
            "trainer_name": type(self).__name__,
            "inference_allowed_mirroring_axes": AXES,
        }
        write_checkpoint(Path(filename), content)

    def load_checkpoint(self, filename_or_checkpoint: str) -> None:
        """Go on from a checkpoint; the length of the run may have changed since."""
        if not self.was_initialized:
            self.initialize()
        content = read_checkpoint(Path(filename_or_checkpoint), self.device)
        self.plain_network.load_state_dict(content["network_weights"])
        self.average.module.load_state_dict(content["average_weights"])
        self.average.n_averaged.fill_(content["averaged_steps"])
        self.optimizer.load_state_dict(content["optimizer_state"])
        if self.grad_scaler is not None and content["grad_scaler_state"] is not None:
            self.grad_scaler.load_state_dict(content["grad_scaler_state"])
        self.logger.load_checkpoint(content["logging"])
        self.f1_instance = content.get("f1_instance", {})
        self.started_from = content.get("started_from")
        self.current_epoch = content["current_epoch"]

    def _log_values(self) -> dict[str, list[Any]]:
        values: dict[str, list[Any]] = self.logger.get_checkpoint()
        return values

    def print_to_log_file(self, *args: Any, also_print_to_console: bool = True, add_timestamp: bool = True) -> None:
        """To the log file only: the console belongs to the command."""
        super().print_to_log_file(*args, also_print_to_console=False, add_timestamp=add_timestamp)


def cpu_has_bfloat16() -> bool:
    """Whether bfloat16 is faster than float32 here: the CPU multiplies it, rather than converting."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def default_workers(*, gpu: bool) -> int:
    """Choose how many processes make patches: beside a training CPU one is enough, a GPU outruns several."""
    return max(1, min(8, (os.cpu_count() or 2) - 1)) if gpu else 1

"""Where training patches come from: nnU-Net's loader, kept inside the volume, in processes that end with the run.

The patches of an epoch follow from the seed and the epoch alone, so a run that was killed and started again sees the
patches it would have seen.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import numpy as np
import torch
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from ps3d_rt.workers import STOP_SIGNALS

Batch = dict[str, Any]
"""``data`` (b, 1, z, y, x) float32; ``target`` (b, 1, z, y, x) int16, or a list of them, finest first."""


class InsideDataLoader(nnUNetDataLoader):
    """nnU-Net's loader, but the patch that the network gets never reaches past the volume's faces.

    nnU-Net centres a patch on a voxel of the wanted class and pads what lies outside; inference pads nothing. Where
    only a part of a sample is labelled, it centres every patch there; a sample that is labelled throughout lists no
    such places, and any will do.
    """

    def get_bbox(
        self, data_shape: Any, force_fg: bool, class_locations: Any, *args: Any, **kwargs: Any
    ) -> tuple[list[int], list[int]]:
        """Start and stop of the box to read, moved back where its inner patch would stick out."""
        self.has_ignore = self.annotated_classes_key in class_locations
        starts, stops = super().get_bbox(data_shape, force_fg, class_locations, *args, **kwargs)
        for axis, (start, stop) in enumerate(zip(starts, stops, strict=True)):
            margin = (self.patch_size[axis] - self.final_patch_size[axis]) // 2
            last = max(0, data_shape[axis] - self.final_patch_size[axis]) - margin
            move = max(0, start - last)
            starts[axis], stops[axis] = start - move, stop - move
        return starts, stops


class PatchStream(IterableDataset[Batch]):
    """Endless batches of one epoch; every new iteration is the next epoch, or the same one again.

    Args:
        loader: makes one batch a call, drawing from the global generators of numpy and torch.
        seed: tells runs, and training from validation, apart.
        epoch: of the first iteration.
        stride: epochs from one iteration to the next; 0 repeats the same patches.
    """

    def __init__(self, loader: nnUNetDataLoader, *, seed: tuple[int, int], epoch: int, stride: int) -> None:
        self.loader, self.seed, self.epoch, self.stride = loader, seed, epoch, stride

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        entropy = np.random.SeedSequence([*self.seed, self.epoch, worker.id if worker else 0])
        self.epoch += self.stride
        seed = int(entropy.generate_state(1)[0])
        np.random.seed(seed)
        torch.manual_seed(seed)
        while True:
            batch = self.loader.generate_train_batch()
            yield {"data": batch["data"], "target": batch["target"]}


def _leave_stopping_to_the_training(worker: int) -> None:
    """Ignore what stops a run: a terminal and a batch system tell every process, and the training ends its workers.

    What a worker was handing over just then has no taker any more: that is no error.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    sys.excepthook = _say_unless_it_is_the_end


def _say_unless_it_is_the_end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, ConnectionError):
        sys.__excepthook__(kind, error, trace)


def batches(stream: PatchStream, *, workers: int, pin_memory: bool = False) -> DataLoader[Batch]:
    """Run ``stream`` in ``workers`` processes, or in this one where that is 0. Iterate again every epoch.

    Torch's loader rather than nnU-Net's: its workers end when the training is killed, and raise where they fail.
    They are spawned everywhere, as on Windows: a fork would inherit the threads of a network that has already run.
    """
    return DataLoader(
        stream,
        batch_size=None,
        num_workers=workers,
        persistent_workers=workers > 0,
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=_leave_stopping_to_the_training if workers else None,
        prefetch_factor=4 if workers else None,
        pin_memory=pin_memory,
    )

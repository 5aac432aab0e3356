"""nnU-Net's loss, Dice plus cross-entropy, where voxels may have weights."""

from __future__ import annotations

import torch
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from torch.nn.functional import cross_entropy


class WeightedLoss(torch.nn.Module):
    """Dice plus cross-entropy, both over weighted voxels if the target has a second channel."""

    def __init__(self, plain: DC_and_CE_loss) -> None:
        super().__init__()
        self.plain = plain

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compare scores with classes.

        Args:
            output: (b, 3, z, y, x) scores before the softmax.
            target: (b, 1 or 2, z, y, x) integers: classes, and the weights of :mod:`ps3d_training.weights`. Voxels of
                nnU-Net's class to ignore weigh nothing.

        Returns:
            one number; −1 is perfect.
        """
        if target.shape[1] == 1:
            plain: torch.Tensor = self.plain(output, target)
            return plain
        classes, weights = target[:, :1], target[:, 1:].to(output.dtype)
        if self.plain.ignore_label is not None:
            known = classes != self.plain.ignore_label
            classes, weights = torch.where(known, classes, 0), weights * known
        each = cross_entropy(output, classes[:, 0].long(), reduction="none")
        dice: torch.Tensor = self.plain.dc(output, classes, loss_mask=weights)
        return dice + (each * weights[:, 0]).sum() / weights.sum().clamp(min=1)

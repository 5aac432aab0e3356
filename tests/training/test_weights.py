"""Small particles and contacts weigh more, on both sides of a boundary, and the loss listens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss

from ps3d_training.augment.presets import PUBLISHED
from ps3d_training.augment.transforms import training_transforms
from ps3d_training.loss import WeightedLoss
from ps3d_training.weights import MOST, voxel_weights


def ball(diameter: float, side: int = 32) -> np.ndarray:
    z, y, x = np.indices((side,) * 3) - (side - 1) / 2
    return (4 * (z**2 + y**2 + x**2) <= diameter**2).astype(np.int16)


@pytest.mark.parametrize(("diameter", "weight"), [(24, 1), (16, 2), (11.5, 3), (8, MOST), (4, MOST)])
def test_the_smaller_a_particle_the_more_it_weighs(diameter, weight):
    weights = voxel_weights(ball(diameter), 24)
    assert weights[16, 16, 16] == weight
    assert weights[0, 0, 0] == 1


def test_a_boundary_weighs_the_same_on_both_sides():
    small = ball(8)
    weights = voxel_weights(small, 24)
    row = weights[16, 16]
    inside = np.flatnonzero(small[16, 16])
    assert row[inside[0] - 2 : inside[-1] + 3].tolist() == [MOST] * (len(inside) + 4)
    assert row[inside[0] - 3] == row[inside[-1] + 3] == 1


def test_a_contact_and_a_narrow_gap_weigh_most_and_large_grains_elsewhere_do_not():
    grains = np.zeros((40, 40, 40), np.int16)
    grains[:, :, :19], grains[:, :, 21:] = 1, 2
    weights = voxel_weights(grains, 24)
    assert np.flatnonzero(weights[20, 20] == MOST).tolist() == [19, 20]
    grains[:, :, 19:21] = 1
    weights = voxel_weights(grains, 24)
    assert np.flatnonzero(weights[20, 20] == MOST).tolist() == [19, 20, 21, 22]
    assert set(np.unique(weights)) == {1, MOST}


def test_outside_the_volume_is_marked():
    patch = ball(24)
    patch[:3] = -1
    weights = voxel_weights(patch, 24)
    assert (weights[:3] == -1).all()
    assert (weights[3:] > 0).all()


def test_weights_move_with_the_classes():
    labels = np.zeros((24, 24, 24), np.int16)
    labels[2:7, 3:8, 10:15] = 1
    always = replace(PUBLISHED, touching=0.0)
    transforms = training_transforms((24, 24, 24), None, always, bank=object(), weigh_for=24)
    for seed in range(8):
        np.random.seed(seed)
        torch.manual_seed(seed)
        done = transforms(image=torch.zeros((1, 24, 24, 24)), segmentation=torch.from_numpy(np.stack([labels, labels])))
        classes, weights = done["segmentation"]
        assert classes.any()
        assert (weights[classes > 0] == MOST).all()
        assert weights.min() >= 0  # what a turn brings in from outside counts nothing


def plain_loss() -> DC_and_CE_loss:
    dice = {"batch_dice": False, "smooth": 1e-5, "do_bg": False, "ddp": False}
    return DC_and_CE_loss(dice, {}, dice_class=MemoryEfficientSoftDiceLoss)


def test_equal_weights_change_nothing_and_heavy_errors_cost_more():
    torch.manual_seed(0)
    scores = torch.randn(2, 3, 6, 6, 6)
    classes = torch.randint(0, 3, (2, 1, 6, 6, 6))
    loss = WeightedLoss(plain_loss())
    same = loss(scores, torch.cat([classes, torch.full_like(classes, 3)], dim=1))
    torch.testing.assert_close(same, plain_loss()(scores, classes))
    torch.testing.assert_close(loss(scores, classes), same)

    right = torch.nn.functional.one_hot(classes[:, 0], 3).movedim(-1, 1) * 20.0
    wrong = right.clone()
    wrong[:, :, 0, 0, 0] = right[:, :, 0, 0, 0].roll(1, dims=1)
    light = torch.ones_like(classes)
    heavy = light.clone()
    heavy[:, :, 0, 0, 0] = 4
    light_cost, heavy_cost = (loss(wrong, torch.cat([classes, weights], dim=1)) for weights in (light, heavy))
    assert heavy_cost > light_cost + 0.01
    nothing = light.clone()
    nothing[:, :, 0, 0, 0] = 0
    torch.testing.assert_close(loss(wrong, torch.cat([classes, nothing], dim=1)), torch.tensor(-1.0), atol=1e-3, rtol=0)
